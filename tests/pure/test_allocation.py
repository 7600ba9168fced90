"""Adaptive numbers of senses: by hand, against every allocation there is, and on states with and without groups."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensedict.errors import InvalidInput
from sensedict_trainer.allocation import allocate, curve, grid, pooled, sample

NAN = float("nan")


def test_the_grid_ends_at_the_bound() -> None:
    assert grid(1) == (1,)
    assert grid(32) == (1, 2, 3, 5, 8, 12, 20, 32)
    assert grid(33) == (1, 2, 3, 5, 8, 12, 20, 32, 33)


def test_by_hand() -> None:
    numbers = [1, 2, 4]
    curves = np.array([[9.0, 5.0, 4.0], [9.0, 8.0, 1.0], [9.0, NAN, NAN], [2.0, 2.0, 2.0]])
    # Gains a sense: 4, then ½ and ½; the second row's dent is passed over, so 8/3 thrice; then none.
    once = np.ones(4, dtype=np.int64)
    assert [allocate(once, curves, numbers, budget).tolist() for budget in range(4, 11)] == [
        [1, 1, 1, 1],
        [2, 1, 1, 1],
        [2, 2, 1, 1],
        [2, 3, 1, 1],
        [2, 4, 1, 1],
        [3, 4, 1, 1],
        [4, 4, 1, 1],
    ]
    assert allocate(once, curves, numbers, 1000).tolist() == [4, 4, 1, 1]  # the rest gains nothing
    # 100 uses of the first make its fourth sense worth more than any of the second.
    assert allocate(np.array([100, 1, 1, 1]), curves, numbers, 7).tolist() == [4, 1, 1, 1]


def test_equal_gains_go_to_the_lower_token() -> None:
    curves = np.tile([3.0, 2.0, 1.0], (5, 1))
    assert allocate(np.full(5, 7), curves, [1, 2, 3], 8).tolist() == [3, 2, 1, 1, 1]


def test_a_rising_curve_gains_nothing_before_it_falls() -> None:
    curves = np.array([[5.0, 6.0, 2.0], [5.0, 6.0, 7.0]])
    assert allocate(np.ones(2, dtype=int), curves, [1, 2, 3], 6).tolist() == [3, 1]


def test_each_token_needs_a_sense() -> None:
    with pytest.raises(InvalidInput, match=r"budget of 2 senses for 3 tokens"):
        allocate(np.ones(3, dtype=int), np.ones((3, 2)), [1, 2], 2)


gains = st.lists(st.integers(0, 9), min_size=3, max_size=3)


@given(st.lists(st.tuples(gains, st.integers(0, 5)), min_size=1, max_size=4), st.integers(0, 12))
def test_no_other_allocation_of_convex_curves_is_better(tokens: list[tuple[list[int], int]], spare: int) -> None:
    curves = np.array([[30 - sum(sorted(g, reverse=True)[:k]) for k in range(4)] for g, _ in tokens], dtype=float)
    occurrences = np.array([uses for _, uses in tokens])
    budget = len(tokens) + spare
    found = allocate(occurrences, curves, [1, 2, 3, 4], budget)
    assert found.sum() <= budget
    rows = np.arange(len(tokens))

    def total(k: np.ndarray) -> float:
        return float((occurrences * curves[rows, k - 1]).sum())

    every = [np.array(k) for k in product(range(1, 5), repeat=len(tokens)) if sum(k) <= budget]
    assert total(found) == pytest.approx(min(map(total, every)))


@given(
    st.lists(st.lists(st.one_of(st.floats(0, 10), st.just(NAN)), min_size=4, max_size=4), min_size=1, max_size=6),
    st.integers(0, 60),
)
def test_any_curves_keep_the_bounds(rows: list[list[float]], spare: int) -> None:
    numbers = [1, 2, 5, 9]
    curves = np.array(rows)
    found = allocate(np.full(len(rows), 3), curves, numbers, len(rows) + spare)
    assert found.min() >= 1
    assert found.sum() <= len(rows) + spare
    for k, row in zip(found.tolist(), rows, strict=True):
        measured = [number for number, value in zip(numbers, row, strict=True) if not np.isnan(value)]
        assert k <= max(measured, default=1)


def test_more_budget_takes_no_sense_away() -> None:
    random = np.random.default_rng(0)
    curves, uses = np.sort(random.random((50, 8)), axis=1)[:, ::-1], random.integers(1, 1000, 50)
    before = np.ones(50, dtype=np.int64)
    for budget in range(50, 50 * 32, 13):
        now = allocate(uses, curves, grid(32), budget)
        assert (now >= before).all()
        assert now.sum() == budget  # every curve falls to its end
        before = now


def test_a_curve_falls_to_the_number_of_groups_and_no_further() -> None:
    random = torch.Generator().manual_seed(0)
    places = 10 * torch.randn(3, 16, generator=random) + 100
    states = places[torch.arange(120) % 3] + torch.randn(120, 16, generator=random)
    found = curve(states, grid(8), seed=1)
    assert found[0] > found[1] > found[2]
    assert found[2] == pytest.approx(1, rel=0.15)  # the groups' own spread, at states that made no centroid
    assert (found[3:] > found[2] * 0.95).all()
    assert found.tolist() == curve(states, grid(8), seed=1).tolist()


def test_states_without_groups_gain_nothing_from_more_senses() -> None:
    states = torch.randn(40, 64, generator=torch.Generator().manual_seed(2))
    found = curve(states, grid(32), seed=0)
    assert np.isnan(found).tolist() == [False] * 7 + [True]  # half of them are 20
    assert np.nanargmin(found) <= 1
    assert curve(states[:3], grid(8), seed=0)[2:].tolist() == pytest.approx([NAN] * 3, nan_ok=True)
    assert np.isnan(curve(states[:1], grid(8), seed=0)).all()


def test_a_curve_is_the_mean_square_over_the_dimension() -> None:
    states = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float16)
    assert curve(states, [1], seed=0).tolist() == [12.5]


def test_at_most_a_hundred_tokens_of_about_as_many_states_are_measured() -> None:
    kept = np.repeat([1, 2, 3, 4, 7, 8, 2000], [500, 300, 300, 30, 30, 500, 5])
    marked = sample(kept, seed=0)
    assert [int(marked[(kept >= low) & (kept <= high)].sum()) for low, high in ((1, 1), (2, 3), (4, 7), (8, 8))] == [
        0,  # a single state leaves nothing to measure
        100,
        60,
        100,
    ]
    assert marked[kept == 2000].all()
    assert (sample(kept, seed=0) == marked).all()
    assert (sample(kept, seed=1) != marked).any()


def test_a_token_has_the_mean_curve_of_its_class() -> None:
    kept = np.array([1, 2, 4, 6, 7, 5, 8])
    curves = np.full((7, 3), NAN)
    curves[2] = [4.0, 2.0, NAN]  # 4 states: halves of 2
    curves[3] = [8.0, 4.0, 3.0]
    found = pooled(curves, kept, [1, 2, 3])
    # Level 6; at 2 senses (2 + 4) / (4 + 8) of it, at 3 senses 3 / 8.
    np.testing.assert_allclose(found, [[NAN] * 3, [NAN] * 3, [6, 3, NAN], *[[6, 3, 2.25]] * 3, [NAN] * 3])


def test_tokens_whose_states_are_all_the_same_gain_nothing() -> None:
    found = pooled(np.array([[0.0, 0.0], [NAN, NAN]]), np.array([5, 6]), [1, 2])
    np.testing.assert_array_equal(found, np.zeros((2, 2)))
