"""How many senses each token gets, where the size of the whole dictionary is given (DSKD leaves it to future work).

What is lowered is the corpus' total of squared distances: over all tokens, occurrences × expected ‖h − c‖² / D of a use
to its nearest sense. `curve` measures the second factor for a few numbers of senses, on a `sample` of the tokens;
`pooled` takes it from there to all tokens, and `allocate` spends the budget. `docs/adaptive-k.md` has the experiment
that chose this criterion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict.errors import InvalidInput
from sensedict_trainer.cluster import cluster
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.reservoir import keep

_NUMBERS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 128)
_MEASURED = 100  # tokens of a class


def grid(most: int) -> tuple[int, ...]:
    """Numbers of senses at which curves are measured, 1 to `most`, each some 1.6 times the one before.

    >>> grid(10)
    (1, 2, 3, 5, 8, 10)
    """
    return (*(number for number in _NUMBERS if number < most), most)


def curve(states: Tensor, numbers: Sequence[int], seed: int) -> NDArray[np.float64]:
    """Mean ‖h − c‖² / D of states to the nearest of k centroids that other states of the token made, for each k.

    Half of the states are clustered, the other half is measured, so that more senses help only where they fit uses
    they have not seen: by its own states' inertia a rare token, whose every state may be a sense, would look perfect.

    Args:
        states: (n, D), finite.
        numbers: G of them, rising.
        seed: of the halves and of k-means.

    Returns:
        (G,), NaN where half of the states are fewer than k.
    """
    found = np.full(len(numbers), np.nan)
    order = torch.randperm(len(states), generator=torch.Generator().manual_seed(seed)).to(states.device)
    made, measured = torch.tensor_split(states[order].float(), [(len(states) + 1) // 2])
    if not len(measured):
        return found
    mean = made.mean(dim=0)  # as in `cluster`: far from 0 a product loses digits
    measured = measured - mean
    for place, k in enumerate(numbers):
        if k <= len(made):
            distances = torch.cdist(measured, cluster(made, k, seed).centroids - mean)
            found[place] = float(distances.min(dim=1).values.double().square().mean()) / states.shape[1]
    return found


def sample(kept: NDArray[np.integer], seed: int) -> NDArray[np.bool_]:
    """Mark the tokens whose curves are to be measured: by seed, at most 100 of those with about as many states.

    Args:
        kept: (V,) states of each token.
        seed: of the choice.
    """
    priorities = mix(sequence_key(seed, "tokens", "curves"), np.arange(len(kept)))
    return keep(_classes(kept), priorities, _MEASURED) & (kept > 1)


def pooled(curves: NDArray[np.floating], kept: NDArray[np.integer], numbers: Sequence[int]) -> NDArray[np.float64]:
    """Give each token the mean curve of the measured tokens with about as many states, from n up to 2 n.

    One token's own curve is so noisy that tokens allocated by it fit unseen text worse.

    Args:
        curves: (V, G), see `curve`; rows of NaN for tokens that were not measured.
        kept: (V,) states of each token.
        numbers: G of them, rising.

    Returns:
        (V, G), NaN where half of a token's states are fewer than k. Values beyond the first are the first one's times a
        mean ratio, since of a class not all tokens have states enough for each k.
    """
    found = np.full(curves.shape, np.nan)
    classes = _classes(kept)
    for number in np.unique(classes[~np.isnan(curves[:, 0])]).tolist():
        own = curves[classes == number]
        level = np.nanmean(own[:, 0])
        for column in range(len(numbers)):
            some = own[~np.isnan(own[:, column])]
            if len(some):
                first = some[:, 0].mean()  # 0 where every token's states are the same
                found[classes == number, column] = level * (some[:, column].mean() / first) if first else 0.0
    found[np.asarray(numbers) > (kept[:, None] + 1) // 2] = np.nan
    return found


def allocate(
    occurrences: NDArray[np.integer], curves: NDArray[np.floating], numbers: Sequence[int], budget: int
) -> NDArray[np.int64]:
    """The number of senses of each token that lowers the total of squared distances most, at most `budget` together.

    A curve is replaced by its lower convex hull, straight between the numbers where it was measured. On hulls a
    token's senses gain less and less, one after the other, so that taking the largest gains of all tokens until the
    budget is spent never takes a token's later sense before its earlier ones, and no other choice gains more: exchange
    any sense taken for one left, and the total rises or stays (Gross 1956; Fox 1966). On the curves themselves it would
    be a knapsack, and their dents are noise.

    Args:
        occurrences: (V,) uses of each token in the corpus.
        curves: (V, G), see `pooled`; NaN where k is more than the token can have.
        numbers: G rising numbers of senses, of which the first is 1.
        budget: senses of all tokens together.

    Returns:
        (V,) at least 1 each and no more than the largest number that was measured. Of equal gains the lower token's is
        taken. Some of the budget is left where no further sense gains anything.

    Raises:
        InvalidInput: the budget is less than one sense a token.

    >>> curves = np.array([[4.0, 1.0, 0.9], [4.0, 3.0, 2.0]])
    >>> allocate(np.array([10, 10]), curves, [1, 2, 3], budget=4).tolist()
    [2, 2]
    """
    tokens = len(occurrences)
    if budget < tokens:
        raise InvalidInput(f"a budget of {budget:,} senses for {tokens:,} tokens: each needs one, raise the budget")
    steps = np.diff(np.asarray(numbers))
    slopes = _gains(curves, numbers) * occurrences[:, None]  # (V, G − 1) a sense
    token, part = np.nonzero(slopes > 0)
    order = np.lexsort((part, token, -slopes[token, part]))
    token, part = token[order], part[order]
    before = np.cumsum(steps[part]) - steps[part]
    taken = np.clip(budget - tokens - before, 0, steps[part])
    found = np.ones(tokens, dtype=np.int64)
    np.add.at(found, token, taken)
    return found


def _classes(kept: NDArray[np.integer]) -> NDArray[np.int64]:
    """(V,) whole part of the binary logarithm of n."""
    exponents: NDArray[np.int32] = np.frexp(kept)[1]
    return exponents.astype(np.int64)


def _gains(curves: NDArray[np.floating], numbers: Sequence[int]) -> NDArray[np.float64]:
    """(V, G − 1) what a sense gains between neighbouring numbers on the lower convex hulls; never rising along a row.

    From each corner of the hull the next one is where the line to it falls most steeply.
    """
    places = np.asarray(numbers, dtype=np.float64)
    gains = np.zeros((len(curves), len(places) - 1))
    rows = np.flatnonzero(~np.isnan(curves[:, 0]))
    corner = np.zeros(len(rows), dtype=np.int64)
    while len(rows):
        here = curves[rows, corner]
        with np.errstate(divide="ignore", invalid="ignore"):
            fall = (here[:, None] - curves[rows]) / (places[None, :] - places[corner, None])  # (r, G)
        fall[np.isnan(fall) | (np.arange(len(places)) <= corner[:, None])] = -np.inf
        # Of equally steep ones the farthest: then the hull's falls are strictly less from corner to corner.
        following = fall.shape[1] - 1 - np.argmax(fall[:, ::-1], axis=1)
        best = fall[np.arange(len(rows)), following]
        on = best > 0
        rows, corner, following, best = rows[on], corner[on], following[on], best[on]
        part = np.arange(gains.shape[1])
        inside = (part >= corner[:, None]) & (part < following[:, None])
        gains[rows] += np.where(inside, best[:, None], 0)
        corner = following
    return np.minimum.accumulate(gains, axis=1)
