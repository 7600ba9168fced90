"""The steps of k-means on vectors known by coordinates or by inner products: B sets of n at once, padded to one size.

A padded vector is 0 and has the label k. Means are products with the one-hot matrix, in a fixed order of addition:
`index_add_` has none on a GPU. What is found for a set does not depend on the sets beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_ROUNDING = 1e-5  # of squared lengths: more than float32 adds to a squared distance


class Rows:
    """Vectors by their coordinates."""

    def __init__(self, x: Tensor, squares: Tensor) -> None:
        """Take (B, n, D) vectors and their (B, n) squared lengths."""
        self.squares = squares
        self._x = x
        self._less = squares * (1 - _ROUNDING)

    def distances(self, rows: Tensor) -> Tensor:
        """(B, t, n) squared distances of some of the vectors, (B, t), to all; 0 within what rounding adds."""
        sums = self._less.gather(1, rows).unsqueeze(2) + self._less.unsqueeze(1)
        return sums.baddbmm_(self._x[each(rows), rows], self._x.mT, alpha=-2).clamp_(min=0)

    def scores(self, members: Tensor, counts: Tensor) -> Tensor:
        """(B, n, k) squared distances to the means of clusters, short of ‖x‖²; infinite to one without members.

        Args:
            members: (B, n, k), 1 where a vector is in a cluster.
            counts: (B, k), their sums.
        """
        return _scores(self._x, means(self._x, members, counts), counts)


class Gram:
    """Vectors by their inner products: as exact as coordinates, and cheaper for few wide vectors."""

    def __init__(self, gram: Tensor) -> None:
        """Take (B, n, n) inner products."""
        self.squares = gram.diagonal(dim1=1, dim2=2)
        self._gram = gram
        less = self.squares * (1 - _ROUNDING)
        self._distances = (less.unsqueeze(1) + less.unsqueeze(2)).sub_(gram, alpha=2).clamp_(min=0)

    def distances(self, rows: Tensor) -> Tensor:
        """As of `Rows`."""
        return self._distances[each(rows), rows]

    def scores(self, members: Tensor, counts: Tensor) -> Tensor:
        """As of `Rows`."""
        some = counts.clamp(min=1).unsqueeze(1)
        found = (self._gram @ members).div_(some)
        lengths = (found * members).sum(dim=1, keepdim=True).div_(some)
        return lengths.masked_fill_((counts == 0).unsqueeze(1), math.inf).sub(found, alpha=2)


def one_hot(labels: Tensor, k: int) -> Tensor:
    """(…, n, k) float32."""
    return torch.eye(k + 1, k, device=labels.device)[labels]


def means(x: Tensor, members: Tensor, counts: Tensor) -> Tensor:
    """(…, k, D) means of clusters; 0 of one without members."""
    return (members.mT @ x).div_(counts.clamp(min=1).unsqueeze(-1))


def each(rows: Tensor) -> Tensor:
    """(B, 1) the numbers of the sets, for an index of (B, t) vectors."""
    return torch.arange(len(rows), device=rows.device).unsqueeze(1)


def _scores(x: Tensor, centroids: Tensor, counts: Tensor) -> Tensor:
    lengths = centroids.square().sum(dim=2).masked_fill_(counts == 0, math.inf)
    return torch.baddbmm(lengths.unsqueeze(1), x, centroids.mT, alpha=-2)


def plus_plus(x: Rows | Gram, k: int, seeds: Sequence[int], pads: Tensor) -> Tensor:
    """(B, n) the nearest of each vector in a greedy k-means++ start.

    Of a few candidates drawn by distance, the one that lowers the inertia most is taken each time; one that has been
    taken before where fewer than k vectors are different.

    Source: Arthur, Vassilvitskii 2007; the greedy form and its 2 + ln k candidates are scikit-learn's.
    """
    trials = 2 + int(math.log(k))
    generator = torch.Generator()
    size = 1 + (k - 1) * trials
    drawn = [torch.rand(size, generator=generator.manual_seed(seed), dtype=torch.float64) for seed in seeds]
    draws = torch.stack(drawn).to(pads.device)
    last = pads.shape[1] - 1 - pads.sum(dim=1, keepdim=True)
    chosen = [torch.minimum((draws[:, :1] * (last + 1)).long(), last)]
    nearest = x.distances(chosen[0]).squeeze(1).masked_fill_(pads, 0)  # (B, n)
    for draw in draws[:, 1:].view(len(seeds), k - 1, trials).unbind(dim=1):
        cumulated = nearest.cumsum(dim=1, dtype=torch.float64)
        candidates = torch.searchsorted(cumulated, draw * cumulated[:, -1:]).clamp_(max=last)
        closer = torch.minimum(nearest.unsqueeze(1), x.distances(candidates))  # (B, trials, n)
        best = closer.sum(dim=2).argmin(dim=1, keepdim=True)
        chosen.append(candidates.gather(1, best))
        nearest = closer[each(best), best].squeeze(1)
    return x.distances(torch.cat(chosen, dim=1)).argmin(dim=1).masked_fill_(pads, k)


def settled(
    x: Rows | Gram, labels: Tensor, k: int, most: int, pads: Tensor, few: Tensor | int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Lloyd's iterations from (B, n) labels, of each set until no more than `few` vectors move, or `most` of them.

    An emptied cluster takes the vector farthest from its mean, as long as there is one that is not at its mean.

    Args:
        few: of all sets, or (B, 1).

    Returns:
        (B, n) labels, (B, n) squared distances short of ‖x‖², and the (B, n, k) members to whose means they are.
    """
    members = one_hot(labels, k)
    for _ in range(most):
        nearest, found = x.scores(members, members.sum(dim=1)).min(dim=2)
        found.masked_fill_(pads, k)
        still = (found != labels).sum(dim=1, keepdim=True) <= few
        labels, of_means = found, members
        if still.all():
            break
        members = one_hot(labels, k)
        if not members.any(dim=1).all():
            members = one_hot(_repaired(labels, k, nearest + x.squares * (1 - _ROUNDING)), k)
        members = torch.where(still.unsqueeze(2), of_means, members)  # as they are, whoever goes on
    return labels, nearest, of_means


def _repaired(labels: Tensor, k: int, far: Tensor) -> Tensor:
    labels, counts = labels.clone(), one_hot(labels, k).sum(dim=1)
    for b in torch.nonzero((counts == 0).any(dim=1)).flatten().tolist():
        empty = torch.nonzero(counts[b] == 0).flatten()
        farthest = far[b].argsort(descending=True, stable=True)[: len(empty)]
        farthest = farthest[far[b, farthest] > 0]
        labels[b, farthest] = empty[: len(farthest)]
    return labels
