"""k-means of tokens' hidden states: a greedy k-means++ start, then Lloyd (DSKD §3.1).

Tokens of few vectors are clustered by their Gram matrices, many at once; a token of many by coordinates, on its own.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sensedict_trainer.lloyd import Gram, Rows, each, means, one_hot, plus_plus, settled
from sensedict_trainer.wide import CLOSE, Room, Wide

_LONGEST = 100  # iterations; scikit-learn's default is 300 and it rarely takes more than 30
_FEW = 4  # iterations on all coordinates after those on a sketch have settled
_SETTLED = 0.005  # of the vectors: when fewer move, a sketch has no more to say
_UNSURE = 1.3  # times the squared distance to the nearest mean, by a sketch
_WIDE, _SKETCH, _NARROW_SKETCH = 2048, 256, 128  # coordinates
_GRAM, _WIDE_GRAM, _GPU_GRAM = 256, 64, 2048  # vectors at most, for which a Gram matrix is cheaper than coordinates
_TOGETHER, _GPU_TOGETHER = 1 << 20, 1 << 28  # numbers of a batch


@dataclass(frozen=True)
class Clusters:
    """Clusters by falling count, ties by their first member.

    Attributes:
        centroids: (k, D) float32; k is what was asked for, or the number of different vectors where that is less.
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
    """Cluster vectors into k groups, fewer where fewer are different; n ≤ k vectors are kept as they are.

    Args:
        vectors: (n, D), finite, any float dtype. Computed in float32.
        k: most clusters.
        seed: of the start; the same seed gives the same clusters on one device class.

    >>> cluster(torch.tensor([[0.0], [1.0], [10.0]]), k=2, seed=0).counts.tolist()
    [2, 1]
    """
    return cluster_each([vectors], k, [seed])[0]


def cluster_each(tokens: Sequence[Tensor], k: int, seeds: Sequence[int]) -> list[Clusters]:
    """As `cluster`, for the vectors of each token, quickest with one of torch's threads: the products are short."""
    room = Room()
    found: dict[int, Clusters] = {}
    for batch in _batches(tokens, k):
        found |= zip(batch, _cluster([tokens[i] for i in batch], k, [seeds[i] for i in batch], room), strict=True)
    return [found[i] for i in range(len(tokens))]


def _batches(tokens: Sequence[Tensor], k: int) -> list[list[int]]:
    """Places of tokens that are clustered together, the largest first: all of one padded size."""
    sizes: defaultdict[int, list[int]] = defaultdict(list)
    for i, x in enumerate(tokens):
        sizes[_padded(x, k)].append(i)
    found = []
    for size in sorted(sizes, reverse=True):
        x = tokens[sizes[size][0]]
        together = _GPU_TOGETHER if x.is_cuda else _TOGETHER
        most = max(1, together // max(1, size * (max(size, x.shape[1]) if size <= _most_by_gram(x) else _SKETCH)))
        found += [sizes[size][at : at + most] for at in range(0, len(sizes[size]), most)]
    return found


def _most_by_gram(x: Tensor) -> int:
    if x.is_cuda:
        return _GPU_GRAM
    return _WIDE_GRAM if x.shape[1] >= _WIDE else min(_GRAM, x.shape[1])


def _padded(x: Tensor, k: int) -> int:
    """The size that a token is padded to; 0 where nothing has to be clustered."""
    n = len(x)
    if n <= k:
        return 0
    most = _most_by_gram(x)
    step = max(16, (1 << n.bit_length()) // (16 if n <= most else 8))
    return min(most, -(-n // step) * step) if n <= most else -(-n // step) * step


def _cluster(tokens: list[Tensor], k: int, seeds: Sequence[int], room: Room) -> list[Clusters]:
    """Of one batch."""
    if len(tokens[0]) <= k:
        # In one block: thousands of small ones leave holes between them that take as much again.
        block = torch.empty((sum(map(len, tokens)), tokens[0].shape[1]), device=tokens[0].device)
        parts = torch.split(block, [len(x) for x in tokens])
        return [_kept(part.copy_(x)) for part, x in zip(parts, tokens, strict=True)]
    by_gram = len(tokens[0]) <= _most_by_gram(tokens[0])
    found = _by_gram(tokens, k, seeds, room) if by_gram else _by_coordinates(tokens, k, seeds, room)
    return [one if len(one.counts) == k else _mended(x, one, k) for x, one in zip(tokens, found, strict=True)]


def _by_gram(tokens: list[Tensor], k: int, seeds: Sequence[int], room: Room) -> list[Clusters]:
    """By inner products alone: as exact, and cheaper than coordinates for few wide vectors."""
    n, width, device = _padded(tokens[0], k), tokens[0].shape[1], tokens[0].device
    x = room.take(len(tokens), n, width, device=device)
    for b, token in enumerate(tokens):
        x[b, : len(token)].copy_(token)
        x[b, len(token) :].zero_()
    sizes = torch.tensor([len(token) for token in tokens], device=device)
    pads = torch.arange(n, device=device) >= sizes.unsqueeze(1)
    # Squared lengths lose digits when the mean is far from 0, as hidden states' is.
    centred = x - (x.sum(dim=1) / sizes.unsqueeze(1)).unsqueeze(1)
    centred.masked_fill_(pads.unsqueeze(2), 0)
    space = Gram(centred @ centred.mT)
    labels, nearest, members = settled(space, plus_plus(space, k, seeds, pads), k, _LONGEST, pads)
    centroids = means(x, members, members.sum(dim=1))
    distances = _distances(x, centroids, labels, nearest, space.squares)
    return _in_order(centroids, labels, distances, [len(token) for token in tokens])


def _by_coordinates(tokens: list[Tensor], k: int, seeds: Sequence[int], room: Room) -> list[Clusters]:
    """By Lloyd's iterations on sketches, then on all coordinates; on all from the start where they are few."""
    n, width, device = _padded(tokens[0], k), tokens[0].shape[1], tokens[0].device
    narrow = width < 2 * _sketch(width)
    sketches = torch.zeros(len(tokens), n, width if narrow else _sketch(width), device=device)
    wides = [Wide(token, room) for token in tokens]
    for wide, token, sketch in zip(wides, tokens, sketches, strict=True):
        if narrow:
            sketch[: len(token)].copy_(token).sub_(wide.offset)
        else:
            wide.sketch(out=sketch[: len(token)])
    sizes = torch.tensor([len(token) for token in tokens], device=device).unsqueeze(1)
    pads = torch.arange(n, device=device) >= sizes
    rough = Rows(sketches, torch.linalg.vector_norm(sketches, dim=2).square_())
    few = torch.zeros_like(sizes) if narrow else (_SETTLED * sizes).long()
    labels, nearest, members = settled(rough, plus_plus(rough, k, seeds, pads), k, _LONGEST, pads, few)
    if narrow:
        centroids = means(sketches, members, members.sum(dim=1))
        distances = _distances(sketches, centroids, labels, nearest, rough.squares)
        centroids += torch.stack([wide.offset for wide in wides]).unsqueeze(1)
    else:
        unsure = _unsure(rough, labels, k)
        centroids = torch.empty(len(tokens), k, width, device=device)
        distances = torch.zeros(len(tokens), n, device=device)
        for b, wide in enumerate(wides):
            own = slice(len(tokens[b]))
            labels[b, own], centroids[b], distances[b, own] = wide.refined(labels[b, own], unsure[b, own], k, _FEW)
        distances.div_(width)
    found = _in_order(centroids, labels, distances, [len(token) for token in tokens])
    for token, one in zip(tokens, found, strict=True):
        alone = torch.nonzero(one.counts[one.labels] == 1).flatten()
        one.centroids[one.labels[alone]] = token[alone].float()  # to the last bit, which the offset took away
        one.distances[alone] = one.inertia[one.labels[alone]] = 0  # others may have left in the last iteration
    return found


def _unsure(x: Rows, labels: Tensor, k: int) -> Tensor:
    """(B, n) bool, which sketches are about as near to another mean as to the nearest."""
    members = one_hot(labels, k)
    far = x.scores(members, members.sum(dim=1)).add_(x.squares.unsqueeze(2))
    nearest, found = far.min(dim=2)
    return far.scatter_(2, found.unsqueeze(2), math.inf).amin(dim=2) < _UNSURE * nearest


def _sketch(width: int) -> int:
    """Coordinates of a sketch."""
    return _SKETCH if width >= _WIDE else _NARROW_SKETCH


def _distances(x: Tensor, centroids: Tensor, labels: Tensor, nearest: Tensor, squares: Tensor) -> Tensor:
    """(B, n) ‖h − c‖² / D to each one's own centroid: `nearest` and ‖h‖², or differences where digits would go."""
    found = (nearest + squares).clamp_(min=0)
    close = torch.nonzero((found < squares * CLOSE).flatten()).flatten()
    owners = labels + centroids.shape[1] * each(labels)
    for rows in torch.split(close, 64):
        own = centroids.flatten(0, 1)[owners.view(-1)[rows]]
        found.view(-1)[rows] = own.sub_(x.flatten(0, 1)[rows]).square_().sum(dim=1)
    return found.div_(x.shape[2])


def _in_order(centroids: Tensor, labels: Tensor, distances: Tensor, sizes: Sequence[int]) -> list[Clusters]:
    """Of each token: what has no member is dropped, the rest sorted by falling count."""
    members = one_hot(labels, centroids.shape[1])
    n = members.shape[1]
    counts = members.sum(dim=1).long()  # (B, k)
    firsts = torch.where(members > 0, torch.arange(n, device=labels.device).unsqueeze(1), n).amin(dim=1)
    order = (counts * (n + 1) - firsts).argsort(dim=1, descending=True)
    sums = (distances.double().unsqueeze(1) @ members.double()).squeeze(1)
    inertia = (sums / counts.clamp(min=1)).float().gather(1, order)
    labels = torch.nn.functional.pad(order.argsort(dim=1), (0, 1)).gather(1, labels)
    centroids = centroids[each(order), order]
    counts = counts.gather(1, order)
    kept = (counts > 0).sum(dim=1).tolist()
    return [
        Clusters(centroids[b, :m], counts[b, :m], inertia[b, :m], labels[b, :size], distances[b, :size])
        for b, (m, size) in enumerate(zip(kept, sizes, strict=True))
    ]


def _kept(x: Tensor) -> Clusters:
    """The different vectors as they are; (n, D) float32."""
    firsts = _firsts(x)
    counts = Counter(firsts)
    order = sorted(counts, key=lambda first: (-counts[first], first))
    place = {first: number for number, first in enumerate(order)}
    return Clusters(
        centroids=x if len(order) == len(x) else x[order],
        counts=torch.tensor([counts[first] for first in order], dtype=torch.int64, device=x.device),
        inertia=torch.zeros(len(order), device=x.device),
        labels=torch.tensor([place[first] for first in firsts], dtype=torch.int64, device=x.device),
        distances=torch.zeros(len(x), device=x.device),
    )


def _firsts(x: Tensor) -> list[int]:
    """Of each vector, the place of the first that is equal; (n, D) float32."""
    seen: dict[bytes, int] = {}
    return [seen.setdefault(row.tobytes(), i) for i, row in enumerate((x + 0.0).cpu().numpy())]  # −0 becomes 0


def _mended(x: Tensor, found: Clusters, k: int) -> Clusters:
    """Clusters of vectors of which rounding or a sketch told fewer than k apart.

    Where at least k are different, the one farthest from its centroid becomes a centroid until there are k.
    """
    x = x.float()
    if len(set(_firsts(x))) <= k:
        return _kept(x)
    centroids, labels, distances = found.centroids, found.labels, found.distances
    while len(centroids) < k and bool(distances.any()):
        centroids = torch.cat([centroids, x[distances.argmax()].unsqueeze(0)])
        far = torch.cdist(x, centroids, compute_mode="donot_use_mm_for_euclid_dist")
        distances, labels = far.min(dim=1)
        used = torch.bincount(labels, minlength=len(centroids)) > 0
        centroids, labels = centroids[used], (used.cumsum(0) - 1)[labels]
    distances = distances.square() / x.shape[1]
    (found,) = _in_order(centroids.unsqueeze(0), labels.unsqueeze(0), distances.unsqueeze(0), [len(x)])
    return found
