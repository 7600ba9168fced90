"""What a table's columns are: a number of a cell, how it is written, and its values by window or question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput
from sensedict_trainer.evaluate import Measure as OfText
from sensedict_trainer.experiments.costs import NAMES
from sensedict_trainer.experiments.spec import Experiment
from sensedict_trainer.experiments.store import CellResult
from sensedict_trainer.report import duration
from sensedict_trainer.tasks.registry import ENTRIES, check_names

_TEXT: dict[str, tuple[OfText, str]] = {
    "ce": ("cross_entropy", "CE"),
    "kl": ("kl", "KL to teacher"),
    "agreement": ("agreement", "agreement"),
    "distance": ("distance", "d²"),
}
_EVALUATION = "evaluation_seconds/"
_LAST = "last/"  # what the run's history had in its last steps: last/hinge_active
_OTHER = "#"  # another measure of a task than its main one: squad_v2/generate#exact_match
Unit = Literal["nats", "share", "d²", "seconds", "bytes", "count"]
POOLED = "pooled"


@dataclass(frozen=True)
class Measure:
    """A column.

    Attributes:
        name: as an experiment names it: `ce`, `kl`, `agreement`, `distance`, a task, `pooled`,
            `TASK#OTHER`, a cost, `last/…`.
        label: its heading.
        pooled: of `pooled`, the tasks whose questions it puts together.
    """

    name: str
    label: str
    unit: Unit
    pooled: tuple[str, ...] = ()

    @property
    def compares(self) -> bool:
        """Whether it is of a text's windows or a task's questions; costs and histories are told, not tested."""
        told = self.name.startswith(_LAST) or _OTHER in self.name
        return self.name in _TEXT or (self.unit == "share" and not told)

    def of(self, result: CellResult) -> float | None:
        """The number of a cell; None where it has none."""
        if self.name in _TEXT:
            return result.text.mean(_TEXT[self.name][0])
        if self.name.startswith(_LAST):
            return result.last.get(self.name.removeprefix(_LAST))
        if _OTHER in self.name:
            task, _, other = self.name.partition(_OTHER)
            return next((score.others.get(other) for score in result.tasks if score.name == task), None)
        if self.unit == "share":
            items = self.items(result)
            return None if items is None else float(items[0].sum() / items[1].sum())
        return result.costs.get(self.name)

    def items(self, result: CellResult) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """(n,) sums of each window, or what each question was worth; (n,) positions, or 1. None without them."""
        if self.name in _TEXT:
            return getattr(result.text, _TEXT[self.name][0]), result.text.positions.astype(np.float64)
        if not self.compares:
            return None
        scores = {score.name: score for score in result.tasks}
        names = self.pooled or (self.name,)
        if not all(name in scores for name in names):
            return None
        right = np.concatenate([np.asarray(scores[name].right, dtype=np.float64) for name in names])
        return right, np.ones(len(right))

    def text(self, value: float, signed: bool = False) -> str:
        """A value as a table has it."""
        sign = "+" if signed else ""
        if self.unit == "share":
            return f"{100 * value:{sign}.2f}"
        if self.unit == "seconds":
            return duration(value)
        if self.unit == "bytes":
            return _size(value)
        if self.unit == "count":
            return f"{value / 1e6:,.1f} M" if value >= 1e6 else f"{value:,.0f}"
        return f"{value:{sign}.4f}"


def measure_of(name: str, pooled: Sequence[str] = ()) -> Measure:
    """A measure by its name.

    Raises:
        InvalidInput: there is none of that name.
    """
    if name in _TEXT:
        unit: Unit = "share" if name == "agreement" else "d²" if name == "distance" else "nats"
        return Measure(name, _TEXT[name][1] + (" (%)" if unit == "share" else ""), unit)
    if name == POOLED:
        return Measure(name, "tasks, pooled (%)", "share", tuple(pooled))
    if name.startswith(_LAST):
        return Measure(name, name.removeprefix(_LAST).replace("_", " "), "nats")
    if name.startswith(_EVALUATION):
        return Measure(name, f"evaluation, {name.removeprefix(_EVALUATION)}", "seconds")
    if name in NAMES:
        unit = "seconds" if name.endswith("seconds") else "bytes" if name.endswith("bytes") else "count"
        return Measure(name, NAMES[name], unit)
    if "/" in name:
        task, _, other = name.partition(_OTHER)
        return Measure(name, f"{task}, {other.replace('_', ' ')} (%)" if other else f"{name} (%)", "share")
    raise InvalidInput(f"no measure {name!r}: there are {', '.join([*_TEXT, POOLED, *NAMES])}, and tasks")


def check_measures(experiment: Experiment) -> None:
    """Let pass measures that there are: a column that no cell can have would be known when all are made.

    Raises:
        InvalidInput: there is no such measure, or task of one; a primary one is no column; nothing is to be pooled.
    """
    for name in experiment.measures:
        measure = measure_of(name, experiment.pooled)
        if name.startswith(_EVALUATION) and name.removeprefix(_EVALUATION) not in ENTRIES:
            raise InvalidInput(f"the measure {name!r} is of no data set: there are {', '.join(ENTRIES)}")
        if measure.unit == "share" and "/" in name:
            check_names([name.partition(_OTHER)[0]])
    check_names(experiment.pooled)
    if POOLED in experiment.measures and not experiment.pooled:
        raise InvalidInput(f"{experiment.name} measures {POOLED!r}, and names no tasks to pool: pooled = [...]")
    if missing := [name for name in experiment.primary if name not in experiment.measures]:
        raise InvalidInput(f"{experiment.name} has the primary measure {missing[0]!r}, which is not among its measures")


def _size(count: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.2f} {unit}"
    return f"{count:,.0f} B"
