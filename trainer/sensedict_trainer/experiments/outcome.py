"""What an experiment found: cells by condition and seed, and the comparisons between conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sensedict_trainer.experiments.measures import Measure, measure_of
from sensedict_trainer.experiments.spec import Condition, Experiment
from sensedict_trainer.experiments.statistics import (
    Paired,
    Spread,
    at_equal_time,
    bootstrap,
    holm,
    may_be_slower,
    paired,
)
from sensedict_trainer.experiments.store import CellResult

_CURVES = {"ce": 1, "kl": 2}  # places of measures in a curve's points


@dataclass(frozen=True)
class Comparison:
    """A condition against another in one measure.

    Attributes:
        seeds: over training seeds; None where fewer than two are common. holm: p of its t test, corrected over all
            comparisons with the same base in this measure.
        items: difference and 95% bounds of a bootstrap over windows or questions, of means over the common seeds.
        equal_time: over training seeds, at the time when the quicker of each pair ended; None where that is not known.
        slower: see `may_be_slower`, the first against the second's end, the least over seeds; None where it is not
            known, or some seed is not ahead.
    """

    first: Condition
    second: Condition
    measure: Measure
    seeds: Paired | None
    holm: float | None
    items: tuple[float, float, float] | None
    equal_time: Paired | None
    slower: float | None


@dataclass(frozen=True)
class Outcome:
    """The finished cells of an experiment.

    Attributes:
        cells: by condition's name, then by seed; a model that is not trained has the seed None.
        failed: names of cells whose training ended without a number.
    """

    experiment: Experiment
    cells: Mapping[str, Mapping[int | None, CellResult]]
    failed: tuple[str, ...] = ()

    @property
    def measures(self) -> list[Measure]:
        """The experiment's measures that some cell has."""
        found = [measure_of(name, self.experiment.pooled) for name in self.experiment.measures]
        return [m for m in found if any(self.values(c, m) for c in self.experiment.conditions)]

    @property
    def compared(self) -> list[Measure]:
        """Those of them that conditions are compared in: of text and tasks, the primary ones first."""
        found = [measure for measure in self.measures if measure.compares]
        return sorted(found, key=lambda measure: measure.name not in self.experiment.primary)

    @property
    def seeds(self) -> list[int]:
        """All seeds that some cell has, rising."""
        return sorted({seed for group in self.cells.values() for seed in group if seed is not None})

    def of(self, condition: Condition) -> Mapping[int | None, CellResult]:
        """The cells of a condition by seed."""
        return self.cells.get(condition.name, {})

    def values(self, condition: Condition, measure: Measure) -> dict[int | None, float]:
        """The condition's numbers by seed, where there are some."""
        found = {seed: measure.of(result) for seed, result in self.of(condition).items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def spread(self, condition: Condition, measure: Measure) -> Spread | None:
        """Mean and standard deviation over seeds; None where there is no number."""
        values = [*self.values(condition, measure).values()]
        return Spread.of(values) if values else None

    def pairs(self) -> Iterator[tuple[Condition, Condition]]:
        """Each condition with each that it is compared with: at the same place of the same axis, or on none.

        A condition that lies on no axis is compared with a base that does at each of its places (DSKD Table 9); one
        place of an axis with all others. What has been told is not told again the other way round.
        """
        students = [condition for condition in self.experiment.conditions if condition.model == "student"]
        told: set[frozenset[str]] = set()
        for name in self.experiment.against:
            for condition in students:
                for other in _others(condition, name, students):
                    pair = frozenset((condition.name, other.name))
                    if pair not in told:
                        told.add(pair)
                        yield condition, other

    def compare(self, measure: Measure) -> list[Comparison]:
        """Every comparison of the experiment in one measure; those without a common seed are left out."""
        found = []
        for first, second in self.pairs():
            left, right = self.values(first, measure), self.values(second, measure)
            common = sorted(seed for seed in left if seed is not None and seed in right)
            if common:
                curves = self._curves(first, second, measure, common)
                seeds = paired([left[seed] for seed in common], [right[seed] for seed in common])
                found.append(
                    Comparison(
                        first=first,
                        second=second,
                        measure=measure,
                        seeds=seeds,
                        holm=None,
                        items=self._items(first, second, measure, common),
                        equal_time=paired(*at_equal_time(*curves)) if curves else None,
                        slower=_least([may_be_slower(a, b[-1][1]) for a, b in zip(*curves, strict=True)]),
                    )
                )
        return _corrected(found)

    def _items(
        self, first: Condition, second: Condition, measure: Measure, seeds: Sequence[int]
    ) -> tuple[float, float, float] | None:
        sides = [[measure.items(self.of(side)[seed]) for seed in seeds] for side in (first, second)]
        left, right = ([items for items in side if items is not None] for side in sides)
        if not left or not right:
            return None
        difference = np.mean([values for values, _ in left], axis=0) - np.mean([values for values, _ in right], axis=0)
        return bootstrap(difference, left[0][1])

    def _curves(
        self, first: Condition, second: Condition, measure: Measure, seeds: Sequence[int]
    ) -> list[list[list[tuple[float, float]]]]:
        """Curves of (seconds, value) of both sides by seed; empty where a run has none of the measure."""
        place = _CURVES.get(measure.name)
        if place is None:
            return []
        curves = [
            [[(point[0], point[place]) for point in self.of(side)[seed].curve] for seed in seeds]
            for side in (first, second)
        ]
        return curves if all(curve for side in curves for curve in side) else []


def _least(values: Sequence[float | None]) -> float | None:
    """The least of some values; None where one is missing, or there are none."""
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _others(condition: Condition, name: str, students: Sequence[Condition]) -> list[Condition]:
    """The students that are meant by a name in `against`, for one that is compared with it."""
    places = [other for other in students if other.axis and other.name == name != condition.name]
    if places:
        return [other for other in places if (other.axis, other.base) == (condition.axis, condition.base)]
    others = [other for other in students if other.base == name != condition.base]
    same = [other for other in others if (other.axis, other.place) == (condition.axis, condition.place)]
    return same or [other for other in others if not other.axis] or ([] if condition.axis else others)


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's p, one family for each base."""
    corrected = list(found)
    for base in dict.fromkeys(comparison.second.base for comparison in found):
        family = [place for place, c in enumerate(found) if c.second.base == base and c.seeds is not None]
        tests = [test.t for test in (found[place].seeds for place in family) if test is not None]
        for place, value in zip(family, holm(tests), strict=True):
            corrected[place] = replace(found[place], holm=value)
    return corrected
