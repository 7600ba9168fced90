"""Multiple-choice tasks: the answer that a model finds most likely after the question."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import ConfigurationError, InvalidInput
from sensedict_trainer.tasks.likelihood import log_likelihoods
from sensedict_trainer.tasks.prompts import Fitted, Fitter, context_size
from sensedict_trainer.tasks.questions import ChoiceSet, Item, Question
from sensedict_trainer.tasks.rows import content_hash, load_rows, name_of
from sensedict_trainer.tasks.task import Answer, Asking, Choices, Reply, Task

_BLOCK = 512  # questions whose tokens are held at once: with examples a question of MMLU takes some thousand
_IDS = ("id", "qID", "ind", "question_id")


@dataclass(frozen=True)
class ChoiceTask(Task):
    """A multiple-choice data set in one form.

    Attributes:
        questions: to score.
        headings: what stands before everything, by group.
        examples: the solved few-shot examples by group, each with the empty line after it.
    """

    questions: tuple[Question, ...]
    headings: Mapping[str, str]
    examples: Mapping[str, tuple[str, ...]]

    @property
    def chance(self) -> float:
        """What guessing gives, from the number of choices of each question."""
        return float(np.mean([1 / len(question.endings) for question in self.questions]))

    @property
    def pass_key(self) -> str:
        """`continuation` and `continuation_norm` judge the same log-likelihoods."""
        return f"{self.name.removesuffix('_norm')} {self.prompts_hash}"

    def prompt(self, place: int) -> str:
        """The prompt with each different context once, then the endings."""
        question = self.questions[place]
        contexts = dict.fromkeys(question.contexts)
        before = self.headings[question.group] + "".join(self.examples[question.group])
        return "\n".join([before + "\n".join(contexts), *question.endings])

    def ask(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, places: Sequence[int], asking: Asking
    ) -> list[Reply]:
        """Log-likelihoods of the choices.

        Raises:
            InvalidInput: an answer alone is longer than the context.
            ConfigurationError: a log-likelihood is no finite number.
        """
        fitter = Fitter(tokenizer, context_size(model))
        groups: dict[str, list[int]] = defaultdict(list)
        for place in places:
            groups[self.questions[place].group].append(place)
        blocks = [own[i : i + _BLOCK] for own in groups.values() for i in range(0, len(own), _BLOCK)]
        replies = {reply.place: reply for block in blocks for reply in self._ask(model, fitter, block, asking)}
        return [replies[place] for place in places]

    def _ask(self, model: PreTrainedModel, fitter: Fitter, places: Sequence[int], asking: Asking) -> list[Reply]:
        """Replies to questions of one group, in any order."""
        fitted = {place: self._fit(fitter, place) for place in places}
        # Only prompts that begin with the same examples share them.
        alike: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for place, fit in fitted.items():
            alike[fit.dropped, fit.cut > 0].append(place)
        replies = []
        for together in alike.values():
            requests = [request for place in together for request in fitted[place].requests]
            told = partial(_tell, asking.done, len(together) / len(requests))
            values = log_likelihoods(model, requests, asking.batch_size, asking.share, told)
            ends = np.cumsum([len(fitted[place].requests) for place in together])[:-1]
            for place, scores in zip(together, np.split(values, ends), strict=True):
                if not np.isfinite(scores).all():
                    raise ConfigurationError(
                        f"{self.name}: the model gives {self.ids[place]} a likelihood of NaN or infinity: its weights "
                        "are damaged, or too large for the dtype; try --dtype float32"
                    )
                fit = fitted[place]
                replies.append(Reply(place, tuple(scores.tolist()), dropped=fit.dropped, cut=fit.cut))
        return replies

    def judge(self, reply: Reply) -> Answer:
        """The most likely choice, in `continuation_norm` the most likely for each of its characters."""
        question = self.questions[reply.place]
        scores = np.array(reply.scores)
        if self.name.endswith("_norm"):
            scores = scores / np.array([len(ending) for ending in question.endings])
        given = int(np.argmax(scores))
        return Answer(given, float(given == question.answer))

    def row(self, reply: Reply, answer: Answer) -> dict[str, Any]:
        """What the log says of a question, as JSON, with the place of the right choice."""
        return {**super().row(reply, answer), "wanted": self.questions[reply.place].answer}

    def _fit(self, fitter: Fitter, place: int) -> Fitted:
        question = self.questions[place]
        return fitter.fit(question, self.headings[question.group], self.examples[question.group])


def _tell(done: Callable[[float], None], part: float, count: int) -> None:
    done(part * count)


def load_choice(data_set: ChoiceSet, chosen: Choices, known: Mapping[str, Sequence[str]]) -> ChoiceTask:
    """A task out of rows.

    Examples are chosen by seed among those of the question's group and stand in their file's order; what is an
    example, or asks the same, is not scored.

    Args:
        known: the fields of all data sets, by name, to tell a file of another.

    Raises:
        InvalidInput: a source that cannot be read, a bad row, too few rows for the examples.
    """
    form, shots = chosen.form, chosen.shots
    items = _items(data_set, chosen.scored, known)
    pool: Sequence[Item] = items
    if shots and chosen.examples is not None:
        pool = _without(_items(data_set, chosen.examples, known), items)
    groups = sorted({item.group for item in items})
    solved = {group: _draw(data_set, pool, group, chosen) for group in groups}
    left = _without(items, [item for group in solved.values() for item in group])
    if not left:
        raise InvalidInput(f"{chosen.scored} has {len(items)} questions: too few for {shots} examples and one to score")
    kept = sorted(np.random.default_rng(chosen.seed).permutation(len(left))[: chosen.limit])
    questions = tuple(data_set.question(left[i], form) for i in kept)
    asked = {item.id for item in left}
    return ChoiceTask(
        name=f"{data_set.name}/{form}",
        ids=tuple(question.id for question in questions),
        groups=tuple(question.group for question in questions),
        shots=shots,
        example_ids=tuple(item.id for group in groups for item in solved[group]),
        seed=chosen.seed,
        total=len(items),
        file_hash=content_hash(chosen.scored),
        left_out=tuple(item.id for item in items if item.id not in asked),
        questions=questions,
        headings={group: data_set.heading(group, form) for group in groups},
        examples={
            group: tuple(f"{data_set.question(item, form).solved}\n\n" for item in solved[group]) for group in groups
        },
    )


def _items(data_set: ChoiceSet, source: str, known: Mapping[str, Sequence[str]]) -> list[Item]:
    """Each with the id that its row has, or where they are not all different with its place."""
    rows = load_rows(source)
    items = [data_set.item(row, known) for row in rows]
    named = [next((str(row.values[name]) for name in _IDS if name in row.values), row.where) for row in rows]
    if len(set(named)) < len(named):
        named = [row.where for row in rows]
    return [replace(item, id=name) for item, name in zip(items, named, strict=True)]


def _without(items: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """Items that ask nothing that others ask."""
    taken = {_asks(item) for item in others}
    return [item for item in items if _asks(item) not in taken]


def _asks(item: Item) -> tuple[str, str, tuple[str, ...]]:
    return item.group, item.text, tuple(sorted(item.choices))


def _draw(data_set: ChoiceSet, pool: Sequence[Item], group: str, chosen: Choices) -> list[Item]:
    """A group's examples; the same whatever other groups there are."""
    own = [item for item in pool if item.group == group]
    if len(own) < chosen.shots:
        of = f" of {group}" if group else ""
        raise InvalidInput(
            f"{name_of(chosen.examples or chosen.scored)} has {len(own)} questions{of} that are not scored: "
            f"too few for {chosen.shots} examples"
        )
    order = np.random.default_rng([chosen.seed, zlib.crc32(f"{data_set.name}:{group}".encode())]).permutation(len(own))
    return [own[i] for i in sorted(order[: chosen.shots])]
