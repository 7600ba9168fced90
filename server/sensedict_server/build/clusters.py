"""The third stage of a build: k-means of each token's hidden states; the centroids are its senses (DSKD §3.1)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict_server.build.slices import States, read_states
from sensedict_server.build.workplace import Workplace

if TYPE_CHECKING:
    from sensedict_trainer.cluster import Clusters

_AT_ONCE = 20_000  # states clustered between two reports of progress
# Of a sense's mean square: states of one prefix differ by the rounding of batches, in bfloat16 by 2⁻⁸ of their length.
_ONE_POINT = 2**-14


def cluster_shard(shard: str, workplace: Workplace) -> None:
    """Cluster the hidden states of a range of tokens, and add their senses to the build.

    The file's tensors: `owners` (n,) int32 rising, `counts`, `inertia`, `vectors` (n, D) float16, as of `TokenSenses`;
    `member_windows`, `member_positions` (n, max(1, contexts)) int32, the states nearest each centroid, −1 for none;
    `near_senses`, `near_windows`, `near_positions` (s,) int32, all states of the senses that are one point; with key
    `predicted` `occurrences` (tokens of the range,) int64. The result is a function of the states alone.

    Args:
        shard: `cluster/G/NNNNNN`.

    Raises:
        LostShard: a shard of the harvest is damaged; it was taken out of the manifest.
        Unavailable: the store or the database does not answer.
    """
    started = time.monotonic()
    settings = workplace.settings
    states = read_states(shard, workplace)
    numbers = _numbers(workplace, states)
    clustered = _clustered(workplace, states, numbers)
    tensors, collapsed = _tensors(states, numbers, clustered, settings.contexts)
    if settings.key == "predicted":
        tensors["occurrences"] = states.occurrences
    facts = {"collapsed": collapsed, "senses": len(tensors["owners"])}
    workplace.add(shard, tensors, len(states.keys), time.monotonic() - started, facts)


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives torch one thread inside.

    A token's states are few: starting threads for each product takes longer than the product.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seed_of(seed: int, token: int) -> int:
    """The seed of a token's clusters, whatever is clustered beside it."""
    return seed * 1_000_003 + token


def _numbers(workplace: Workplace, states: States) -> NDArray[np.int64]:
    """(t,) most senses of each token that has states."""
    tokens = states.keys[states.by_token()[:-1]]
    settings = workplace.settings
    if settings.allocation == "fixed":
        return np.full(len(tokens), settings.k, dtype=np.int64)
    allocated = workplace.read("allocate")
    found: NDArray[np.int64] = allocated["k"][np.searchsorted(allocated["owners"], tokens)]
    return found


def _clustered(workplace: Workplace, states: States, numbers: NDArray[np.int64]) -> Iterator[Clusters]:
    """The clusters of each token, some thousands of states at once so that progress is told."""
    import torch

    from sensedict_trainer.cluster import cluster_each

    settings = workplace.settings
    vectors = torch.from_numpy(states.vectors)
    bounds = states.by_token().tolist()
    tokens = states.keys[bounds[:-1]].tolist()
    with one_thread():
        for first, end in _runs(bounds):
            found: dict[int, Clusters] = {}
            for k in np.unique(numbers[first:end]).tolist():
                rows = first + np.flatnonzero(numbers[first:end] == k)
                parts = [vectors[bounds[row] : bounds[row + 1]] for row in rows]
                seeds = [seed_of(settings.seed, tokens[row]) for row in rows]
                found |= zip(rows.tolist(), cluster_each(parts, k, seeds, settings.threads), strict=True)
            yield from (found[row] for row in range(first, end))
            workplace.advance(bounds[end] - bounds[first])


def _runs(bounds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, end) of tokens with about `_AT_ONCE` states."""
    first = 0
    for end in range(1, len(bounds)):
        if bounds[end] - bounds[first] >= _AT_ONCE or end == len(bounds) - 1:
            yield first, end
            first = end


def _tensors(
    states: States, numbers: NDArray[np.int64], clustered: Iterable[Clusters], contexts: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """What is written of each token's clusters, and how many tokens have fewer than they could: states were equal."""
    import torch

    bounds = states.by_token()
    most = np.minimum(numbers, np.diff(bounds))
    vectors = np.empty((int(most.sum()), states.vectors.shape[1]), dtype=np.float16)
    none = np.zeros(0, dtype=np.int64)
    owners, counts, inertia = [none], [none], [none.astype(np.float32)]
    members, near, near_senses = [np.zeros((0, max(1, contexts)), dtype=np.int64)], [none], [none]
    senses = collapsed = 0
    for token, found in enumerate(clustered):
        labels, start = found.labels.numpy(), int(bounds[token])
        owners.append(np.full(len(found.counts), states.keys[start]))
        counts.append(found.counts.numpy())
        inertia.append(found.inertia.numpy())
        members.append(_nearest(labels, found.distances.numpy(), max(1, contexts), start))
        one_point = found.inertia <= _ONE_POINT * found.centroids.square().mean(dim=1)
        rows = np.flatnonzero(one_point.numpy()[labels])
        near.append(start + rows)
        near_senses.append(senses + labels[rows])
        vectors[senses : senses + len(found.counts)] = found.centroids.to(torch.float16).numpy()
        senses += len(found.counts)
        collapsed += int(len(found.counts) < most[token])
    of_members, of_near = np.concatenate(members), np.concatenate(near)
    tensors: dict[str, NDArray[Any]] = {
        "owners": np.concatenate(owners).astype(np.int32),
        "counts": np.concatenate(counts),
        "inertia": np.concatenate(inertia),
        "vectors": vectors[:senses],
        "member_windows": _taken(states.windows, of_members),
        "member_positions": _taken(states.positions, of_members),
        "near_senses": np.concatenate(near_senses).astype(np.int32),
        "near_windows": _taken(states.windows, of_near),
        "near_positions": _taken(states.positions, of_near),
    }
    return tensors, collapsed


def _taken(values: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """The values of some rows; −1 where there is no row."""
    return np.append(values, np.int32(-1))[rows]


def _nearest(labels: NDArray[np.int64], distances: NDArray[np.float32], most: int, offset: int) -> NDArray[np.int64]:
    """(k, most) rows of each cluster's members nearest its centroid, −1 where it has fewer."""
    order = np.lexsort((np.arange(len(labels)), distances, labels))
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    rows = np.full((len(starts) - 1, most), -1, dtype=np.int64)
    for i, (first, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        found = order[first : min(end, first + most)] + offset
        rows[i, : len(found)] = found
    return rows
