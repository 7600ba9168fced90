"""What the cells of an experiment are made from: teacher, text, tasks and dictionaries, opened once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensedict.errors import ConfigurationError
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.run_options import TrainOptions
from sensedict_trainer.experiments.controls import CONTROLS, open_control
from sensedict_trainer.experiments.spec import BASE
from sensedict_trainer.teacher import Teacher, check_identity
from sensedict_trainer.text import TokenWindow, text_hash

if TYPE_CHECKING:
    from torch import Tensor

    from sensedict.source import SenseSource
    from sensedict_trainer.tasks.task import Task

_CURVE = 64  # of the training tokens one is scored at each point of a curve


class Dictionaries:
    """Variants of a dictionary, each opened when it is first asked for.

    Args:
        base: opens the dictionary that the command names; None where it names none.
        snapshot: its file set, of which controls are made; None where a service has it.
        others: file sets by variant.
        build: what `sensedict build` must be told for a variant, by variant.
    """

    def __init__(
        self,
        base: Callable[[], AbstractContextManager[SenseSource]] | None,
        snapshot: Path | None,
        others: Mapping[str, Path],
        build: Mapping[str, str],
    ) -> None:
        self._base, self._snapshot, self._others, self._build = base, snapshot, others, build
        self._opened: dict[str, SenseSource] = {}
        self._stack = ExitStack()

    def get(self, variant: str) -> SenseSource:
        """The dictionary of that name.

        Raises:
            ConfigurationError: it was not given, or cannot be opened.
        """
        if variant not in self._opened:
            self._opened[variant] = self._stack.enter_context(self._opener(variant))
        return self._opened[variant]

    def _opener(self, variant: str) -> AbstractContextManager[SenseSource]:
        if variant in self._others:
            return Snapshot.open(self._others[variant], verify=True)
        if variant in CONTROLS:
            if self._snapshot is None:
                raise ConfigurationError(
                    f"the control {variant!r} is made of a dictionary's file set: give --snapshot FOLDER "
                    "(`sensedict files path NAME@VERSION` names it)"
                )
            return open_control(variant, self._snapshot)
        if variant == BASE and self._base is not None:
            return self._base()
        if variant == BASE:
            raise ConfigurationError("this experiment needs a dictionary: give --snapshot FOLDER, or --dictionary NAME")
        how = self._build.get(variant, "…")
        raise ConfigurationError(
            f"this experiment needs the dictionary {variant!r}: build it over the same text with `sensedict build "
            f"{how} --name … --version …` and the other options of the first, then give --variant {variant}:FOLDER "
            "(`sensedict files path NAME@VERSION` names it)"
        )

    def __enter__(self) -> Dictionaries:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        self._opened.clear()


@dataclass
class Material:
    """What cells are made from.

    Attributes:
        teacher: runs once over each text.
        training, held_out: windows; curve: of the latter, those that are scored along a run.
        tasks: to be scored as well.
        options: of every run.
        memo: the teacher's states of the held-out text; kept: layers of students, by choice and number.
    """

    teacher: Teacher
    training: Sequence[TokenWindow]
    held_out: Sequence[TokenWindow]
    tasks: Sequence[Task]
    dictionaries: Dictionaries
    options: TrainOptions
    memo: dict[int, Tensor] = field(default_factory=dict)
    kept: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)

    def source(self, variant: str) -> SenseSource:
        """A dictionary of this teacher. Raises `Mismatch` where it is another's."""
        found = self.dictionaries.get(variant)
        check_identity(self.teacher, found.identity)
        return found

    @property
    def curve(self) -> list[TokenWindow]:
        """The first windows of the held-out text, one token for so many of the training text; at least one window."""
        room = sum(len(window.ids) for window in self.training) // _CURVE
        kept = list(self.held_out[:1])
        for window in self.held_out[1:]:
            room -= len(window.ids)
            if room < 0:
                break
            kept.append(window)
        return kept

    def trained_on(self) -> dict[str, Any]:
        """What all cells of a folder share, as JSON."""
        return {
            "teacher": self.teacher.fingerprint,
            "tokenizer": self.teacher.tokenizer_hash,
            "training text": text_hash(self.training),
        }

    @cached_property
    def described_tasks(self) -> list[list[Any]]:
        """What decides the tasks' questions, as JSON."""
        return [describe_task(task) for task in self.tasks]


def describe_task(task: Task) -> list[Any]:
    """What decides a task's questions, as JSON.

    Without examples, and chosen by the seed 0, they are known from file and number; else the prompts tell.
    """
    prompts = [task.prompts_hash] if task.shots or task.seed else []
    return [task.name, task.file_hash, len(task.ids), task.shots, list(task.example_ids), *prompts]


def open_all(variants: Collection[str], dictionaries: Dictionaries) -> None:
    """Open every dictionary that is needed, so that what is missing is known before anything is loaded."""
    for variant in sorted(variants):
        dictionaries.get(variant)
