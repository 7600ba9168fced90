"""What seeds, windows and questions say of a difference; each for itself, since each answers another question.

Over *training seeds*: would another run with other seeds come out the same way? Over *windows or questions*, with these
runs as they are: would other text or other questions?
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_SAMPLES = 2000  # of a bootstrap
_FLIPS = 2**17  # sign flips of a permutation test: exact up to 17 seeds


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n − 1) of some values; the latter None where there is one."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Paired:
    """A difference first − second over training seeds.

    Attributes:
        difference: mean; deviation: standard deviation over seeds.
        low, high: 95% interval of a paired t test; t: its p. Where all differences are equal there is no spread to go
            by: both bounds are the mean, and p is that of sign flips.
        sign: p of an exact sign test; permutation: of sign flips of the differences, exact up to 17 seeds. Both are
            two-sided; with n seeds neither goes below 2 ** (1 − n).
        lower: seeds with a difference below 0; count: seeds.
    """

    difference: float
    deviation: float
    low: float
    high: float
    t: float
    sign: float
    permutation: float
    lower: int
    count: int


def paired(first: Sequence[float], second: Sequence[float]) -> Paired | None:
    """The tests of a difference over seeds, the same seeds in the same order on both sides; None for fewer than two.

    >>> found = paired([1.0, 2.0, 3.0], [2.0, 4.0, 4.5])
    >>> found.difference, found.lower, found.sign, found.permutation
    (-1.5, 3, 0.25, 0.25)
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if len(differences) < 2:
        return None
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    lower, moved = int((differences < 0).sum()), int((differences != 0).sum())
    flips = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_FLIPS,
        rng=np.random.default_rng(0),
    )
    if deviation < 1e-12 * max(
        1.0, abs(mean)
    ):  # a few questions, the same few in every seed: nothing is certain by that
        t, low, high = float(flips.pvalue), mean, mean
    else:
        test = stats.ttest_1samp(differences, 0.0)
        interval = test.confidence_interval(0.95)
        t, low, high = float(test.pvalue), float(interval.low), float(interval.high)
    return Paired(
        difference=mean,
        deviation=deviation,
        low=low,
        high=high,
        t=t,
        sign=float(stats.binomtest(lower, moved).pvalue) if moved else 1.0,
        permutation=float(flips.pvalue),
        lower=lower,
        count=len(differences),
    )


def holm(values: Sequence[float]) -> list[float]:
    """p values of a family of tests, corrected by Holm's method: each holds for all of them together.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def bootstrap(
    differences: NDArray[np.float64], weights: NDArray[np.float64], seed: int = 0
) -> tuple[float, float, float]:
    """A difference Σ d / Σ w over items, and the bounds of 95% of its replicates when items are drawn anew.

    Args:
        differences: (n,) sums of a window, or of a question; weights: (n,) positions of a window, or 1.
        seed: of the resampling.
    """
    draws = _draws(len(differences), seed)
    replicates = (draws @ differences) / np.maximum(draws @ weights, 1e-12)
    low, high = np.quantile(replicates, (0.025, 0.975))
    return float(differences.sum() / weights.sum()), float(low), float(high)


@lru_cache(maxsize=8)  # a report has hundreds of bootstraps over the same few numbers of items
def _draws(count: int, seed: int) -> NDArray[np.uint8]:
    """(samples, count) how often each item is drawn; none as often as 256 times."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_SAMPLES)
    return drawn.astype(np.uint8)


def at_time(curve: Sequence[tuple[float, float]], seconds: float) -> float:
    """The value of a curve of (seconds, value) at a time, on the line between the points beside it; its end's after.

    >>> at_time([(10.0, 4.0), (20.0, 3.0)], 15.0)
    3.5
    """
    times, values = zip(*curve, strict=True)
    return float(np.interp(seconds, times, values))


def at_equal_time(
    first: Sequence[Sequence[tuple[float, float]]], second: Sequence[Sequence[tuple[float, float]]]
) -> tuple[list[float], list[float]]:
    """The values of two groups of curves, pair by pair, at the time when the quicker of the pair ended."""
    pairs = [(a, b, min(a[-1][0], b[-1][0])) for a, b in zip(first, second, strict=True)]
    return [at_time(a, end) for a, _, end in pairs], [at_time(b, end) for _, b, end in pairs]


def may_be_slower(curve: Sequence[tuple[float, float]], end: float) -> float | None:
    """How many times its time a run could have taken and still be below a value at the time that it did take.

    It goes by shares of the run's own time alone, so that a machine that was slower for one run than for another does
    not matter. None where the run does not end below the value.

    Args:
        curve: (seconds, value), on lines between the points.

    >>> may_be_slower([(10.0, 4.0), (20.0, 2.0)], 3.0)
    1.3333333333333333
    """
    if curve[-1][1] >= end:
        return None
    above = next((place for place in range(len(curve) - 1, -1, -1) if curve[place][1] >= end), None)
    if above is None:
        return curve[-1][0] / curve[0][0]
    (before, high), (after, low) = curve[above], curve[above + 1]
    return curve[-1][0] / (before + (after - before) * (high - end) / (high - low))
