"""The folder of results that any number of processes work in: a file a finished cell, a lock a cell in work."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sensedict.errors import ConfigurationError, Corrupt
from sensedict_trainer.distil.checkpoint import BEST, STUDENT
from sensedict_trainer.evaluate import TextScores
from sensedict_trainer.results import read_json, write_json
from sensedict_trainer.tasks.task import TaskScore
from sensedict_trainer.work import IDENTITY, differences

FORMAT = 1
_MARK = "sensedict experiments"


@dataclass(frozen=True)
class CellResult:
    """What is known of a model that was made and scored.

    Attributes:
        identity: what decided it, see `cells.identity_of`.
        text: on the held-out text; tasks: a score each; checks: see `Evaluation.checks`, by task.
        costs: numbers by name, see `costs.NAMES`.
        curve: (seconds of training, held-out CE, held-out KL) along the run, on a part of the held-out text.
        last: means over the last steps of what the run's history has.
        made: device, threads and versions, as JSON.
    """

    identity: Mapping[str, Any]
    text: TextScores
    tasks: tuple[TaskScore, ...]
    costs: Mapping[str, float]
    curve: tuple[tuple[float, float, float], ...] = ()
    last: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"format": FORMAT, **plain, "text": self.text.to_json(), "tasks": [asdict(task) for task in self.tasks]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CellResult:
        """The result that `to_json` wrote."""
        plain = {name: entry for name, entry in value.items() if name != "format"}
        tasks = tuple(TaskScore(**{**task, "right": tuple(task["right"])}) for task in value["tasks"])
        curve = tuple((float(a), float(b), float(c)) for a, b, c in value["curve"])
        return cls(**{**plain, "text": TextScores.from_json(value["text"]), "tasks": tasks, "curve": curve})


class Store:
    """Finished cells by key, in a folder that belongs to one teacher and training text.

    Args:
        folder: is made where it is missing.
        identity: what all cells share, JSON values.

    Raises:
        ConfigurationError: the folder holds results of another teacher or training text, or something else.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        # In this order: what another process makes in a new folder, it makes after the note of what the folder is.
        if folder.exists() and (not folder.is_dir() or (any(_entries(folder)) and not (folder / IDENTITY).is_file())):
            raise ConfigurationError(f"{folder} holds something else than results of experiments: name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        with self.claim("folder", wait=True):
            self._enter(folder / IDENTITY, identity)

    def _enter(self, note: Path, identity: Mapping[str, Any]) -> None:
        if not note.is_file():
            write_json(note, {_MARK: dict(identity)})
            return
        found = read_json(note)
        if not isinstance(found, dict) or not isinstance(found.get(_MARK), dict):
            raise ConfigurationError(f"{self.folder} holds the work of another command: name another folder")
        # Of what is shared alone: a note of before has the held-out text, too.
        if differing := differences({name: found[_MARK].get(name) for name in identity}, identity):
            raise ConfigurationError(
                f"{self.folder} holds results of another teacher or training text ({differing}): name another "
                "folder, or give what it was made with"
            )

    def has(self, key: str) -> bool:
        """Whether a cell is finished."""
        return self._path(key).is_file()

    def read(self, key: str) -> CellResult:
        """A finished cell.

        Raises:
            Corrupt: its file is not what was written.
        """
        path = self._path(key)
        try:
            value = read_json(path)
            if value["format"] != FORMAT:
                raise Corrupt(f"{path} has another format than {FORMAT}: remove it, and the cell is made again")
            return CellResult.from_json(value)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Corrupt(f"{path} is no result of a cell ({error}): remove it, and it is made again") from error

    def write(self, key: str, result: CellResult) -> None:
        """Keep a finished cell, whole or not at all."""
        write_json(self._path(key), result.to_json())

    def fail(self, key: str, why: str) -> None:
        """Keep that a cell's training ended without a number, so that nobody tries again."""
        write_json(self._path(key, "failed"), {"why": why})

    def failure(self, key: str) -> str | None:
        """Why a cell has no result and never will; None where it may."""
        path = self._path(key, "failed")
        return str(read_json(path)["why"]) if path.is_file() else None

    def answers(self, key: str) -> Path:
        """The file of what a cell's model answered, a JSON object a question."""
        return self.folder / "answers" / f"{key}.jsonl"

    def run_folder(self, run: str) -> Path:
        """Where the training of that key leaves checkpoints, history and student."""
        return self.folder / "runs" / run

    def has_student(self, run: str) -> bool:
        """Whether a student's weights are there."""
        return (self.run_folder(run) / STUDENT).is_dir()

    def drop_student(self, run: str) -> None:
        """Remove a student's weights; its history stays."""
        for name in (STUDENT, BEST):
            shutil.rmtree(self.run_folder(run) / name, ignore_errors=True)

    def claim(self, key: str, wait: bool = False) -> AbstractContextManager[bool]:
        """See `claim`."""
        return claim(self.folder, key, wait)

    def _path(self, key: str, kind: str = "cells") -> Path:
        return self.folder / kind / f"{key}.json"


@contextmanager
def claim(folder: Path, key: str, wait: bool = False) -> Iterator[bool]:
    """Whether a cell, or a shared thing of that name, in a folder of results is this process's alone inside the block.

    A claim ends with its process, however that ends.

    Args:
        wait: until whoever has it gives it back.
    """
    path = folder / "locks" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _entries(folder: Path) -> Iterator[Path]:
    """What a folder holds but locks, and files that are about to get their names."""
    return (entry for entry in folder.iterdir() if entry.name != "locks" and not entry.name.startswith("."))
