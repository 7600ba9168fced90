"""Multiple-choice questions from the files as their authors ship them, in the prompts of lm-evaluation-harness."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sensedict.errors import InvalidInput
from sensedict.fileset import hash_file


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        prompt: what stands before an answer, without a blank at its end.
        choices: the answers' texts, two or more.
        answer: place of the right one.
        source: `file:line` it came from.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int
    source: str


@dataclass(frozen=True)
class Task:
    """Questions to score, and the examples that stand before each of them.

    Attributes:
        name: `arc_easy`, `arc_challenge` or `piqa`.
        questions: in the file's order.
        examples: the few-shot examples, the same for all questions.
        total: questions in the file.
        file_hash: sha256 of the file's bytes.
    """

    name: str
    questions: tuple[Question, ...]
    examples: tuple[Question, ...]
    total: int
    file_hash: str

    @property
    def shots(self) -> int:
        """Number of examples before a question."""
        return len(self.examples)

    def preamble(self) -> str:
        """The examples as text, each with its right answer, an empty line after each."""
        return "".join(f"{e.prompt} {e.choices[e.answer]}\n\n" for e in self.examples)


def _arc(row: Mapping[str, Any]) -> tuple[str, list[str], int]:
    texts, labels = row["choices"]["text"], row["choices"]["label"]
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} choices but {len(labels)} labels")
    if row["answerKey"] not in labels:
        raise ValueError(f"the answer {row['answerKey']!r} is not among the labels {', '.join(map(str, labels))}")
    return row["question"], texts, labels.index(row["answerKey"])


def _piqa(row: Mapping[str, Any]) -> tuple[str, list[str], int]:
    if row["label"] not in (0, 1):
        raise ValueError(f"the label {row['label']!r} is neither 0 nor 1")
    return row["goal"], [row["sol1"], row["sol2"]], int(row["label"])


# Both data sets are asked as lm-evaluation-harness asks them: "Question: …\nAnswer:", the answer after one blank.
FORMATS: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, list[str], int]]] = {
    "arc_easy": _arc,
    "arc_challenge": _arc,
    "piqa": _piqa,
}


def load_task(name: str, path: Path, limit: int | None = None, shots: int = 0, seed: int = 0) -> Task:
    """The questions of a file of JSON lines (`.jsonl`, also `.gz` or `.xz`).

    Args:
        name: which data set's fields the file has, a key of `FORMATS`.
        path: the file.
        limit: score this many questions, chosen by seed; None for all.
        shots: put this many questions, chosen by seed and left out of the score, before each as examples.
        seed: of both choices.

    Raises:
        InvalidInput: an unknown name, an unreadable or empty file, a broken line (file and line named), more shots than
            the file can spare.
    """
    if name not in FORMATS:
        raise InvalidInput(f"no task {name!r}: known are {', '.join(FORMATS)}")
    questions = _read(name, path)
    if len(questions) <= shots:
        raise InvalidInput(f"{path} has {len(questions)} questions: too few for {shots} examples and one to score")
    order = np.random.default_rng(seed).permutation(len(questions))
    examples, rest = order[:shots], order[shots:][:limit]
    return Task(
        name=name,
        questions=tuple(questions[i] for i in sorted(rest)),
        examples=tuple(questions[i] for i in examples),
        total=len(questions),
        file_hash=hash_file(path).sha256,
    )


def parse_task_option(value: str) -> tuple[str, Path]:
    """`arc_easy:PATH` as a name and a path. Raises `InvalidInput` when it is not of that form."""
    name, colon, path = value.partition(":")
    if not colon or not path or name not in FORMATS:
        raise InvalidInput(f"a task is given as NAME:FILE with a name of {', '.join(FORMATS)}, not {value!r}")
    return name, Path(path)


def _read(name: str, path: Path) -> list[Question]:
    questions = []
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    questions.append(_question(name, line, f"{path.name}:{number}"))
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}") from error
    if not questions:
        raise InvalidInput(f"{path} holds no question")
    return questions


def _open(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _question(name: str, line: str, source: str) -> Question:
    try:
        text, choices, answer = FORMATS[name](json.loads(line))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{source}: not JSON: {error}") from error
    except KeyError as error:
        raise InvalidInput(
            f"{source}: no field {error} (the file should hold {name} as its authors ship it)"
        ) from error
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{source}: {error}") from error
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"{source}: the question is empty")
    if len(choices) < 2 or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise InvalidInput(f"{source}: a question needs two or more choices, none empty")
    return Question(f"Question: {text}\nAnswer:", tuple(choices), answer, source)
