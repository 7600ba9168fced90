"""What an experiment is, as data: conditions, measures, and the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

BASE = "base"  # the dictionary that the command names; others are variants of it
States = Literal["exact", "senses", "logits"]  # as distil.teacher_states has them, without torch


@dataclass(frozen=True)
class Stored:
    """What stands for the teacher in a run without it, see `distil.teacher_states`.

    Attributes:
        kind: `exact`, `senses` or `logits`; count: senses or tokens of a position.
    """

    kind: States
    count: int = 0


@dataclass(frozen=True)
class Condition:
    """One way to make a student; a row of a table.

    Attributes:
        name: unique in the experiment; base: that of the condition that an axis made it of.
        label: as a table has it.
        settings: of the recipe, by the names of `--set`; point: those that an axis decides, which go before all others.
        variant: of the dictionary.
        stored: what stands for the teacher; None for the teacher itself.
        model: `student`, or a row that is not trained: `teacher`, `untrained`.
        axis, place: the axis that it lies on and where, empty for one that lies on none.
    """

    name: str
    base: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    point: Mapping[str, Any] = field(default_factory=dict)
    variant: str = BASE
    stored: Stored | None = None
    model: str = "student"
    axis: str = ""
    place: str = ""


@dataclass(frozen=True)
class Paper:
    """The numbers that the paper prints.

    Attributes:
        columns: their headings; rows: numbers or texts by name of a condition, in the order of the columns.
    """

    columns: tuple[str, ...] = ()
    rows: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A table or a figure.

    Attributes:
        name: of its file.
        title, source, about: what it is, where it stands in the paper, what it asks.
        kind: `training`, cells are trained and scored; `dictionary`, dictionaries are counted; `recipes`, settings are
            printed.
        conditions: rows, in order; cross: whether they lie at every combination of the axes' points, or on one axis
            each.
        seeds: how many, where the command names none.
        tasks: names of tasks, `arc_easy/continuation`; shots: examples before a question.
        measures: columns; primary: those that were named beforehand; pooled: tasks whose questions `pooled` puts
            together.
        against: bases that every other condition is compared with; a place, that others of its axis are compared with.
        build: what `sensedict build` must be told for a variant of the dictionary, by variant.
        paper: the paper's numbers; notes: sentences under the table.
    """

    name: str
    title: str
    source: str
    about: str
    kind: str
    conditions: tuple[Condition, ...]
    cross: bool
    seeds: int
    tasks: tuple[str, ...]
    shots: int
    measures: tuple[str, ...]
    primary: tuple[str, ...]
    pooled: tuple[str, ...]
    against: tuple[str, ...]
    build: Mapping[str, str]
    paper: Paper
    notes: tuple[str, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """The dictionaries that its conditions name, each once."""
        return tuple(dict.fromkeys(condition.variant for condition in self.conditions))

    def named(self, name: str) -> Condition:
        """The condition of that name."""
        return next(condition for condition in self.conditions if condition.name == name)
