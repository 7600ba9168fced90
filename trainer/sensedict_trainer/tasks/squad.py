"""SQuADv2: a paragraph, one example of the same, a question, and the answer that the model writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.tasks.generation import write_lines
from sensedict_trainer.tasks.prompts import context_size, lead_of
from sensedict_trainer.tasks.rows import Row, content_hash, load_rows, require
from sensedict_trainer.tasks.squad_measures import NO_ANSWER, abstention, measure, normalize
from sensedict_trainer.tasks.task import Answer, Asking, Choices, Reply, Task, TaskScore

FIELDS = ("id", "context", "question", "answers")
NEW_TOKENS = 48  # of an answer; the longest right one in the validation file has 29 words
_INSTRUCTION = f"Answer each question with words of the text, or with {NO_ANSWER} where the text has none."


@dataclass(frozen=True)
class Reading:
    """A question about a paragraph.

    Attributes:
        paragraph: what the answer stands in, or does not.
        question: what is asked.
        answers: what annotators gave, all right; empty when the paragraph does not tell.
        id: the row's own.
    """

    paragraph: str
    question: str
    answers: tuple[str, ...]
    id: str

    @property
    def gold(self) -> str:
        """The answer that an example shows: the first one, or `No answer`."""
        return self.answers[0] if self.answers else NO_ANSWER


@dataclass(frozen=True)
class SquadTask(Task):
    """SQuADv2 by generating.

    Attributes:
        readings: the questions to score.
        examples: that of each question; empty without examples.
    """

    readings: tuple[Reading, ...]
    examples: tuple[Reading, ...]

    @property
    def chance(self) -> float:
        """What `No answer` to every question gives."""
        return float(np.mean([not reading.answers for reading in self.readings]))

    def prompt(self, place: int) -> str:
        """Instruction, paragraph, example and question."""
        return prompt_of(self.readings[place], self.examples[place] if self.examples else None)

    def ask(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, places: Sequence[int], asking: Asking
    ) -> list[Reply]:
        """What the model writes. Raises `InvalidInput` where its context has no room for an answer."""
        fitted = [self._fit(tokenizer, place, context_size(model)) for place in places]
        prompts = [ids for ids, _, _ in fitted]
        texts = write_lines(model, tokenizer, prompts, NEW_TOKENS, asking.batch_size, asking.done)
        return [
            Reply(place, text=text, dropped=dropped, cut=cut)
            for place, text, (_, dropped, cut) in zip(places, texts, fitted, strict=True)
        ]

    def judge(self, reply: Reply) -> Answer:
        """Token F1 is the main measure; the others are 1.0 or 0.0."""
        found = measure(reply.text, self.readings[reply.place].answers)
        others = {"exact_match": found.exact, "abstained": found.abstained, "empty": found.empty}
        return Answer(reply.text, found.f1, {name: float(value) for name, value in others.items()})

    def score(self, answers: Sequence[Answer]) -> TaskScore:
        """With precision and recall of `No answer` among the others, each where it has a meaning."""
        found = super().score(answers)
        said = [answer.others["abstained"] > 0 for answer in answers]
        due = [not reading.answers for reading in self.readings]
        return replace(found, others={**found.others, **abstention(said, due)})

    def row(self, reply: Reply, answer: Answer) -> dict[str, Any]:
        """What the log says of a question, as JSON, with the right answers."""
        return {**super().row(reply, answer), "wanted": list(self.readings[reply.place].answers)}

    def _fit(self, tokenizer: PreTrainedTokenizerBase, place: int, window: int | None) -> tuple[list[int], int, int]:
        """The prompt's tokens, and how many examples and tokens it lost for the answer to have room.

        The example goes first; then tokens from the left, but not `<bos>`.
        """
        lead = lead_of(tokenizer)
        room = None if window is None else window - NEW_TOKENS - len(lead)
        if room is not None and room < 1:
            raise InvalidInput(f"{self.name}: an answer may take {NEW_TOKENS} tokens, and the model reads {window}")
        ids = _ids(tokenizer, self.prompt(place))
        if room is None or len(ids) <= room:
            return [*lead, *ids], 0, 0
        dropped = int(bool(self.examples))
        ids = _ids(tokenizer, prompt_of(self.readings[place], None))
        return [*lead, *ids[-room:]], dropped, max(len(ids) - room, 0)


def load_squad(chosen: Choices, known: Mapping[str, Sequence[str]]) -> SquadTask:
    """SQuADv2 out of rows. Whatever `chosen.shots` above 0, there is one example, a question of the same file.

    Args:
        known: the fields of all data sets, by name, to tell a file of another.

    Raises:
        InvalidInput: a source that cannot be read, a bad row, an id that stands twice, no question for an example.
    """
    everything = [parse_reading(row, known) for row in load_rows(chosen.scored)]
    seen: set[str] = set()
    for reading in everything:
        if reading.id in seen:
            raise InvalidInput(f"{chosen.scored}: the id {reading.id} stands twice")
        seen.add(reading.id)
    kept = sorted(np.random.default_rng(chosen.seed).permutation(len(everything))[: chosen.limit])
    readings = [everything[i] for i in kept]
    examples = choose_examples(readings, everything, chosen.seed) if chosen.shots else []
    return SquadTask(
        name=f"squad_v2/{chosen.form}",
        ids=tuple(reading.id for reading in readings),
        groups=("",) * len(readings),
        shots=min(chosen.shots, 1),
        example_ids=tuple(example.id for example in examples),
        seed=chosen.seed,
        total=len(everything),
        file_hash=content_hash(chosen.scored),
        readings=tuple(readings),
        examples=tuple(examples),
    )


def parse_reading(row: Row, known: Mapping[str, Sequence[str]]) -> Reading:
    """The question of a row of SQuAD. Raises `InvalidInput` that names file and line."""
    require(row, FIELDS, "squad_v2", known)
    paragraph, question, answers = (row.values[name] for name in FIELDS[1:])
    for name, text in (("context", paragraph), ("question", question)):
        if not _is_text(text):
            raise InvalidInput(f"{row.where}: `{name}` must be a text, and not empty")
    texts = answers.get("text") if isinstance(answers, Mapping) else None
    if not isinstance(texts, list) or not all(map(_is_text, texts)):
        raise InvalidInput(f"{row.where}: `answers` must hold `text`, a list of texts, none of them empty")
    outside = [text for text in texts if text not in paragraph]
    if outside:
        raise InvalidInput(f"{row.where}: the answer {outside[0]!r} does not stand in `context`")
    return Reading(paragraph, question.strip(), tuple(texts), str(row.values["id"]))


def choose_examples(readings: Sequence[Reading], among: Sequence[Reading], seed: int) -> list[Reading]:
    """The example of each question: another question of its paragraph, by seed.

    Where there is none, the example is a question of another paragraph, which `prompt_of` shows before it. An example
    never asks the same words.

    Raises:
        InvalidInput: there is no other question at all.
    """
    paragraphs: dict[str, list[Reading]] = defaultdict(list)
    for reading in among:
        paragraphs[reading.paragraph].append(reading)
    chosen = []
    for reading in readings:
        others = _others(reading, paragraphs[reading.paragraph]) or _others(reading, among)
        if not others:
            raise InvalidInput(f"squad_v2: there is no question that could be the example of {reading.id}")
        keys = mix(sequence_key(seed, reading.id, "squad example"), np.arange(len(others)))
        chosen.append(others[int(np.argmin(keys))])
    return chosen


def prompt_of(reading: Reading, example: Reading | None) -> str:
    """What stands before an answer, without a blank at its end."""
    asked = f"Text: {reading.paragraph}\n\n{_ask(reading)}"
    if example is None:
        return f"{_INSTRUCTION}\n\n{asked}"
    shown = f"Text: {example.paragraph}\n\n{_ask(example)} {example.gold}"
    return f"{_INSTRUCTION}\n\n{shown}\n\n{_ask(reading) if example.paragraph == reading.paragraph else asked}"


def _others(reading: Reading, among: Iterable[Reading]) -> list[Reading]:
    asked = normalize(reading.question)
    return [other for other in among if normalize(other.question) != asked]


def _ask(reading: Reading) -> str:
    return f"Question: {reading.question}\nAnswer:"


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
