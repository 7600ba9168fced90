"""Running means: by hand, against all states at once, and in parts of any cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sensedict_trainer.cluster import cluster
from sensedict_trainer.streaming import Sums, accumulate, merge, settle, settled_at


def test_a_key_is_settled_where_it_has_enough() -> None:
    cumulative = np.array([[500, 499, 0, 1, 0], [500, 600, 2, 2, 0], [500, 900, 500, 499, 0]])
    assert settled_at(cumulative).tolist() == [0, 1, 2, 2, 2]
    assert settled_at(cumulative, first=2).tolist() == [0, 0, 1, 1, 2]
    assert settled_at(cumulative[2:]).tolist() == [0] * 5  # one point, at the end: nothing streams


def test_by_hand() -> None:
    centroids, counts = torch.tensor([[0.0, 0.0], [10.0, 0.0], [7.0, 7.0]]), torch.tensor([2, 1, 5])
    offsets = torch.tensor([0, 0, 2, 3])
    states = torch.tensor([[9.0, 2.0], [12.0, 0.0], [7.0, 9.0], [9.0, -2.0]])
    sums = accumulate(states, torch.tensor([1, 1, 2, 1]), offsets, centroids)
    assert sums.senses.tolist() == [1, 2]
    assert sums.counts.tolist() == [3, 1]
    assert sums.sums.tolist() == [[0.0, 0.0], [0.0, 2.0]]
    assert sums.squares.tolist() == [(5 + 4 + 5) / 2, 2.0]
    found = settle(centroids, counts, torch.tensor([1.0, 0.0, 0.0]), offsets, sums)
    assert found.order.tolist() == [1, 0, 2]  # the second sense is now the larger one of its key
    assert found.counts.tolist() == [4, 2, 6]
    torch.testing.assert_close(found.centroids, torch.tensor([[10.0, 0.0], [0.0, 0.0], [7.0, 7 + 1 / 3]]))
    torch.testing.assert_close(found.inertia, torch.tensor([7 / 4, 1.0, 2 / 6 - (1 / 3) ** 2 / 2]))


def _settled_keys(width: int, far: float) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    """(offsets, centroids, counts, inertia) of three keys with separate groups, and the states they were made of."""
    random = torch.Generator().manual_seed(0)
    firsts = [
        far
        + 8 * torch.randn(k, width, generator=random)[torch.arange(60) % k]
        + torch.randn(60, width, generator=random)
        for k in (3, 1, 4)
    ]
    found = [cluster(x, k, seed=0) for x, k in zip(firsts, (3, 1, 4), strict=True)]
    offsets = torch.tensor([0, 3, 3, 4, 8])  # the second key has none
    centroids, counts, inertia = (
        torch.cat([getattr(each, name) for each in found]) for name in ("centroids", "counts", "inertia")
    )
    return offsets, centroids, counts, inertia, firsts


@pytest.mark.parametrize("far", [0.0, 300.0])
def test_the_end_is_the_mean_and_inertia_of_all_states(far: float) -> None:
    offsets, centroids, counts, inertia, firsts = _settled_keys(32, far)
    random = torch.Generator().manual_seed(1)
    keys = torch.tensor([0, 2, 3])[torch.randint(3, (500,), generator=random)]
    near = offsets[keys] + (torch.rand(500, generator=random) * offsets.diff()[keys]).long()
    states = centroids[near] + 1 + torch.randn(500, 32, generator=random)  # drifted away by 1 in every coordinate
    found = settle(centroids, counts, inertia, offsets, accumulate(states, keys, offsets, centroids))
    assert int(found.counts.sum()) == 180 + 500
    for key, first in zip((0, 2, 3), firsts, strict=True):
        rows = range(int(offsets[key]), int(offsets[key + 1]))
        every = torch.cat([first, states[keys == key]]).double()
        labels = torch.cdist(every, centroids[rows.start : rows.stop].double()).argmin(dim=1)
        for row in rows:
            members = every[labels == int(found.order[row]) - rows.start]
            mean = members.mean(dim=0)
            assert int(found.counts[row]) == len(members)
            torch.testing.assert_close(found.centroids[row].double(), mean, rtol=0, atol=1e-4)
            spread = (members - mean).square().mean()
            torch.testing.assert_close(found.inertia[row].double(), spread, rtol=1e-3, atol=0)
        falling = found.counts[rows.start : rows.stop].tolist()
        assert falling == sorted(falling, reverse=True)


def test_parts_of_any_cut_and_order_end_the_same() -> None:
    offsets, centroids, counts, inertia, _ = _settled_keys(16, 5.0)
    random = torch.Generator().manual_seed(2)
    keys = torch.tensor([0, 2, 3])[torch.randint(3, (400,), generator=random)]
    states = (5 + 8 * torch.randn(400, 16, generator=random)).to(torch.float16)

    def end(cuts: list[Tensor]) -> list[Tensor]:
        later = merge([accumulate(states[rows], keys[rows], offsets, centroids) for rows in cuts])
        found = settle(centroids, counts, inertia, offsets, later)
        return [found.centroids, found.inertia, found.counts, found.order]

    whole = end([torch.arange(400)])
    parts = list(torch.split(torch.randperm(400, generator=random), 90))
    for cuts in (parts, parts[::-1], [torch.arange(0), *parts]):
        found = end(cuts)
        torch.testing.assert_close(found[:2], whole[:2], rtol=1e-5, atol=1e-5)
        assert all(map(torch.equal, found[2:], whole[2:]))
    assert all(map(torch.equal, end(parts), end(parts)))


def test_without_later_states_senses_keep_every_bit() -> None:
    offsets, centroids, counts, inertia, _ = _settled_keys(16, 0.0)
    none = accumulate(torch.zeros(0, 16), torch.zeros(0, dtype=torch.int32), offsets, centroids)
    found = settle(centroids, counts, inertia, offsets, merge([none]))
    assert torch.equal(found.centroids, centroids)
    assert torch.equal(found.inertia, inertia)
    assert found.order.tolist() == list(range(len(counts)))


def test_inertia_is_never_negative() -> None:
    """All later states are one state a little away from a sense of one: what is left is rounding."""
    centroids = torch.full((1, 64), 100.0)
    states = torch.full((7, 64), 100.1)
    later = accumulate(states, torch.zeros(7), torch.tensor([0, 1]), centroids)
    short = Sums(later.senses, later.counts, later.sums, later.squares * (1 - 1e-3))
    found = settle(centroids, torch.tensor([0]), torch.zeros(1), torch.tensor([0, 1]), short)
    assert found.inertia.tolist() == [0.0]


def test_a_key_without_senses_is_an_error() -> None:
    with pytest.raises(ValueError, match="no settled senses"):
        accumulate(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([0, 1, 1]), torch.zeros(1, 2))
