"""MMLU-Pro as training text for MMLU: cut to four choices, without what MMLU asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensedict.errors import InvalidInput
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.tasks.questions import LETTERS
from sensedict_trainer.tasks.rows import Row, require

FIELDS = ("question_id", "question", "options", "answer", "answer_index", "category")
CHOICES = 4  # of MMLU


def check(row: Row, known: Mapping[str, Sequence[str]]) -> None:
    """Let pass a row of MMLU-Pro.

    Raises:
        InvalidInput: a field is missing or of another kind, or the answer is no option's letter; names file and line.
    """
    require(row, FIELDS, "MMLU-Pro", known)
    question, options, answer = (row.values[name] for name in FIELDS[1:4])
    if not isinstance(question, str):
        raise InvalidInput(f"{row.where}: `question` must be a text")
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise InvalidInput(f"{row.where}: `options` must be a list of texts")
    letters = list(LETTERS[: len(options)])
    if answer not in letters:
        raise InvalidInput(f"{row.where}: the answer {answer!r} is not among the letters {', '.join(letters)}")


def flaw(row: Mapping[str, Any]) -> str:
    """Why a row that `check` let pass is no question of four choices; empty when it is one."""
    if LETTERS.index(row["answer"]) != row["answer_index"]:
        return "answer and answer_index disagree"
    return "fewer than four choices" if len(set(row["options"])) < CHOICES else ""


def as_mmlu(row: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A row with the fields of MMLU: `subject` (the category), `question`, `choices` and `answer`.

    The right option stays, three of the others stay by seed, and all keep their order, so that `none of the above` is
    still below. Of options with the same text the first stays.
    """
    right = row["options"][LETTERS.index(row["answer"])]
    wrong = [option for option in dict.fromkeys(row["options"]) if option != right]
    keys = mix(sequence_key(seed, str(row["question_id"]), "choices"), np.arange(len(wrong)))
    kept = {wrong[i] for i in np.argsort(keys)[: CHOICES - 1]} | {right}
    choices = [option for option in dict.fromkeys(row["options"]) if option in kept]
    return {
        "subject": row["category"],
        "question": row["question"],
        "choices": choices,
        "answer": choices.index(right),
    }
