"""k-means of one token's hidden states: a greedy k-means++ start, then Lloyd (DSKD §3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LONGEST = 100  # iterations; scikit-learn's default is 300 and it rarely takes more than 30
_TOLERANCE = 1e-4  # of the mean variance, for the centroids' squared shift; scikit-learn's default


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
    x = vectors.float()
    if len(x) <= k:
        centroids = torch.unique(x, dim=0)
    else:
        mean = x.mean(dim=0)
        # Distances by the Gram matrix lose digits when the mean is far from 0, as hidden states' is.
        centroids = _lloyd(x - mean, k, seed) + mean
        labels = _assign_exactly(x, centroids)[1]
        alone = torch.bincount(labels, minlength=len(centroids))[labels] == 1
        centroids[labels[alone]] = x[alone]  # to the last bit, which the mean took away
    distances, labels = _assign_exactly(x, centroids)
    return _in_order(x, centroids, labels, distances)


def _lloyd(x: Tensor, k: int, seed: int) -> Tensor:
    """(k, D) centroids after Lloyd's iterations; an emptied cluster takes the vector farthest from its centroid."""
    centroids = _plus_plus(x, k, seed)
    k = len(centroids)
    squares = x.square().sum(dim=1)
    limit = _TOLERANCE * float(x.var(dim=0, correction=0).mean())
    before = None
    for _ in range(_LONGEST):
        scores = centroids.square().sum(dim=1) - 2 * (x @ centroids.T)  # (n, k), short of ‖x‖²
        nearest, labels = scores.min(dim=1)
        if before is not None and torch.equal(labels, before):
            break
        before = labels
        counts = torch.bincount(labels, minlength=k)
        empty = torch.nonzero(counts == 0).flatten()
        if len(empty):
            farthest = (nearest + squares).argsort(descending=True)[: len(empty)]
            labels = labels.clone()
            labels[farthest] = empty
            counts = torch.bincount(labels, minlength=k)
        # A product with the one-hot matrix, in a fixed order of addition: index_add_ has none on a GPU.
        members = torch.nn.functional.one_hot(labels, k).to(x.dtype)  # (n, k)
        moved = (members.T @ x) / counts.clamp(min=1).unsqueeze(1)
        shift = float((moved - centroids).square().sum())
        centroids = moved
        if shift <= limit:
            break
    return centroids


def _plus_plus(x: Tensor, k: int, seed: int) -> Tensor:
    """(k, D) greedy k-means++ start: of a few candidates drawn by distance, the one that lowers the inertia most.

    Fewer than k where fewer vectors are different.

    Source: Arthur, Vassilvitskii 2007; the greedy form and its 2 + ln k candidates are scikit-learn's.
    """
    generator = torch.Generator().manual_seed(seed)
    trials = 2 + int(math.log(k))
    squares = x.square().sum(dim=1)
    first = int(torch.randint(len(x), (1,), generator=generator))
    chosen = [first]
    nearest = _squared(x, squares, torch.tensor([first], device=x.device))[0]  # (n,)
    for _ in range(1, k):
        cumulated = nearest.double().cumsum(0)
        if cumulated[-1] <= 0:
            break
        draws = torch.rand(trials, generator=generator, dtype=torch.float64).to(x.device) * cumulated[-1]
        candidates = torch.searchsorted(cumulated, draws).clamp(max=len(x) - 1)
        closer = torch.minimum(nearest, _squared(x, squares, candidates))  # (trials, n)
        best = int(closer.sum(dim=1).argmin())
        chosen.append(int(candidates[best]))
        nearest = closer[best]
    return x[chosen].clone()


def _squared(x: Tensor, squares: Tensor, rows: Tensor) -> Tensor:
    """(len(rows), n) squared distances of some of the vectors to all of them."""
    distances = squares[rows].unsqueeze(1) + squares - 2 * (x[rows] @ x.T)
    return distances.clamp_(min=0)


def _assign_exactly(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Distance ‖h − c‖² / D to the nearest centroid and its number, from differences."""
    parts = [torch.cdist(part, centroids, compute_mode="donot_use_mm_for_euclid_dist") for part in torch.split(x, 256)]
    distances, labels = torch.cat(parts).min(dim=1)
    return distances.square() / x.shape[1], labels


def _in_order(x: Tensor, centroids: Tensor, labels: Tensor, distances: Tensor) -> Clusters:
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
    sums = torch.zeros(len(order), dtype=torch.float64, device=x.device).index_add_(0, labels, distances.double())
    return Clusters(
        centroids=centroids[order],
        counts=counts[order],
        inertia=(sums / counts[order]).float(),
        labels=labels,
        distances=distances,
    )
