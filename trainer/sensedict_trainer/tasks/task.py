"""What every task is: questions that a model is asked, replies of the model, answers that are right or wrong."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Reply:
    """What a model made of one question, before anyone judges it.

    Attributes:
        place: of the question in its task.
        scores: log-likelihood (nats) of each choice; empty where text is generated.
        text: what was generated.
        dropped: examples left out so that the prompt fits into the model's context.
        cut: tokens cut off the left of the question for the same reason.
    """

    place: int
    scores: tuple[float, ...] = ()
    text: str = ""
    dropped: int = 0
    cut: int = 0


@dataclass(frozen=True)
class Answer:
    """A reply, judged.

    Attributes:
        given: the choice's place, or the text.
        right: 1.0 or 0.0, or a measure between them, of which the task's score is the mean.
        others: the task's other measures of this answer.
    """

    given: int | str
    right: float
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskScore:
    """The score of one model in one task.

    Attributes:
        name: data set and form, as `arc_easy/continuation`.
        value: the main measure: the mean of `right`.
        standard_error: of the value, over questions.
        chance: what guessing gives.
        questions: number scored.
        shots: examples before each question.
        right: by question, in the task's order, for paired comparison.
        others: means of the task's other measures.
    """

    name: str
    value: float
    standard_error: float
    chance: float
    questions: int
    shots: int
    right: tuple[float, ...]
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """What decides which questions are asked, and after which examples.

    Attributes:
        form: one of the data set's.
        scored: the file, or `datasets:` source, of the questions.
        examples: that of the examples; None where there is none but `scored`.
        shots: examples before a question.
        seed: of the choice of both.
        limit: questions; None for all.
    """

    form: str
    scored: str
    examples: str | None
    shots: int
    seed: int
    limit: int | None


@dataclass(frozen=True)
class Asking:
    """How a model is asked.

    Attributes:
        batch_size: rows a forward pass.
        share: pass tokens that prompts begin with through the model once.
        done: told how many more questions, or parts of one, are done.
    """

    batch_size: int = 16
    share: bool = True
    done: Callable[[float], None] = lambda _count: None


@dataclass(frozen=True)
class Task(ABC):
    """Questions to score, and the examples that stand before each of them.

    Attributes:
        name: `data_set/form`.
        ids: of the questions, each once, in the file's order.
        groups: of the questions, as MMLU's subjects; empty text where there are none.
        shots: examples before a question.
        example_ids: of all examples.
        seed: which questions and examples were chosen by.
        total: questions in the file; those that are not scored are `left_out`, or past the limit.
        file_hash: sha256 of what was scored, by content.
        left_out: ids of the file's questions that examples are, or ask the same as.
    """

    name: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    shots: int
    example_ids: tuple[str, ...]
    seed: int
    total: int
    file_hash: str
    left_out: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def chance(self) -> float:
        """What guessing gives."""

    @abstractmethod
    def prompt(self, place: int) -> str:
        """All that a model may read for a question, its choices too, before anything is cut."""

    @abstractmethod
    def ask(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, places: Sequence[int], asking: Asking
    ) -> list[Reply]:
        """The model's replies to the questions at some places, in their order. Tasks of equal `pass_key` share them."""

    @abstractmethod
    def judge(self, reply: Reply) -> Answer:
        """What a reply is worth."""

    @property
    def pass_key(self) -> str:
        """Equal for tasks whose replies are the same: forms that judge one pass in two ways."""
        return self.name

    def prompt_hash(self, place: int) -> str:
        """16 hex digits of the sha256 of a question's prompt."""
        return _hash(self.prompt(place))

    @cached_property
    def prompts_hash(self) -> str:
        """One such hash for all prompts, in order."""
        return _hash(json.dumps([self.prompt_hash(place) for place in range(len(self.ids))]))

    def score(self, answers: Sequence[Answer]) -> TaskScore:
        """The score of the answers to all questions, in order."""
        right = np.array([answer.right for answer in answers], dtype=np.float64)
        error = float(right.std(ddof=1) / np.sqrt(len(right))) if len(right) > 1 else 0.0
        names = answers[0].others
        others = {name: float(np.mean([answer.others[name] for answer in answers])) for name in names}
        return TaskScore(
            name=self.name,
            value=float(right.mean()),
            standard_error=error,
            chance=self.chance,
            questions=len(right),
            shots=self.shots,
            right=tuple(right.tolist()),
            others=others,
        )

    def row(self, reply: Reply, answer: Answer) -> dict[str, Any]:
        """What the log says of a question, as JSON."""
        place = reply.place
        return {
            "task": self.name,
            "id": self.ids[place],
            "group": self.groups[place],
            "prompt": self.prompt_hash(place),
            "scores": list(reply.scores),
            "text": reply.text,
            "answer": answer.given,
            "right": answer.right,
            **answer.others,
            "dropped_examples": reply.dropped,
            "cut_tokens": reply.cut,
        }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
