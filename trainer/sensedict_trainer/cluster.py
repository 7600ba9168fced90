"""k-means of one token's hidden states: a greedy k-means++ start, then Lloyd (DSKD §3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_LONGEST = 100  # iterations; scikit-learn's default is 300 and it rarely takes more than 30
_FEW = 8  # iterations on all coordinates after those on a sketch have settled
_GRAM = 128  # vectors at most, for which their Gram matrix is cheaper than coordinates
_WIDE, _SKETCH, _NARROW_SKETCH = 2048, 512, 128  # coordinates
_BLOCK = 64  # vectors, which with their centroids stay in the cache


@dataclass(frozen=True)
class Clusters:
    """Clusters by falling count, ties by their first member.

    Attributes:
        centroids: (k, D) float32, k at most what was asked for.
        counts: (k,) int64, at least 1 each.
        inertia: (k,) float32, mean ‖h − c‖² / D over the members.
        labels: (n,) int64, the cluster of each vector.
        distances: (n,) float32, ‖h − c‖² / D to its own centroid.
    """

    centroids: Tensor
    counts: Tensor
    inertia: Tensor
    labels: Tensor
    distances: Tensor


def cluster(vectors: Tensor, k: int, seed: int) -> Clusters:
    """Cluster vectors into at most k groups; n ≤ k vectors are kept as they are, equal ones become one.

    Args:
        vectors: (n, D), finite, any float dtype; n ≥ 1. Computed in float32.
        k: most clusters.
        seed: of the start; the same seed gives the same clusters on one device class.

    >>> cluster(torch.tensor([[0.0], [1.0], [10.0]]), k=2, seed=0).counts.tolist()
    [2, 1]
    """
    if vectors.dtype == torch.float64:
        vectors = vectors.float()
    if len(vectors) <= k:
        x = vectors.float()
        centroids = torch.unique(x, dim=0)
        distances, labels = _assign_exactly(x, centroids)
        return _in_order(centroids, labels, distances)
    mean = vectors.mean(dim=0, dtype=torch.float32)
    # Distances by the Gram matrix lose digits when the mean is far from 0, as hidden states' is.
    x = vectors - mean
    centroids, labels = _centroids(x, k, seed)
    distances = _distances(x, centroids, labels)
    centroids = centroids + mean
    alone = torch.bincount(labels, minlength=len(centroids))[labels] == 1
    centroids[labels[alone]] = vectors[alone].float()  # to the last bit, which the mean took away
    distances[alone] = 0
    return _in_order(centroids, labels, distances)


def cluster_each(tokens: Sequence[Tensor], k: int, seeds: Sequence[int], threads: int) -> list[Clusters]:
    """As `cluster`, for the vectors of each token; the same clusters for any number of threads.

    Threads are started for wide vectors only: of narrow ones the products are so short that threads wait for the
    interpreter. Each should have one of torch's own, which its caller sees to.
    """
    if not tokens or threads == 1 or tokens[0].shape[1] < _WIDE:
        return [cluster(x, k, seed) for x, seed in zip(tokens, seeds, strict=True)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda pair: cluster(pair[0], k, pair[1]), zip(tokens, seeds, strict=True)))


def _centroids(x: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """(≤ k, D) centroids of centred x and (n,) the nearest of each vector, the cheapest way for the shape."""
    n, width = x.shape
    sketch = _SKETCH if width >= _WIDE else _NARROW_SKETCH
    if n <= min(_GRAM, width):
        _, labels = _lloyd(_Gram(x @ x.T), k, seed)
    elif width >= 2 * sketch:
        _, labels = _lloyd(_Rows(_sketched(x, sketch)), k, seed)
        return _settled(_Rows(x), labels, _FEW)
    else:
        return _lloyd(_Rows(x), k, seed)
    return _settled(_Rows(x), labels, 1)


class _Rows:
    """Vectors by their coordinates."""

    def __init__(self, x: Tensor) -> None:
        self._x = x

    @cached_property
    def squares(self) -> Tensor:
        """(n,) squared lengths."""
        return self._x.square().sum(dim=1)

    def distances(self, rows: Tensor) -> Tensor:
        """(len(rows), n) squared distances of some of the vectors to all."""
        sums = self.squares[rows].unsqueeze(1) + self.squares
        return sums.sub_(self._x[rows] @ self._x.T, alpha=2).clamp_(min=0)

    def means(self, members: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """(k, D) means of clusters, and (n, k) squared distances of all vectors to them, short of ‖x‖².

        The mean is a product with the one-hot matrix, in a fixed order of addition: index_add_ has none on a GPU.
        """
        found = (members.T @ self._x).div_(counts.unsqueeze(1))
        return found, torch.addmm(found.square().sum(dim=1), self._x, found.T, alpha=-2)


class _Gram:
    """Vectors by their inner products alone, (n, n): as exact, and cheaper than coordinates for few wide vectors."""

    def __init__(self, gram: Tensor) -> None:
        self.squares = gram.diagonal()
        self._gram = gram
        self._distances = torch.sub(self.squares.unsqueeze(1) + self.squares, gram, alpha=2).clamp_(min=0)

    def distances(self, rows: Tensor) -> Tensor:
        """As of `_Rows`."""
        return self._distances[rows]

    def means(self, members: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """As of `_Rows`, but each mean by its products with all vectors, (k, n)."""
        found = (self._gram @ members).div_(counts)  # (n, k)
        squares = (found * members).sum(dim=0).div_(counts)
        return found.T, torch.sub(squares, found, alpha=2)


def _lloyd(x: _Rows | _Gram, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Means and (n,) labels after Lloyd's iterations from a greedy k-means++ start."""
    return _settled(x, _plus_plus(x, k, seed), _LONGEST)


def _settled(x: _Rows | _Gram, labels: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Means and (n,) the nearest of each vector after at most `most` of Lloyd's iterations from these labels.

    An emptied cluster takes the vector farthest from its mean.
    """
    k = int(labels.max()) + 1
    rows = torch.eye(k, device=labels.device)
    members = rows[labels]  # (n, k)
    counts = members.sum(dim=0).clamp_(min=1)
    for _ in range(most):
        means, scores = x.means(members, counts)
        nearest, found = scores.min(dim=1)
        if torch.equal(found, labels):
            break
        labels = found
        members = rows[labels]
        counts = members.sum(dim=0)
        if not counts.all():
            empty = torch.nonzero(counts == 0).flatten()
            farthest = (nearest + x.squares).argsort(descending=True, stable=True)[: len(empty)]
            repaired = labels.clone()
            repaired[farthest] = empty
            members = rows[repaired]
            counts = members.sum(dim=0).clamp_(min=1)
    return means, labels


def _plus_plus(x: _Rows | _Gram, k: int, seed: int) -> Tensor:
    """(n,) the nearest of each vector in a greedy k-means++ start.

    Of a few candidates drawn by distance, the one that lowers the inertia most is taken each time; fewer than k where
    fewer vectors are different.

    Source: Arthur, Vassilvitskii 2007; the greedy form and its 2 + ln k candidates are scikit-learn's.
    """
    generator = torch.Generator().manual_seed(seed)
    squares = x.squares
    n, trials = len(squares), 2 + int(math.log(k))
    first = torch.randint(n, (1,), generator=generator).to(squares.device)
    draws = torch.rand((k - 1, trials), generator=generator, dtype=torch.float64).to(squares.device)
    chosen = [first]
    nearest = x.distances(first)[0]  # (n,)
    for draw in draws:
        cumulated = nearest.cumsum(0, dtype=torch.float64)
        total = float(cumulated[-1])
        if total <= 0:
            break
        candidates = torch.searchsorted(cumulated, draw * total).clamp_(max=n - 1)
        closer = torch.minimum(nearest, x.distances(candidates))  # (trials, n)
        best = closer.sum(dim=1).argmin()
        chosen.append(candidates[best].unsqueeze(0))
        nearest = closer[best]
    return x.distances(torch.cat(chosen)).argmin(dim=0)


def _sketched(x: Tensor, width: int) -> Tensor:
    """(n, width) count-sketch: coordinates a width apart are added with signs that keep distances on average.

    Source: Charikar, Chen, Farach-Colton 2002. The signs are always the same.
    """
    signs = torch.randint(2, x.shape[1:], generator=torch.Generator().manual_seed(0)).mul_(2).sub_(1).to(x)
    found = x[:, :width] * signs[:width]
    for part, sign in zip(torch.split(x[:, width:], width, dim=1), torch.split(signs[width:], width), strict=True):
        found[:, : len(sign)].addcmul_(part, sign)
    return found


def _distances(x: Tensor, centroids: Tensor, labels: Tensor) -> Tensor:
    """(n,) ‖h − c‖² / D to each one's own centroid, from differences."""
    parts = zip(torch.split(x, _BLOCK), torch.split(labels, _BLOCK), strict=True)
    return torch.cat([torch.sub(part, centroids[own]).square_().mean(dim=1) for part, own in parts])


def _assign_exactly(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Distance ‖h − c‖² / D to the nearest centroid and its number, from differences."""
    distances, labels = torch.cdist(x, centroids, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    return distances.square() / x.shape[1], labels


def _in_order(centroids: Tensor, labels: Tensor, distances: Tensor) -> Clusters:
    """Drop what has no member, then sort by falling count."""
    counts = torch.bincount(labels, minlength=len(centroids))
    firsts = torch.full_like(counts, len(labels)).scatter_reduce_(
        0, labels, torch.arange(len(labels), device=labels.device), reduce="amin"
    )
    keys = zip((-counts).tolist(), firsts.tolist(), range(len(counts)), strict=True)
    order = [i for count, _, i in sorted(keys) if count]
    place = torch.zeros_like(counts)
    place[order] = torch.arange(len(order), device=place.device)
    labels = place[labels]
    sums = torch.zeros(len(order), dtype=torch.float64, device=labels.device).index_add_(0, labels, distances.double())
    return Clusters(
        centroids=centroids[order],
        counts=counts[order],
        inertia=(sums / counts[order]).float(),
        labels=labels,
        distances=distances,
    )
