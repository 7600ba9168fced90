"""k-means of vectors of many coordinates: settled on sketches, then refined in passes over the vectors as they come.

A pass makes a few vectors float32 at a time, in memory that stays in the cache: to write all of them down as float32
and to read them again would take longer than to convert them anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from sensedict_trainer.lloyd import one_hot

_BLOCK = 1 << 18  # numbers that stay in the cache
_SAMPLE = 16  # vectors that tell about where the mean is
CLOSE = 1 / 16  # of a vector's squared length: nearer to its centroid, a distance is computed from differences


class Room:
    """Memory that is used again and again: to have the system clear fresh pages takes as long as to fill them."""

    def __init__(self) -> None:
        self._flat = torch.empty(0)

    def take(self, *shape: int, device: torch.device) -> Tensor:
        """Numbers of that shape, not cleared, until the next call."""
        size = math.prod(shape)
        if self._flat.numel() < size or self._flat.device != device:
            self._flat = torch.empty(size, device=device)
        return self._flat[:size].view(shape)


class Wide:
    """Vectors less an offset near their mean: squared lengths lose digits when it is far from 0, as hidden states' is.

    Attributes:
        offset: (D,) float32.
        squares: (n,) float32 squared lengths, once `sketch` was called.
    """

    def __init__(self, vectors: Tensor, room: Room) -> None:
        """Take (n, D) vectors, n ≥ 1, of any float dtype."""
        n, width = vectors.shape
        self.offset = vectors[:: max(1, n // _SAMPLE)].float().mean(dim=0)
        self.squares = torch.empty(n, device=vectors.device)
        self._vectors = vectors
        self._room = room
        self._block = n if vectors.is_cuda else max(1, _BLOCK // width)

    def sketch(self, out: Tensor) -> None:
        """A count-sketch (n, w): coordinates w apart are added with signs that keep distances on average.

        Source: Charikar, Chen, Farach-Colton 2002.
        """
        width = out.shape[1]
        whole = self._vectors.shape[1] // width * width
        signs = _signs(self._vectors.shape[1], out.device)
        for rows, here in self._blocks():
            torch.linalg.vector_norm(here.sub_(self.offset), dim=1, out=self.squares[rows])
            here.mul_(signs)
            torch.sum(here[:, :whole].view(len(here), -1, width), dim=1, out=out[rows])
            out[rows, : here.shape[1] - whole].add_(here[:, whole:])
        self.squares.square_()

    def refined(self, labels: Tensor, unsure: Tensor, k: int, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """At most `most` of Lloyd's iterations from labels that are nearly right; `sketch` was called before.

        Only the vectors whose nearest mean is unsure take part, until the last iteration looks at all.

        Args:
            labels: (n,) int64, all below k; unsure: (n,) bool.

        Returns:
            (n,) labels, the (k, D) means, and the (n,) squared distances to them.
        """
        chosen = torch.nonzero(unsure).flatten()
        some = self._vectors[chosen].float()
        sure = one_hot(labels.masked_fill(unsure, k), k)
        counts, sums = sure.sum(dim=0), self._sums(sure)
        found = labels[chosen]
        for _ in range(most + 1):
            members = one_hot(found, k)
            own = counts + members.sum(dim=0)
            centroids = torch.addmm(sums, members.T, some).div_(own.clamp(min=1).unsqueeze(1)).sub_(self.offset)
            lengths = self._lengths(centroids, own)
            before, found = found, torch.addmm(lengths, some, centroids.T, alpha=-2).argmin(dim=1)
            if torch.equal(found, before):
                break
        nearest, labels = self._scores(centroids, lengths).min(dim=1)
        distances = self._distances(centroids, labels, nearest)
        return labels, centroids.add_(self.offset), distances

    def _blocks(self, chosen: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
        """All vectors, or the chosen ones, (b, D) float32 at a time, with their offset, and which of them these are."""
        n, width = self._vectors.shape if chosen is None else (len(chosen), self._vectors.shape[1])
        for at in range(0, n, self._block):
            rows = slice(at, min(n, at + self._block))
            some = self._vectors[rows if chosen is None else chosen[rows]]
            yield rows, self._room.take(len(some), width, device=some.device).copy_(some)

    def _sums(self, weights: Tensor) -> Tensor:
        """(k, D) of weighted vectors with their offset; a product adds in a fixed order."""
        sums = torch.zeros(weights.shape[1], len(self.offset), device=weights.device)
        for rows, here in self._blocks():
            sums.addmm_(weights[rows].T, here)
        return sums

    def _lengths(self, centroids: Tensor, counts: Tensor) -> Tensor:
        """(k,) what a product of vectors with means needs to be scores; infinite where there are no members."""
        # (x − offset) · c is less than x · c by offset · c, the same for all vectors.
        return (centroids * (centroids + 2 * self.offset)).sum(dim=1).masked_fill_(counts == 0, math.inf)

    def _scores(self, centroids: Tensor, lengths: Tensor) -> Tensor:
        """(n, k) squared distances short of ‖x‖²."""
        found = torch.empty(len(self._vectors), len(lengths), device=lengths.device)
        for rows, here in self._blocks():
            torch.addmm(lengths, here, centroids.T, alpha=-2, out=found[rows])
        return found

    def _distances(self, centroids: Tensor, labels: Tensor, nearest: Tensor) -> Tensor:
        """(n,) squared, to each one's own mean: of its score, or of differences where digits would go."""
        found = (nearest + self.squares).clamp_(min=0)
        close = torch.nonzero(found < self.squares * CLOSE).flatten()
        for rows, here in self._blocks(close):
            found[close[rows]] = here.sub_(self.offset).sub_(centroids[labels[close[rows]]]).square_().sum(dim=1)
        return found


@lru_cache
def _signs(width: int, device: torch.device) -> Tensor:
    draws = torch.randint(2, (width,), generator=torch.Generator().manual_seed(0))
    return (2 * draws - 1).to(device, torch.float32)
