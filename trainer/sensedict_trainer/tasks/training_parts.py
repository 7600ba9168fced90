"""Which rows of a task's train split may be trained on, and a part of them by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensedict.errors import InvalidInput
from sensedict_trainer.hashing import sequence_key
from sensedict_trainer.tasks import mmlu_pro, squad
from sensedict_trainer.tasks.questions import CHOICE_SETS, Item
from sensedict_trainer.tasks.registry import ENTRIES, known_fields
from sensedict_trainer.tasks.rows import SUFFIXES, Row, find_file, load_rows

# Files without `.jsonl`, whose rows together are the train split.
TRAIN_FILES: Mapping[str, tuple[str, ...]] = {
    "arc_challenge": ("arc_challenge_train",),
    "commonsense_qa": ("commonsense_qa_train",),
    "piqa": ("piqa_train",),
    "mmlu": ("mmlu_pro_test", "mmlu_pro_validation"),  # MMLU has no train split of its own (DSKD §5.1)
    "squad_v2": ("squad_v2_train_part",),
}
_WHOLE_SQUAD = "squad_v2_train"  # taken in place of the part where it is there
# Evaluated too, or shown as examples when a model is evaluated.
_ALSO_EVALUATED = {
    "arc_challenge": ("arc_challenge_validation",),
    "arc_easy": ("arc_easy_validation",),
    "mmlu": ("mmlu_dev",),
}
_RUN = 12  # words in a row that two questions do not share by chance


@dataclass(frozen=True)
class Settings:
    """What decides the text besides the files.

    Attributes:
        fraction: of each task's usable rows; above 0, to 1.
        shots: examples before a question; SQuADv2 has at most one.
        seed: of every choice.
        hold_back: of that fraction, for tuning; 0 up to, but not, 1.
    """

    fraction: float = 0.25
    shots: int = 5
    seed: int = 0
    hold_back: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A row that may be trained on.

    Attributes:
        id: `squad_v2_train_part:12`, file and line.
        key: letters and digits of the question, or of SQuAD's paragraph. Rows of one key are never parted over
            training, tuning and evaluation.
        identity: equal for rows that are the same but for the order of choices.
        content: what is asked.
        flaw: why it cannot be used; empty when it can.
    """

    id: str
    key: str
    identity: tuple[str, ...]
    content: Item | squad.Reading
    flaw: str = ""


@dataclass(frozen=True)
class Part:
    """What is taken of one task's train split.

    Attributes:
        train, tuning: rows; no key stands in both.
        dropped: rows that were not used, by why.
        usable: rows that the part was taken of.
    """

    train: tuple[Candidate, ...]
    tuning: tuple[Candidate, ...]
    dropped: Mapping[str, int]
    usable: int


def evaluated_keys(folder: Path, tasks: Sequence[str]) -> dict[str, set[str]]:
    """The keys of the questions that are evaluated, by file.

    All files in the folder that tasks are scored on count, whichever tasks are trained on.

    Raises:
        InvalidInput: the file that one of `tasks` is scored on is missing: what is evaluated could then be trained on.
    """
    keys: dict[str, set[str]] = {}
    for name, entry in ENTRIES.items():
        for stem in _evaluated_files(name):
            needed = name in tasks and stem == entry.scored
            if needed or _is_there(folder, stem):
                keys[stem] = {_candidate(name, row).key for row in load_rows(find_file(folder, stem))}
    return keys


def read_candidates(folder: Path, task: str, seed: int) -> list[Candidate]:
    """All rows of a task's train split. Raises `InvalidInput` for a file that is missing, or a bad row."""
    stems = (_WHOLE_SQUAD,) if task == "squad_v2" and _is_there(folder, _WHOLE_SQUAD) else TRAIN_FILES[task]
    rows = [row for stem in stems for row in load_rows(find_file(folder, stem))]
    if task != "mmlu":
        return [_candidate(task, row) for row in rows]
    return [_cut(row, seed) for row in rows]


def take_part(
    task: str, candidates: Sequence[Candidate], evaluated: Mapping[str, set[str]], settings: Settings
) -> Part:
    """A fraction of what may be trained on, by seed; rows of one key are taken together as far as they fit.

    Raises:
        InvalidInput: nothing may be trained on, or nothing is left beside what is held back.
    """
    usable, dropped = _usable(task, candidates, evaluated)
    if not usable:
        why = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        raise InvalidInput(
            f"the train split of {task}: no row of it may be trained on ({why}): is it a split that is evaluated?"
        )
    part = _first(usable, settings.fraction, settings.seed, "part")
    held = {one.key for one in _first(part, settings.hold_back, settings.seed, "tuning")}
    train = tuple(one for one in part if one.key not in held)
    if not train:
        raise InvalidInput(f"{task}: a part of {len(part)} rows is too small to hold some back: take a larger fraction")
    tuning = tuple(one for one in part if one.key in held)
    apart = _apart(tuning, train) if tuning else ()
    dropped["held back, but like a training row"] = len(tuning) - len(apart)
    return Part(train, apart, dict(+dropped), len(usable))


def _usable(
    task: str, candidates: Sequence[Candidate], evaluated: Mapping[str, set[str]]
) -> tuple[list[Candidate], Counter[str]]:
    """What may be trained on, and how many rows may not, by why."""
    own = _evaluated_files(task)
    files = sorted(evaluated, key=lambda stem: own.index(stem) if stem in own else len(own))
    dropped: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    usable = []
    for one in candidates:
        stem = next((stem for stem in files if one.key in evaluated[stem]), None)
        if stem is not None:
            dropped[f"in {stem}"] += 1
        elif one.flaw:
            dropped[one.flaw] += 1
        elif one.identity in seen:
            dropped["double"] += 1
        else:
            seen.add(one.identity)
            usable.append(one)
    return usable, dropped


def _is_there(folder: Path, stem: str) -> bool:
    return any((folder / (stem + suffix)).is_file() for suffix in SUFFIXES)


def _evaluated_files(task: str) -> tuple[str, ...]:
    return (ENTRIES[task].scored, *_ALSO_EVALUATED.get(task, ()))


def _candidate(name: str, row: Row) -> Candidate:
    """A row of a data set in its own fields."""
    where = _name(row)
    if name == "squad_v2":
        reading = squad.parse_reading(row, known_fields())
        return Candidate(where, _key(reading.paragraph), (reading.paragraph, reading.question), reading)
    item = CHOICE_SETS[name].item(row, known_fields())
    return Candidate(where, _key(item.text), (item.text, *sorted(item.choices)), item)


def _cut(row: Row, seed: int) -> Candidate:
    """A row of MMLU-Pro as one of MMLU."""
    mmlu_pro.check(row, known_fields())
    cut = Row(row.where, mmlu_pro.as_mmlu(row.values, seed))
    item = CHOICE_SETS["mmlu"].item(cut, known_fields())
    identity = (item.text, *sorted(set(row.values["options"])))
    return Candidate(_name(row), _key(item.text), identity, item, mmlu_pro.flaw(row.values))


def _name(row: Row) -> str:
    """`arc_challenge_train:12`: the same however the file is compressed."""
    file, _, line = row.where.rpartition(":")
    return f"{file.partition('.jsonl')[0]}:{line}"


def _key(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum()) or text


def _first(candidates: Sequence[Candidate], share: float, seed: int, purpose: str) -> list[Candidate]:
    """A share of them, at least one of a share above 0, in their order: those of the lowest keys, hashed."""
    ranks = np.array([sequence_key(seed, one.key, purpose) for one in candidates], dtype=np.uint64)
    count = max(int(share > 0), round(share * len(candidates)))
    return [candidates[i] for i in sorted(np.argsort(ranks, kind="stable")[:count])]


def _apart(tuning: Sequence[Candidate], train: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those that have no `_RUN` words after one another of a training row (PIQA asks one thing in several ways)."""
    trained = {run for one in train for run in _runs(one)}
    return tuple(one for one in tuning if trained.isdisjoint(_runs(one)))


def _runs(one: Candidate) -> set[str]:
    asked = one.content
    texts = (asked.text, *asked.choices) if isinstance(asked, Item) else (asked.paragraph, asked.question)
    words = " ".join(texts).lower().split()
    return {" ".join(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)}
