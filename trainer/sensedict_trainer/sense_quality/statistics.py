"""What is measured, and how sure it is: thresholds, AUC, correlation, F1, and the bootstrap over items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]
# Of places of items, some of them several times; NaN where it is not defined.
Statistic: TypeAlias = Callable[[NDArray[np.intp]], float]
_RESAMPLES = 1000


@dataclass(frozen=True)
class Measure:
    """One number of the table.

    Attributes:
        data_set: name.
        measure: what is measured, e.g. `accuracy`.
        by: what words or uses were compared by.
        value: the number; None where there are too few items.
        low, high: its 95% interval, by the percentiles of a bootstrap over items.
        items: how many it stands on.
        total: how many the data set has.
        ahead, ahead_low, ahead_high: by how much it is above the first measure of the same items, and the 95% interval
            of that, both on the same resamples; None of the first itself.
    """

    data_set: str
    measure: str
    by: str
    value: float | None
    low: float | None
    high: float | None
    items: int
    total: int
    ahead: float | None = None
    ahead_low: float | None = None
    ahead_high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def measured(
    data_set: str, measure: str, statistics: Mapping[str, Statistic], items: int, total: int, seed: int
) -> list[Measure]:
    """Statistics of the same items with their intervals, and how far they are ahead of the first.

    Args:
        statistics: by what words or uses are compared by.
        items: how many there are.
    """
    values = {by: of(np.arange(items)) if items else float("nan") for by, of in statistics.items()}
    good = [by for by, value in values.items() if np.isfinite(value)]
    random = np.random.default_rng(seed)
    draws = [random.integers(items, size=items) for _ in range(_RESAMPLES)] if good else []
    again = {by: np.array([statistics[by](places) for places in draws]) for by in good}
    first = next(iter(statistics))
    found = []
    for by, value in values.items():
        if by not in good:
            found.append(Measure(data_set, measure, by, None, None, None, items, total))
            continue
        ahead: tuple[float, ...] = ()
        if by != first and first in good:
            ahead = (value - values[first], *_interval(again[by] - again[first]))
        found.append(Measure(data_set, measure, by, value, *_interval(again[by]), items, total, *ahead))
    return found


def _interval(values: Numbers) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def share(right: Sequence[bool] | Truths) -> Statistic:
    """The share of items that are right, as a statistic."""
    values = np.asarray(right, np.float64)
    return lambda places: float(values[places].mean())


def best_threshold(scores: Numbers, same: Truths) -> float:
    """The threshold from which on `same` is said that is right most often; of several the middle one.

    >>> best_threshold(np.array([0.1, 0.2, 0.8]), np.array([False, False, True]))
    0.5
    """
    if not len(scores):
        return 0.0
    order = np.argsort(scores, kind="stable")
    values, truths = scores[order], same[order]
    # after the first i are said to be different
    right = np.concatenate([[0], np.cumsum(~truths)]) + np.concatenate([np.cumsum(truths[::-1])[::-1], [0]])
    between = np.concatenate([[values[0] - 1.0], (values[:-1] + values[1:]) / 2, [values[-1] + 1.0]])
    right[1:-1][values[:-1] == values[1:]] = -1  # no threshold lies between equals
    best = np.flatnonzero(right == right.max())
    return float(between[best[len(best) // 2]])


def auc(scores: Numbers, positive: Truths) -> float:
    """The chance that a positive has the higher score, half where they are equal; NaN without both kinds.

    >>> auc(np.array([0.1, 0.9, 0.9]), np.array([False, True, False]))
    0.75
    """
    good = int(positive.sum())
    bad = len(positive) - good
    if not good or not bad:
        return float("nan")
    ranks: Numbers = rankdata(scores)
    return float((ranks[positive].sum() - good * (good + 1) / 2) / (good * bad))


def spearman(a: Numbers, b: Numbers) -> float:
    """Spearman's ρ, ties by mean ranks; NaN where one side is constant.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 9.0, 9.0])), 3)
    0.866
    """
    if len(a) < 2:
        return float("nan")
    x, y = (ranks - ranks.mean() for ranks in (rankdata(a), rankdata(b)))
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length else float("nan")


def f1(right: Truths, answered: Truths) -> float:
    """The harmonic mean of the share right of those answered and of all."""
    given = int(answered.sum())
    return 2 * int(right.sum()) / (given + len(right)) if len(right) else float("nan")
