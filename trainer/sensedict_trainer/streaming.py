"""Senses as running means: a token's first states are clustered, later ones only move the mean of the nearest sense.

The senses that a state is compared with stand still while states come in: all later states of a sense are added up,
and the sums are settled into means once, at the end. So shards of text may be read in any order, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FIRST = 500  # states of a token that are kept and clustered


def settled_at(cumulative: NDArray[np.integer], first: int = FIRST) -> NDArray[np.int64]:
    """The point of the corpus at which each key's senses are settled: where it first has `first` uses.

    Args:
        cumulative: (G, V) uses of each key up to each of G points, the last of which is the corpus' end; at the best
            1/8, 1/4, 1/2 and all of it, so that a key's senses come from half of its uses at the least.
        first: uses.

    Returns:
        (V,) number of the point; the last one for keys that never have so many.

    >>> settled_at(np.array([[500, 10, 0], [900, 600, 3]])).tolist()
    [0, 1, 1]
    """
    enough = cumulative >= first
    enough[-1] = True
    found: NDArray[np.int64] = enough.argmax(axis=0)
    return found


@dataclass(frozen=True)
class Sums:
    """Later states of some senses, added up, as differences from the settled sense so that no digits are lost.

    Attributes:
        senses: (s,) int64, rising rows of the senses that have any.
        counts: (s,) int64, at least 1 each.
        sums: (s, D) Σ (h − c); float32 of one part, float64 when merged.
        squares: (s,) float64, Σ ‖h − c‖² / D.
    """

    senses: Tensor
    counts: Tensor
    sums: Tensor
    squares: Tensor


@dataclass(frozen=True)
class Settled:
    """Senses after all states, each key's by falling count, ties as they stood before.

    Attributes:
        centroids: (N, D) float32; counts: (N,) int64; inertia: (N,) float32, mean ‖h − c‖² / D.
        order: (N,) int64, where each stood before.
    """

    centroids: Tensor
    counts: Tensor
    inertia: Tensor
    order: Tensor


def accumulate(states: Tensor, keys: Tensor, offsets: Tensor, centroids: Tensor) -> Sums:
    """Give each state to the nearest sense of its key, and add up.

    Args:
        states: (m, D) finite, any float dtype; computed in float32.
        keys: (m,) integers.
        offsets: (V + 1,) int64, the senses of key w are rows `offsets[w] .. offsets[w + 1]`.
        centroids: (N, D) float, settled senses.

    Returns:
        The same sums for the same states in the same order on one device class.

    Raises:
        ValueError: a state of a key without senses.
    """
    keys = keys.long()
    order = torch.argsort(keys, stable=True)
    found, sizes = torch.unique_consecutive(keys[order], return_counts=True)
    if bool((offsets[found] == offsets[found + 1]).any()):
        raise ValueError("a state of a key that has no settled senses")
    ends = [0, *sizes.cumsum(0).tolist()]
    parts = [
        _added(states[order[start:end]].float(), centroids[offsets[key] : offsets[key + 1]].float(), int(offsets[key]))
        for key, (start, end) in zip(found.tolist(), pairwise(ends), strict=True)
    ]
    return _joined(parts, centroids)


def merge(parts: Sequence[Sums]) -> Sums:
    """Several parts' sums together, in float64; the same to the last bit for the same parts in the same order.

    Raises:
        ValueError: no part.
    """
    senses, places = torch.unique(torch.cat([part.senses for part in parts]), return_inverse=True)
    counts = torch.zeros_like(senses)
    sums = parts[0].sums.new_zeros((len(senses), parts[0].sums.shape[1]), dtype=torch.float64)
    squares = torch.zeros_like(senses, dtype=torch.float64)
    for part, at in zip(parts, torch.split(places, [len(part.senses) for part in parts]), strict=True):
        counts[at] += part.counts  # a part has each sense once
        sums[at] += part.sums
        squares[at] += part.squares
    return Sums(senses, counts, sums, squares)


def settle(centroids: Tensor, counts: Tensor, inertia: Tensor, offsets: Tensor, later: Sums) -> Settled:
    """Move senses to the means of all their states, those that were clustered and the later ones.

    Inertia moves along by the parallel axis theorem, a settled sense taken for the mean of the states it was made of:
    the mean square about the new mean is that about the old one less the squared way between them. A sense without
    later states keeps its every bit.

    Args:
        centroids: (N, D) float, counts: (N,) and inertia: (N,), of the settled senses.
        offsets: (V + 1,) int64, whose senses they are.
        later: sums about these centroids.
    """
    places = later.senses
    total = counts.long().clone()
    total[places] += later.counts
    here = total[places].double()
    way = later.sums.double() / here.unsqueeze(1)
    squares = (inertia[places].double() * counts[places] + later.squares) / here - way.square().mean(dim=1)
    moved, spread = centroids.float().clone(), inertia.float().clone()
    moved[places] = (moved[places].double() + way).float()
    spread[places] = squares.clamp_(min=0).float()
    owners = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())
    falling = torch.argsort(-total, stable=True)
    order = falling[torch.argsort(owners[falling], stable=True)]
    return Settled(moved[order], total[order], spread[order], order)


def _added(states: Tensor, centroids: Tensor, first: int) -> Sums:
    """Sums of one key's states (m, D), whose senses (k, D) start at row `first`."""
    middle = centroids.mean(dim=0)  # far from 0 a product loses digits
    own = centroids - middle
    scores = torch.addmm(own.square().sum(dim=1), states - middle, own.T, alpha=-2)
    labels = scores.argmin(dim=1)
    differences = states - centroids[labels]
    members = torch.eye(len(centroids), device=states.device)[labels]  # a product adds in a fixed order
    counts = torch.bincount(labels, minlength=len(centroids))
    squares = members.double().T @ differences.double().square().mean(dim=1)
    some = torch.nonzero(counts).flatten()
    return Sums(first + some, counts[some], (members.T @ differences)[some], squares[some])


def _joined(parts: Sequence[Sums], like: Tensor) -> Sums:
    """Sums of different senses, one after another."""
    if not parts:
        none = torch.zeros(0, dtype=torch.int64, device=like.device)
        return Sums(none, none, like.new_zeros((0, like.shape[1]), dtype=torch.float32), none.double())
    return Sums(
        senses=torch.cat([part.senses for part in parts]),
        counts=torch.cat([part.counts for part in parts]),
        sums=torch.cat([part.sums for part in parts]),
        squares=torch.cat([part.squares for part in parts]),
    )
