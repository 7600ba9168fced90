"""Training text of the tasks: a part of each train split as chats, in the very words that evaluation asks with."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.tasks import squad
from sensedict_trainer.tasks.questions import CHOICE_SETS, ChoiceSet, Item
from sensedict_trainer.tasks.training_parts import (
    TRAIN_FILES,
    Candidate,
    Part,
    Settings,
    evaluated_keys,
    read_candidates,
    take_part,
)

FORM = "letter"


@dataclass
class Chats:
    """Rows `id` and `messages`, in an order by seed that mixes the tasks, and the parts they were made of."""

    train: list[dict[str, Any]] = field(default_factory=list)
    tuning: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)


def make_chats(folder: Path, tasks: Sequence[str], settings: Settings) -> Chats:
    """The union of the tasks' parts as chats, each a few-shot prompt and the right answer (DSKD §5.1).

    Parts are in proportion to their splits' sizes, since each is the same fraction. Examples come from the part itself,
    drawn anew for each row, so that no question outside the part is trained on.

    Raises:
        InvalidInput: an unknown task or one named twice, a setting out of range, a file that is missing, empty, broken,
            or holds nothing but what is evaluated; a part too small for its examples.
    """
    _check(tasks, settings)
    evaluated = evaluated_keys(folder, tasks)
    chats = Chats()
    for task in tasks:
        part = take_part(task, read_candidates(folder, task, settings.seed), evaluated, settings)
        chats.parts[task] = part
        chats.train += _chats(task, part.train, settings)
        chats.tuning += _chats(task, part.tuning, settings)
    for rows in (chats.train, chats.tuning):
        rows.sort(key=lambda row: int(sequence_key(settings.seed, row["id"], "order")))
    return chats


def manifest(chats: Chats, settings: Settings) -> dict[str, Any]:
    """What was made, as JSON: settings, and of each task rows and dropped rows by why."""
    tasks = {
        task: {
            "train": len(part.train),
            "tuning": len(part.tuning),
            "usable": part.usable,
            "dropped": dict(sorted(part.dropped.items())),
        }
        for task, part in chats.parts.items()
    }
    chosen = {name: getattr(settings, name) for name in ("fraction", "shots", "seed", "hold_back")}
    return {**chosen, "form": FORM, "tasks": tasks}


def json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as the bytes of a `.jsonl` file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _check(tasks: Sequence[str], settings: Settings) -> None:
    for place, task in enumerate(tasks):
        if task not in TRAIN_FILES:
            near = difflib.get_close_matches(task, TRAIN_FILES, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InvalidInput(f"no train split of a task {task!r}{hint}: there are {', '.join(TRAIN_FILES)}")
        if task in tasks[:place]:
            raise InvalidInput(f"the task {task} is named twice")
    if not tasks:
        raise InvalidInput(f"no task is named: there are {', '.join(TRAIN_FILES)}")
    if not 0 < settings.fraction <= 1:
        raise InvalidInput(f"the fraction is above 0 and at most 1, not {settings.fraction}")
    if not 0 <= settings.hold_back < 1:
        raise InvalidInput(f"what is held back is a share of 0 up to, but not, 1, not {settings.hold_back}")
    if settings.shots < 0:
        raise InvalidInput(f"there are 0 examples or more before a question, not {settings.shots}")


def _chats(task: str, chosen: Sequence[Candidate], settings: Settings) -> list[dict[str, Any]]:
    """Each with its examples from among the others."""
    if not chosen:
        return []
    asked = (
        _squad_prompts(chosen, settings) if task == "squad_v2" else _choice_prompts(CHOICE_SETS[task], chosen, settings)
    )
    return [
        {
            "id": one.id,
            "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
        }
        for one, (prompt, answer) in zip(chosen, asked, strict=True)
    ]


def _squad_prompts(chosen: Sequence[Candidate], settings: Settings) -> list[tuple[str, str]]:
    readings = [one.content for one in chosen if isinstance(one.content, squad.Reading)]
    examples: Sequence[squad.Reading | None] = [None] * len(readings)
    if settings.shots:
        examples = squad.choose_examples(readings, readings, settings.seed)
    return [(squad.prompt_of(r, example), r.gold) for r, example in zip(readings, examples, strict=True)]


def _choice_prompts(data_set: ChoiceSet, chosen: Sequence[Candidate], settings: Settings) -> list[tuple[str, str]]:
    items = [one.content for one in chosen if isinstance(one.content, Item)]
    questions = [data_set.question(item, FORM) for item in items]
    keys, groups = _codes([one.key for one in chosen]), _codes([item.group for item in items])
    asked = []
    for place, (one, question) in enumerate(zip(chosen, questions, strict=True)):
        others = np.flatnonzero((keys != keys[place]) & (groups == groups[place]))
        if len(others) < settings.shots:  # a small group: the rest of the task helps out
            others = np.flatnonzero(keys != keys[place])
        if len(others) < settings.shots:
            raise InvalidInput(
                f"{data_set.name}: {len(chosen)} rows are too few for {settings.shots} examples and one to ask: take "
                "fewer shots, or a larger fraction or share to hold back"
            )
        order = np.argsort(mix(sequence_key(settings.seed, one.id, "shots"), others))[: settings.shots]
        before = "".join(f"{questions[i].solved}\n\n" for i in others[order])
        prompt = data_set.heading(question.group, FORM) + before + question.contexts[question.answer]
        asked.append((prompt, question.endings[question.answer]))
    return asked


def _codes(values: Sequence[str]) -> NDArray[np.int64]:
    """(n,) a number for each, the same for the same."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)
