"""A model's scores in tasks, its questions shared over processes, and a sample asked again one by one."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import SenseDictError
from sensedict_trainer.distil.ranks import Ranks
from sensedict_trainer.document import Table
from sensedict_trainer.results import write_text
from sensedict_trainer.tasks.registry import ask
from sensedict_trainer.tasks.task import Answer, Asking, Reply, Task, TaskScore


@dataclass(frozen=True)
class Evaluation:
    """One model in one task.

    Attributes:
        task: what was asked.
        score: the outcome.
        replies, answers: to each question, in the task's order.
        again: replies to the sample of questions that were asked a second time, one by one and whole.
        seconds: that asking took, without the second time; 0 where another form's replies were judged.
    """

    task: Task
    score: TaskScore
    replies: Sequence[Reply]
    answers: Sequence[Answer]
    again: Sequence[Reply]
    seconds: float = 0.0

    @property
    def differing(self) -> list[str]:
        """Ids of the sample's questions that got another answer the second time."""
        return [
            self.task.ids[reply.place]
            for reply in self.again
            if self.task.judge(reply).given != self.answers[reply.place].given
        ]

    @property
    def largest_difference(self) -> float:
        """Of a log-likelihood (nats) between the two times; 0 where text is generated."""
        pairs = [
            abs(a - b)
            for reply in self.again
            for a, b in zip(reply.scores, self.replies[reply.place].scores, strict=True)
        ]
        return max(pairs, default=0.0)

    @property
    def checks(self) -> dict[str, Any]:
        """What was cut, and whether batches changed an answer, as plain JSON values."""
        return {
            "questions_without_some_examples": sum(reply.dropped > 0 for reply in self.replies),
            "questions_cut": sum(reply.cut > 0 for reply in self.replies),
            "asked_again": {
                "questions": len(self.again),
                "differing": self.differing,
                "largest_difference": self.largest_difference,
            },
        }

    def to_json(self) -> dict[str, Any]:
        """All but the single questions, as plain JSON values."""
        task, score = self.task, asdict(self.score)
        del score["right"]
        return {
            **score,
            "total": task.total,
            "seed": task.seed,
            "examples": list(task.example_ids),
            "left_out": list(task.left_out),
            "prompts": task.prompts_hash,
            "file": task.file_hash,
            "groups": self._groups(),
            **self.checks,
        }

    def rows(self) -> list[dict[str, Any]]:
        """What the log says, one object a question."""
        return [self.task.row(reply, answer) for reply, answer in zip(self.replies, self.answers, strict=True)]

    def _groups(self) -> dict[str, dict[str, float]]:
        right = defaultdict(list)
        for group, answer in zip(self.task.groups, self.answers, strict=True):
            right[group].append(answer.right)
        return {group: {"value": float(np.mean(of)), "questions": len(of)} for group, of in right.items() if group}


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    ranks: Ranks,
    batch_size: int = 16,
    sample: int = 16,
    progress: bool = False,
) -> list[Evaluation]:
    """A model's answers to all questions of some tasks; every process gets those of all.

    Forms that judge the same log-likelihoods share a pass.

    Args:
        ranks: the processes that share the questions; each has the model.
        batch_size: rows a forward pass.
        sample: questions of each task, evenly over it, that are asked again in batches of one and without a shared
            prefix, to see that neither changes an answer.

    Raises:
        SenseDictError: after gathering, a question has no reply, or two.
        InvalidInput: an answer alone is longer than the model's context.
    """
    replies: dict[str, list[Reply]] = {}
    again: dict[str, list[Reply]] = {}
    found = []
    for task in tasks:
        key, count, seconds = task.pass_key, len(task.ids), 0.0
        if key not in replies:
            start = time.perf_counter()
            own = ranks.share(range(count))
            replies[key] = whole(task, ranks.gather(ask(model, tokenizer, task, own, batch_size, progress)))
            seconds = time.perf_counter() - start
            few = np.unique(np.linspace(0, count - 1, min(sample, count)).astype(int)).tolist()
            alone = task.ask(model, tokenizer, ranks.share(few), Asking(batch_size=1, share=False))
            again[key] = sorted(ranks.gather(alone), key=lambda reply: reply.place)
        answers = [task.judge(reply) for reply in replies[key]]
        found.append(Evaluation(task, task.score(answers), replies[key], answers, again[key], seconds))
    return found


def whole(task: Task, replies: Sequence[Reply]) -> list[Reply]:
    """The replies in the task's order.

    Raises:
        SenseDictError: a question has no reply, or two.
    """
    ordered = sorted(replies, key=lambda reply: reply.place)
    places = [reply.place for reply in ordered]
    if places != list(range(len(task.ids))):
        twice = len(places) - len(set(places))
        missing = len(set(range(len(task.ids))) - set(places))
        raise SenseDictError(
            f"{task.name}: of {len(task.ids)} questions {missing} have no reply and {twice} have more than one: the "
            "processes do not share the same questions"
        )
    return ordered


def write_log(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write a JSON object a question, of all tasks."""
    rows = [row for evaluation in evaluations for row in evaluation.rows()]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def table(evaluations: Sequence[Evaluation]) -> Table:
    """The scores, for people."""
    rows = []
    for evaluation in evaluations:
        score, replies = evaluation.score, evaluation.replies
        rows.append(
            [
                score.name,
                f"{score.value:.1%} ± {score.standard_error * 100:.1f}",
                f"{score.chance:.1%}",
                f"{score.questions:,}",
                str(score.shots),
                str(sum(reply.dropped > 0 for reply in replies)),
                str(sum(reply.cut > 0 for reply in replies)),
                f"{len(evaluation.differing)} of {len(evaluation.again)}",
            ]
        )
    header = ("task", "score", "chance", "questions", "shots", "fewer shots", "cut", "differ at batch 1")
    return Table(header, rows)


def some_of(ids: Sequence[str], most: int = 8) -> str:
    """The first few of some ids, and how many more there are.

    >>> some_of("abc", most=2)
    'a, b and 1 more'
    """
    more = len(ids) - most
    return ", ".join(ids[:most]) + (f" and {more} more" if more > 0 else "")


def details(evaluation: Evaluation) -> list[str]:
    """What decided a score, and what is wrong with it, line by line."""
    task, score = evaluation.task, evaluation.score
    lines = [
        f"{task.name}: prompts {task.prompts_hash}, file {task.file_hash[:16]}, seed {task.seed}, "
        f"{len(task.ids):,} of {task.total:,} questions"
    ]
    if score.others:
        lines.append("  " + ", ".join(f"{name} {value:.1%}" for name, value in score.others.items()))
    if task.example_ids:
        lines.append(f"  examples {some_of(task.example_ids)}")
    if task.left_out:
        lines.append(f"  not asked, being examples or asking the same: {some_of(task.left_out)}")
    if evaluation.differing:
        lines.append(
            f"  answered otherwise in a batch of one: {', '.join(evaluation.differing)}; log-likelihoods differ by up "
            f"to {evaluation.largest_difference:.1e} nats"
        )
    return lines
