"""k-means: small cases by hand, and scikit-learn's inertia on data with and without structure."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from sensedict_trainer.cluster import _NARROW_SKETCH, Clusters, cluster, cluster_each
from sensedict_trainer.lloyd import Gram, Rows, settled
from sensedict_trainer.wide import _signs


def test_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 2.0], [10.0, 2.0], [10.0, 4.0]])
    found = cluster(x, k=2, seed=0)
    assert found.counts.tolist() == [3, 2]
    torch.testing.assert_close(found.centroids, torch.tensor([[10.0, 2.0], [0.0, 1.0]]))
    assert found.labels.tolist() == [1, 0, 1, 0, 0]
    torch.testing.assert_close(found.inertia, torch.tensor([8 / 3 / 2, 1 / 2]))  # squared, mean over members, over D
    torch.testing.assert_close(found.distances, torch.tensor([0.5, 2.0, 0.5, 0.0, 2.0]))


def test_no_more_vectors_than_clusters_are_kept_as_they_are() -> None:
    x = torch.tensor([[3.0, 1.0], [1.0, 1.0], [3.0, 1.0]])
    found = cluster(x, k=10, seed=0)
    assert found.counts.tolist() == [2, 1]  # equal vectors are one sense
    assert found.centroids.tolist() == [[3.0, 1.0], [1.0, 1.0]]
    assert found.inertia.tolist() == [0.0, 0.0]
    assert cluster(x[:1], k=1, seed=0).counts.tolist() == [1]


@pytest.mark.parametrize(("n", "width"), [(60, 8), (60, 300), (400, 300)])
def test_a_cluster_of_one_is_that_vector_to_the_last_bit(n: int, width: int) -> None:
    x = torch.randn(n, width, generator=torch.Generator().manual_seed(1)) / 3
    x[17] += 50.0
    found = cluster(x, k=4, seed=0)
    alone = int(found.labels[17])
    assert int(found.counts[alone]) == 1
    assert torch.equal(found.centroids[alone], x[17])
    assert float(found.inertia[alone]) == 0.0


@pytest.mark.parametrize("seed", [73, 89, 127])
def test_a_cluster_that_is_left_with_one_in_the_last_iteration_is_that_vector(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(300, 300, generator=random)
    x *= torch.exp(torch.randn(300, 1, generator=random))
    found = cluster(x, 12, seed)
    alone = found.counts[found.labels] == 1
    assert alone.any()
    assert torch.equal(found.centroids[found.labels[alone]], x[alone])
    assert not found.distances[alone].any()
    assert not found.inertia[found.counts == 1].any()


def test_an_emptied_cluster_takes_the_vector_farthest_from_its_mean() -> None:
    x = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0], [5.0, 40.0], [0.0, 0.0]]])
    pads = torch.tensor([[False] * 5 + [True]])
    labels = torch.tensor([[0, 0, 2, 2, 2, 3]])  # none has 1; 3 is of a padded vector
    for space in (Rows(x, x.square().sum(dim=2)), Gram(x @ x.mT)):
        found, nearest, members = settled(space, labels, 3, 20, pads)
        assert found[0, 4:].tolist() == [1, 3]
        assert sorted(found[0, :4].tolist()) == [0, 0, 2, 2]
        assert members.sum(dim=1).tolist() == [[2, 1, 2]]
        torch.testing.assert_close((nearest + space.squares)[0, :5], torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0]))


@pytest.mark.parametrize("few", [0, 3])
def test_a_set_that_has_settled_stays_as_it_is_whoever_goes_on_beside_it(few: int) -> None:
    for seed in range(50):
        random = torch.Generator().manual_seed(seed)
        places = torch.randn(3, 2, generator=random)  # five clusters asked for
        x = torch.stack([places[torch.randint(3, (12,), generator=random)], torch.randn(12, 2, generator=random)])
        labels, pads = torch.randint(5, (2, 12), generator=random), torch.zeros(2, 12, dtype=torch.bool)
        both = settled(Rows(x, x.square().sum(dim=2)), labels, 5, 30, pads, few)
        alone = settled(Rows(x[:1], x[:1].square().sum(dim=2)), labels[:1], 5, 30, pads[:1], few)
        assert all(torch.equal(a[:1], b) for a, b in zip(both, alone, strict=True))


def test_equal_vectors_are_one_cluster_whatever_k_is() -> None:
    found = cluster(torch.full((50, 3), 2.5), k=5, seed=0)
    assert found.counts.tolist() == [50]
    assert found.centroids.tolist() == [[2.5, 2.5, 2.5]]


def test_no_cluster_is_empty_and_counts_fall() -> None:
    torch.manual_seed(0)
    few = torch.randn(6, 4)
    x = few[torch.randint(6, (200,))]  # six places, seven asked for
    found = cluster(x, k=7, seed=1)
    assert len(found.counts) == 6
    assert (found.counts > 0).all()
    assert found.counts.tolist() == sorted(found.counts.tolist(), reverse=True)
    assert int(found.counts.sum()) == 200


def test_the_same_seed_gives_the_same_clusters() -> None:
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(3))
    a, b = cluster(x, 8, seed=5), cluster(x, 8, seed=5)
    assert torch.equal(a.centroids, b.centroids)
    assert torch.equal(a.labels, b.labels)


def test_vectors_far_from_zero_lose_no_digits() -> None:
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    near, far = cluster(x, 5, seed=2), cluster(x + 1000.0, 5, seed=2)
    total = [float((found.inertia * found.counts).sum()) for found in (near, far)]
    assert total[1] == pytest.approx(total[0], rel=0.02)


@pytest.mark.parametrize("width", [32, 300])
def test_inertia_is_scikit_learns(width: int) -> None:
    """Of 200 tokens, half of them without structure: the standard error of their mean ratio is 0.1%."""
    random = np.random.default_rng(0)
    tokens, theirs = [], []
    for case in range(200):
        n = int(random.integers(30, 600))
        centres = random.normal(0, 0.5 * (case % 2), (12, width))
        tokens.append((centres[random.integers(12, size=n)] + random.normal(size=(n, width))).astype(np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.append(KMeans(10, n_init=1, random_state=case).fit(tokens[-1]).inertia_ / n / width)
    found = cluster_each([torch.from_numpy(x) for x in tokens], 10, range(200))
    ours = [float((one.inertia * one.counts).sum() / one.counts.sum()) for one in found]
    assert np.mean(np.divide(ours, theirs)) == pytest.approx(1, abs=0.005)


def _same(a: Clusters, b: Clusters) -> bool:
    return all(torch.equal(getattr(a, each.name), getattr(b, each.name)) for each in fields(Clusters))


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("width", [8, 32, 576, 2048])
def test_the_clusters_of_a_token_do_not_depend_on_the_tokens_beside_it(width: int) -> None:
    sizes = (1, 5, 33, 40, 40, 45, 100, 120, 200, 300, 0)
    tokens = [torch.randn(n, width, generator=torch.Generator().manual_seed(i)) for i, n in enumerate(sizes)]
    seeds = range(len(tokens))
    one = cluster_each(tokens, 4, seeds)
    alone = [cluster(x, 4, seed) for x, seed in zip(tokens, seeds, strict=True)]
    back = cluster_each(tokens[::-1], 4, seeds[::-1])[::-1]
    for a, x, *others in zip(one, tokens, alone, back, strict=True):
        assert all(_same(a, b) for b in others)
        assert int(a.counts.sum()) == len(x)
        assert len(a.labels) == len(a.distances) == len(x)


def test_no_token_and_a_token_without_vectors() -> None:
    assert cluster_each([], 4, []) == []
    none = cluster(torch.empty(0, 6, dtype=torch.float16), 4, seed=0)
    assert none.centroids.shape == (0, 6)
    assert [len(x) for x in (none.counts, none.inertia, none.labels, none.distances)] == [0, 0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 320),
    different=st.integers(1, 14),
    k=st.integers(1, 12),
    width=st.sampled_from([1, 3, 300, 2100]),
    far=st.sampled_from([0.0, 3000.0]),
    seed=st.integers(0, 99),
)
def test_there_are_k_clusters_or_as_many_as_vectors_are_different(
    n: int, different: int, k: int, width: int, far: float, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    places = (far + torch.randn(different, width, generator=random)).half()
    x = places[torch.randint(different, (n,), generator=random)]
    found = cluster(x, k, seed)
    different = len(torch.unique(x, dim=0))
    assert len(found.counts) == min(k, different)
    assert torch.equal(torch.bincount(found.labels), found.counts)
    assert found.counts.tolist() == sorted(found.counts.tolist(), reverse=True)
    if different < k:
        assert torch.equal(found.centroids[found.labels], x.float())
        assert not found.inertia.any()


@pytest.mark.parametrize("n", [60, 400])
def test_vectors_that_a_sketch_takes_for_equal_are_told_apart(n: int) -> None:
    """Moved along what the sketch leaves out: equal sums of the coordinates that it adds, with their signs."""
    width = 512
    signs = _signs(width, torch.device("cpu"))
    way = torch.zeros(width)
    way[0], way[_NARROW_SKETCH] = signs[0], -signs[_NARROW_SKETCH]
    x = torch.ones(width) + 8.0 * (torch.arange(n) % 6).unsqueeze(1) * way
    found = cluster(x, 4, seed=0)
    assert len(found.counts) == 4
    nearest = torch.cdist(x, found.centroids).argmin(dim=1)
    torch.testing.assert_close((x - found.centroids[nearest]).square().mean(dim=1), found.distances, rtol=0, atol=1e-4)
    six = cluster(x, 6, seed=0)
    assert len(six.counts) == 6
    assert not six.distances.any()


def test_vectors_that_differ_by_less_than_rounding_are_told_apart() -> None:
    x = torch.full((50, 300), 1.0)
    x[:, 0] += 1e3 * (torch.arange(50) % 2)
    x[:20, 1] += 2**-23
    found = cluster(x, 4, seed=0)
    assert found.counts.tolist() == [15, 15, 10, 10]
    assert torch.equal(found.centroids[found.labels], x)


@pytest.mark.parametrize(("n", "width"), [(40, 300), (400, 300), (300, 2100)])
def test_vectors_near_the_largest_float16(n: int, width: int) -> None:
    random = torch.Generator().manual_seed(0)
    x = (65_000 * torch.sign(torch.randn(3, width, generator=random)))[torch.arange(n) % 3]
    x = (x + torch.randn(n, width, generator=random)).half()
    x[0] = 65_504.0
    found = cluster(x, 4, seed=0)
    assert len(found.counts) == 4
    assert all(torch.isfinite(each).all() for each in (found.centroids, found.inertia, found.distances))
    assert torch.equal(found.centroids[found.labels[0]], x[0].float())


@pytest.mark.parametrize(("n", "width"), [(60, 300), (400, 300), (300, 2050)])
def test_wide_vectors_whatever_the_way(n: int, width: int) -> None:
    """By the Gram matrix and by a sketch: groups found, distances right, copies of a vector as one."""
    random = torch.Generator().manual_seed(n)
    places = 20 * torch.randn(4, width, generator=random)
    group = torch.arange(n) % 4
    x = places[group] + torch.randn(n, width, generator=random)
    found = cluster(x, 4, seed=1)
    assert found.counts.tolist() == [n // 4] * 4
    assert torch.equal(found.labels, group)
    torch.testing.assert_close(found.distances, (x - found.centroids[found.labels]).square().mean(dim=1))
    copies = cluster(places[group], 7, seed=1)
    assert copies.counts.tolist() == [n // 4] * 4
    torch.testing.assert_close(copies.centroids, places, rtol=0, atol=1e-4)
    assert cluster(torch.full((n, width), 2.5), 5, seed=1).counts.tolist() == [n]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_is_clustered_in_float32(dtype: torch.dtype) -> None:
    x = torch.randn(400, 300, generator=torch.Generator().manual_seed(0)).to(dtype)
    for few in (x, x[:60], x[:3]):
        found, same = cluster(few, 4, seed=0), cluster(few.float(), 4, seed=0)
        assert found.centroids.dtype == torch.float32
        torch.testing.assert_close(found.centroids, same.centroids)
        assert torch.equal(found.labels, same.labels)
