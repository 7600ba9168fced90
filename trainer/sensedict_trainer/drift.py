"""Which sense of an older dictionary became which of a newer one: matching inside each owner, pure arrays.

An *owner* is a token or a composed word that both dictionaries may have. Senses are centroids without their members,
so that everything is defined by distances between senses of one owner. A distance is told in the owner's own unit: the
root of the mean inertia of its senses, which is how far a use lies from its sense; of a composed word, which has no
uses, the root of the spacing of its senses (`unit_squared`). For old senses a and new senses b of one owner, and *near*
meaning at a distance of at most `moved`:

1. Near pairs, one to one, are **kept**: as many as can be, and among those with the least sum of squared distances.
2. The a that are near no b, and the b that are near no a, are matched with the least sum of squares: they **moved**.
3. Any other a is **merged** into its nearest b if that is near, else **gone**.
4. Any other b is **split** from its nearest a if that is near, else **new**.

Hence an old sense that became two stands in a row `kept` and a row `split`, and two that became one in `kept` and
`merged`. The senses of an owner that only one dictionary has are gone, or new.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from sensedict.errors import InvalidInput

Owner: TypeAlias = Hashable

STATES = ("kept", "moved", "split", "merged", "new", "gone")
KEPT, MOVED, SPLIT, MERGED, NEW, GONE = range(len(STATES))
NONE = -1  # in place of an id


@dataclass(frozen=True)
class Senses:
    """The senses of one dictionary.

    Attributes:
        owners: first sense id and number of senses (at least 1) of each owner.
        vectors: (N, D), by sense id.
        counts: (N,) uses of each sense; 0 for those of composed words.
        inertia: (N,) mean ‖h − c‖² / D over each sense's uses; 0 where there are none.
    """

    owners: Mapping[Owner, tuple[int, int]]
    vectors: NDArray[np.floating]
    counts: NDArray[np.integer]
    inertia: NDArray[np.floating]


@dataclass(frozen=True)
class SenseChanges:
    """One row a pair of senses, or a sense that has none; by owner, then old id, then new id.

    Every old sense stands in one row whose state is not `split`, every new one in one row whose state is not `merged`.

    Attributes:
        old, new: (n,) int64 sense ids, `NONE` where there is no such sense.
        distance: (n,) float64 in units of the owner; NaN where a sense stands alone.
        state: (n,) int8, place in `STATES`.
        owner: (n,) int64, place in `owners`.
        owners: owners of either dictionary.
    """

    old: NDArray[np.int64]
    new: NDArray[np.int64]
    distance: NDArray[np.float64]
    state: NDArray[np.int8]
    owner: NDArray[np.int64]
    owners: tuple[Owner, ...]

    def counts(self) -> dict[str, int]:
        """Number of rows by state, zeros included."""
        return dict(zip(STATES, np.bincount(self.state, minlength=len(STATES)).tolist(), strict=True))


def match(distances: NDArray[np.float64], moved: float) -> list[tuple[int, int, int]]:
    """Rows (old, new, state) of one owner, as the module says; by old, then new, new senses without an old one last.

    Args:
        distances: (m, n) between its old and new senses, in the owner's unit.
        moved: the largest distance that is near.

    >>> [(a, b, STATES[state]) for a, b, state in match(np.array([[0.0, 0.2, 9.0]]), 0.5)]
    [(0, 0, 'kept'), (0, 1, 'split'), (-1, 2, 'new')]
    """
    m, n = distances.shape
    near, squares = distances <= moved, distances**2
    # one more near pair outweighs any sum of near squares; how far apart the others are says nothing yet
    far = 1.0 + min(m, n) * moved**2
    pairs = zip(*linear_sum_assignment(np.where(near, squares, far)), strict=True)
    rows = [(int(a), int(b), KEPT) for a, b in pairs if near[a, b]]
    lone, new_lone = np.flatnonzero(~near.any(axis=1)), np.flatnonzero(~near.any(axis=0))
    pairs = zip(*linear_sum_assignment(squares[np.ix_(lone, new_lone)]), strict=True)
    rows += [(int(lone[a]), int(new_lone[b]), MOVED) for a, b in pairs]
    for a in sorted(set(range(m)) - {row[0] for row in rows}):
        rows.append((a, int(distances[a].argmin()), MERGED) if near[a].any() else (a, NONE, GONE))
    for b in sorted(set(range(n)) - {row[1] for row in rows if row[2] != MERGED}):
        rows.append((int(distances[:, b].argmin()), b, SPLIT) if near[:, b].any() else (NONE, b, NEW))
    return sorted(rows, key=lambda row: (row[0] == NONE, row))


def unit_squared(
    old: NDArray[np.float64], new: NDArray[np.float64], counts: NDArray[np.integer], inertia: NDArray[np.floating]
) -> float:
    """The square of an owner's unit: mean inertia of its senses weighted by their uses, else their spacing; 0 for none.

    The spacing is the mean, over the senses of both versions, of d² to the nearest other sense of the same version.

    Args:
        old, new: (m, D) and (n, D) senses.
        counts, inertia: (m + n,), old senses first.
    """
    uses = int(counts.sum())
    mean = float(counts @ inertia.astype(np.float64)) / uses if uses else 0.0
    if mean > 0:
        return mean
    nearest: list[NDArray[np.float64]] = []
    for vectors in (old, new):
        if len(vectors) > 1:
            apart = _d2(vectors, vectors)
            np.fill_diagonal(apart, np.inf)
            nearest.append(apart.min(axis=1))
    return float(np.concatenate(nearest).mean()) if nearest else 0.0


def changes(
    old: Senses,
    new: Senses,
    moved: float,
    progress: Callable[[list[Owner]], Iterable[Owner]] = lambda owners: owners,
) -> SenseChanges:
    """What became of every sense.

    An owner whose unit is 0 (each sense one use, or all senses equal) takes the median unit of the others, or 1.

    Args:
        moved: farthest that a sense that is kept may have moved, in units of its owner.
        progress: wraps the owners, to tell how far the work is.

    Raises:
        InvalidInput: `moved` is not a positive number.
    """
    if not (np.isfinite(moved) and moved > 0):
        raise InvalidInput(f"{moved} is no distance beyond which a sense has moved: name a positive number, as 0.5")
    owners = [*old.owners, *(owner for owner in new.owners if owner not in old.owners)]
    shared = [owner for owner in owners if owner in old.owners and owner in new.owners]
    squared = {owner: _unit_of(owner, old, new) for owner in shared}
    positive = [value for value in squared.values() if value > 0]
    usual = float(np.median(positive)) if positive else 1.0
    table: list[tuple[int, int, float, int, int]] = []
    for place, owner in enumerate(progress(owners)):
        first, count = old.owners.get(owner, (0, 0))
        new_first, new_count = new.owners.get(owner, (0, 0))
        if owner not in squared:
            table += [(first + a, NONE, np.nan, GONE, place) for a in range(count)]
            table += [(NONE, new_first + b, np.nan, NEW, place) for b in range(new_count)]
            continue
        distances = np.sqrt(_d2(_vectors(old, owner), _vectors(new, owner)) / (squared[owner] or usual))
        for a, b, state in match(distances, moved):
            alone = a == NONE or b == NONE
            table.append(
                (
                    NONE if a == NONE else first + a,
                    NONE if b == NONE else new_first + b,
                    np.nan if alone else float(distances[a, b]),
                    state,
                    place,
                )
            )
    columns = list(zip(*table, strict=True)) or [()] * 5
    ids, new_ids, apart, states, places = columns
    return SenseChanges(
        np.array(ids, np.int64),
        np.array(new_ids, np.int64),
        np.array(apart, np.float64),
        np.array(states, np.int8),
        np.array(places, np.int64),
        tuple(owners),
    )


def most_moved(found: SenseChanges, limit: int) -> list[int]:
    """Rows of the farthest moved sense of each owner, farthest first, of at most `limit` owners."""
    rows = np.flatnonzero(found.state == MOVED)
    farthest: dict[int, int] = {}
    for row in rows[np.argsort(-found.distance[rows], kind="stable")].tolist():
        farthest.setdefault(int(found.owner[row]), row)
        if len(farthest) == limit:
            break
    return list(farthest.values())


def _vectors(senses: Senses, owner: Owner) -> NDArray[np.float64]:
    first, count = senses.owners[owner]
    return senses.vectors[first : first + count].astype(np.float64)


def _unit_of(owner: Owner, old: Senses, new: Senses) -> float:
    parts = [(senses, slice(first, first + count)) for senses in (old, new) for first, count in [senses.owners[owner]]]
    counts = np.concatenate([senses.counts[part] for senses, part in parts])
    inertia = np.concatenate([senses.inertia[part] for senses, part in parts])
    return unit_squared(_vectors(old, owner), _vectors(new, owner), counts, inertia)


def _d2(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, n) ‖a − b‖² / D (METHOD: d²), by the differences themselves: equal senses are at 0."""
    squares: NDArray[np.float64] = cdist(a, b, "sqeuclidean") / a.shape[1]
    return squares
