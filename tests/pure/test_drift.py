"""What became of the senses of one owner, by hand, by a search of all matchings, and for whole dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sensedict.errors import InvalidInput
from sensedict_trainer.drift import (
    KEPT,
    MERGED,
    MOVED,
    NEW,
    NONE,
    SPLIT,
    STATES,
    SenseChanges,
    Senses,
    changes,
    match,
    most_moved,
    unit_squared,
)

MOVED_BEYOND = 0.5


def on_a_line(old: list[float], new: list[float]) -> list[tuple[int, int, str]]:
    """What `match` says of senses in one dimension, whose unit is 1."""
    apart = np.abs(np.array(old)[:, None] - np.array(new)[None, :])
    return [(a, b, STATES[state]) for a, b, state in match(apart, MOVED_BEYOND)]


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        ([0, 5], [0, 5], [(0, 0, "kept"), (1, 1, "kept")]),
        ([0, 5], [5.1, 0.1], [(0, 1, "kept"), (1, 0, "kept")]),
        ([0, 5], [0.5, 5], [(0, 0, "kept"), (1, 1, "kept")]),  # just near
        ([0, 5], [0, 6], [(0, 0, "kept"), (1, 1, "moved")]),
        ([0], [0.1, -0.2], [(0, 0, "kept"), (0, 1, "split")]),
        ([0.1, -0.2], [0], [(0, 0, "kept"), (1, 0, "merged")]),
        ([0], [0, 5], [(0, 0, "kept"), (NONE, 1, "new")]),
        ([0, 5], [5], [(0, NONE, "gone"), (1, 0, "kept")]),
        # as many senses before as after; 9 and -0.2 have not moved, since -0.2 came of 0
        ([0, 9], [0.1, -0.2], [(0, 0, "kept"), (0, 1, "split"), (1, NONE, "gone")]),
        ([0.1, -0.2], [0, 9], [(0, 0, "kept"), (1, 0, "merged"), (NONE, 1, "new")]),
        ([0, 0.2, 9, 9.2], [0, 0.2, 9, 9.2], [(i, i, "kept") for i in range(4)]),
        ([0, 4], [6, 9], [(0, 0, "moved"), (1, 1, "moved")]),  # 6² + 5² < 9² + 2²
        # the least sum of squares alone would pair 0 with 1 and 1 with 2, and call both moved
        ([0, 1], [1, 2], [(0, 1, "moved"), (1, 0, "kept")]),
        ([0, 0], [0, 0], [(0, 0, "kept"), (1, 1, "kept")]),
    ],
)
def test_by_hand(old: list[float], new: list[float], rows: list[tuple[int, int, str]]) -> None:
    assert on_a_line(old, new) == rows


line = st.lists(st.integers(0, 24).map(lambda place: place / 8), min_size=1, max_size=5)


@given(line, line)
@settings(deadline=None)
def test_every_sense_has_its_row_and_no_matching_is_better(old: list[float], new: list[float]) -> None:
    apart = np.abs(np.array(old)[:, None] - np.array(new)[None, :])
    rows = match(apart, MOVED_BEYOND)
    assert sorted(a for a, _, state in rows if state not in (SPLIT, NEW)) == list(range(len(old)))
    assert sorted(b for _, b, state in rows if state != MERGED and b != NONE) == list(range(len(new)))
    for a, b, state in rows:
        if state in (KEPT, SPLIT, MERGED):
            assert apart[a, b] <= MOVED_BEYOND
        if state == MOVED:
            assert apart[a].min() > MOVED_BEYOND
            assert apart[:, b].min() > MOVED_BEYOND
    kept = [apart[a, b] for a, b, state in rows if state == KEPT]
    most, least = min(_quality(matching) for matching in _matchings(apart))
    assert (-len(kept), sum(distance**2 for distance in kept)) == (most, least)  # eighths: sums are exact


def _matchings(apart: NDArray[np.float64]) -> Iterator[list[float]]:
    """The distances of every way to pair all of the fewer with some of the more."""
    table = apart if apart.shape[0] <= apart.shape[1] else apart.T
    for chosen in permutations(range(table.shape[1]), table.shape[0]):
        yield [float(table[row, column]) for row, column in enumerate(chosen)]


def _quality(matching: list[float]) -> tuple[int, float]:
    """Near pairs, negative, and the sum of their squares: less is better."""
    near = [distance for distance in matching if distance <= MOVED_BEYOND]
    return -len(near), sum(distance**2 for distance in near)


@given(line, line)
@settings(deadline=None)
def test_the_other_way_round(old: list[float], new: list[float]) -> None:
    """Forwards a split is backwards a merger, and what is new is gone; equally good matchings apart."""
    there, back = on_a_line(old, new), on_a_line(new, old)
    other = {"split": "merged", "merged": "split", "new": "gone", "gone": "new"}
    for state in ("kept", "split", "merged"):
        assert sum(row[2] == state for row in there) == sum(row[2] == other.get(state, state) for row in back)


def test_the_unit_is_the_mean_inertia_by_uses_else_the_spacing() -> None:
    old, new = np.array([[0.0, 0.0], [0.0, 2.0]]), np.array([[4.0, 0.0]])
    assert unit_squared(old, new, np.array([3, 1, 4]), np.array([1.0, 3.0, 0.5])) == (3 + 3 + 2) / 8
    assert unit_squared(old, new, np.array([0, 0, 0]), np.zeros(3)) == 2.0  # (0 + 2²) / D
    assert unit_squared(old, new, np.array([1, 1, 1]), np.zeros(3)) == 2.0
    assert unit_squared(old[:1], new, np.array([1, 1]), np.zeros(2)) == 0.0


@st.composite
def dictionaries(draw: st.DrawFn) -> Senses:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    n, rng = sum(sizes), np.random.default_rng(draw(st.integers(0, 1000)))
    vectors = rng.integers(-2, 3, (n, 2)).astype(np.float16)  # coarse: equal senses are frequent
    first = np.cumsum([0, *sizes[:-1]]).tolist()
    owners = {f"w{i}": (first[i], size) for i, size in enumerate(sizes)}
    counts = rng.integers(0, 3, n)
    return Senses(owners, vectors, counts, np.where(counts > 1, rng.random(n), 0).astype(np.float32))


@given(dictionaries())
@settings(deadline=None)
def test_the_same_dictionary_is_kept_and_its_map_is_the_identity(senses: Senses) -> None:
    found = changes(senses, senses, MOVED_BEYOND)
    assert found.old.tolist() == found.new.tolist() == list(range(len(senses.vectors)))
    assert set(found.state.tolist()) == {KEPT}
    assert not found.distance.any()
    assert most_moved(found, 20) == []


@given(dictionaries(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_another_order_of_the_senses_moves_none(senses: Senses, random: Random) -> None:
    order = np.arange(len(senses.vectors))
    for first, count in senses.owners.values():
        random.shuffle(order[first : first + count])
    other = Senses(senses.owners, senses.vectors[order], senses.counts[order], senses.inertia[order])
    found = changes(senses, other, MOVED_BEYOND)
    assert set(found.state.tolist()) == {KEPT}
    assert not found.distance.any()
    assert sorted(found.new.tolist()) == list(range(len(order)))
    assert (senses.vectors[found.old] == other.vectors[found.new]).all()


@given(dictionaries())
@settings(deadline=None)
def test_an_owner_that_is_not_there(senses: Senses) -> None:
    lost = next(iter(senses.owners))
    size = senses.owners[lost][1]
    rest = {owner: (first - size, count) for owner, (first, count) in senses.owners.items() if owner != lost}
    other = Senses(rest, senses.vectors[size:], senses.counts[size:], senses.inertia[size:])
    there, back = changes(senses, other, MOVED_BEYOND), changes(other, senses, MOVED_BEYOND)
    kept = len(senses.vectors) - size
    none = dict.fromkeys(STATES, 0)
    assert there.counts() == {**none, "kept": kept, "gone": size}
    assert back.counts() == {**none, "kept": kept, "new": size}
    assert there.old.tolist() == list(range(len(senses.vectors)))
    assert there.new.tolist() == [NONE] * size + list(range(kept))
    assert np.isnan(there.distance[:size]).all()


def test_the_farthest_of_each_owner_first() -> None:
    def moved(owner: int, distance: float, state: int = MOVED) -> tuple[int, float, int]:
        return owner, distance, state

    rows = [moved(0, 1), moved(0, 3), moved(1, 2), moved(2, 9, KEPT), moved(3, 4)]
    owner, distance, state = (np.array(column) for column in zip(*rows, strict=True))
    ids = np.arange(len(rows))
    found = SenseChanges(ids, ids, distance, state.astype(np.int8), owner, ("a", "b", "c", "d"))
    assert most_moved(found, 20) == [4, 1, 2]
    assert most_moved(found, 2) == [4, 1]


@pytest.mark.parametrize("moved", [0.0, -1.0, float("nan"), float("inf")])
def test_a_distance_that_is_none(moved: float) -> None:
    empty = Senses({}, np.empty((0, 2)), np.empty(0, np.int64), np.empty(0))
    assert changes(empty, empty, 1.0).counts() == dict.fromkeys(STATES, 0)
    with pytest.raises(InvalidInput, match="name a positive number"):
        changes(empty, empty, moved)
