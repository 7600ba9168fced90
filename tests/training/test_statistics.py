"""Statistics of experiments, worked by hand."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from sensedict_trainer.experiments import counts, latex, statistics
from sensedict_trainer.tasks import evaluation


def test_statistics_are_those_of_the_books() -> None:
    assert all(doctest.testmod(module).failed == 0 for module in (statistics, latex, evaluation, counts))
    # Differences −1, −2, −1.5: mean −1.5, deviation 0.5, t = −1.5 / (0.5 / √3) = −5.196 with 2 degrees of freedom.
    found = statistics.paired([1.0, 2.0, 3.0], [2.0, 4.0, 4.5])
    assert found is not None
    assert (found.deviation, found.lower, found.count) == (0.5, 3, 3)
    assert found.t == pytest.approx(0.0351, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((-2.7421, -0.2579), abs=1e-4)  # 4.3027 · 0.2887 to both sides
    # Of eight signs of 1, 2 and −3, whose sum is 0, all have a sum as far from 0.
    flat = statistics.paired([1.0, 2.0, -3.0], [0.0, 0.0, 0.0])
    assert flat is not None
    assert flat.permutation == 1.0
    assert statistics.paired([1.0], [2.0]) is None
    equal = statistics.paired([1.0, 1.0], [0.5, 0.5])
    assert equal is not None
    assert (equal.t, equal.low, equal.high) == (0.5, 0.5, 0.5)  # of four signs two have such a mean
    weights = np.array([1.0, 2.0, 5.0])
    assert statistics.bootstrap(-0.5 * weights, weights) == pytest.approx((-0.5, -0.5, -0.5))
    difference, low, high = statistics.bootstrap(np.array([0.0, 1.0] * 50), np.ones(100))
    assert difference == 0.5
    assert 0.35 < low < 0.45 < 0.55 < high < 0.65  # 1.96 · √(0.25 / 100) = 0.098
    quick, slow = [(5.0, 4.0), (10.0, 3.0)], [(10.0, 3.5), (20.0, 2.5)]
    assert statistics.at_equal_time([quick], [slow]) == ([3.0], [3.5])
    # The slow one passes 3.0, where the quick one ends, at 15 of its 20 seconds; the quick one never 2.5.
    assert statistics.may_be_slower(slow, 3.0) == pytest.approx(20 / 15)
    assert statistics.may_be_slower(quick, 2.5) is None
    assert statistics.may_be_slower(quick, 5.0) == 2.0, "at its first point already: as much at least"
