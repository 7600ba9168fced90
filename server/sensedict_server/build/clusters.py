"""The third stage of a build: k-means of each token's hidden states; the centroids are its senses (DSKD §3.1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict_server.build.slices import States, read_states
from sensedict_server.build.workplace import Workplace

if TYPE_CHECKING:
    from sensedict_trainer.cluster import Clusters

PART = 10_000  # states at most of a part, but for one token's; progress is told after each
_WORTH = 1 << 27  # numbers of a shard's vectors, some seconds of work, from which on processes are started for it
# Of a sense's mean square: states of one prefix differ by the rounding of batches, in bfloat16 by 2⁻⁸ of their length.
_ONE_POINT = 2**-14


@dataclass(frozen=True)
class Part:
    """Neighbouring tokens of a shard, clustered together.

    Attributes:
        bounds: (t + 1,) where the states of each begin.
        numbers: (t,) most senses of each.
        seeds: (t,).
        contexts: states to be named of each sense, at least 1.
    """

    bounds: Sequence[int]
    numbers: Sequence[int]
    seeds: Sequence[int]
    contexts: int


@dataclass(frozen=True)
class PartSenses:
    """The senses of a part's tokens; states and senses are numbered in the part.

    Attributes:
        tokens: (s,) int64 rising, of the part; counts: (s,) int64; inertia: (s,) float32; vectors: (s, D) float16.
        members: (s, contexts) int64, the states nearest each, −1 for none.
        near_senses, near_states: (m,) int64, all states of the senses that are one point.
    """

    tokens: NDArray[np.int64]
    counts: NDArray[np.int64]
    inertia: NDArray[np.float32]
    vectors: NDArray[np.float16]
    members: NDArray[np.int64]
    near_senses: NDArray[np.int64]
    near_states: NDArray[np.int64]


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
    tensors, collapsed = _clustered(workplace, states, _numbers(workplace, states))
    if settings.key == "predicted":
        tensors["occurrences"] = states.occurrences
    facts = {"collapsed": collapsed, "senses": len(tensors["owners"])}
    workplace.add(shard, tensors, len(states.keys), time.monotonic() - started, facts)


def processes(threads: int, numbers: int) -> int:
    """How many cluster a shard with so many numbers in its vectors: what they find does not depend on it."""
    return threads if numbers >= _WORTH else 1


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


def cut(
    bounds: NDArray[np.int64], numbers: NDArray[np.int64], seeds: Sequence[int], contexts: int
) -> list[tuple[int, Part]]:
    """The parts of a shard with the number of each one's first token, an even number of about equal ones.

    Args:
        bounds: (t + 1,) where the states of each token begin; numbers, seeds: (t,), see `Part`.
    """
    total = int(bounds[-1])
    count = 2 * -(-total // (2 * PART))
    firsts = np.unique(np.searchsorted(bounds, np.arange(count + 1) * total / max(1, count))).tolist()
    return [
        (
            first,
            Part(
                (bounds[first : end + 1] - bounds[first]).tolist(),
                numbers[first:end].tolist(),
                seeds[first:end],
                contexts,
            ),
        )
        for first, end in pairwise(firsts)
    ]


def senses_of(vectors: NDArray[np.float16], part: Part) -> PartSenses:
    """The senses of a part, a function of its (n, D) states alone."""
    import torch

    from sensedict_trainer.cluster import cluster_each

    tokens = [torch.from_numpy(vectors[first:end]) for first, end in pairwise(part.bounds)]
    found: dict[int, Clusters] = {}
    for k in sorted(set(part.numbers)):
        rows = [row for row, number in enumerate(part.numbers) if number == k]
        seeds = [part.seeds[row] for row in rows]
        found |= zip(rows, cluster_each([tokens[row] for row in rows], k, seeds), strict=True)
    return _joined([found[row] for row in range(len(tokens))], part)


def _joined(clusters: Sequence[Clusters], part: Part) -> PartSenses:
    import torch

    sizes = [len(found.counts) for found in clusters]
    firsts = np.cumsum([0, *sizes])
    # One token after another into its place: all of them once more would be the most that a process ever holds.
    vectors = torch.empty((int(firsts[-1]), clusters[0].centroids.shape[1]), dtype=torch.float16)
    for place, found in zip(torch.split(vectors, sizes), clusters, strict=True):
        place.copy_(found.centroids)
    squares = torch.cat([found.centroids.square().mean(dim=1) for found in clusters])
    inertia = torch.cat([found.inertia for found in clusters])
    senses = np.concatenate(
        [found.labels.numpy() + first for found, first in zip(clusters, firsts[:-1].tolist(), strict=True)]
    )
    distances = torch.cat([found.distances for found in clusters]).numpy()
    one_point = (inertia <= _ONE_POINT * squares).numpy()
    near = np.flatnonzero(one_point[senses])
    return PartSenses(
        tokens=np.repeat(np.arange(len(sizes)), sizes),
        counts=torch.cat([found.counts for found in clusters]).numpy(),
        inertia=inertia.numpy(),
        vectors=vectors.numpy(),
        members=_nearest(senses, distances, part.contexts),
        near_senses=senses[near],
        near_states=near,
    )


def _clustered(workplace: Workplace, states: States, numbers: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], int]:
    """What is written of a shard, and how many tokens have fewer senses than they could: states were equal."""
    from sensedict_trainer.processes import Processes

    settings, bounds = workplace.settings, states.by_token()
    seeds = [seed_of(settings.seed, token) for token in states.keys[bounds[:-1]].tolist()]
    parts = cut(bounds, numbers, seeds, max(1, settings.contexts))
    tasks = [(states.vectors[bounds[first] : bounds[first + len(part.numbers)]], part) for first, part in parts]
    most = np.minimum(numbers, np.diff(bounds))
    vectors = np.empty((int(most.sum()), states.vectors.shape[1]), dtype=np.float16)
    found, senses = [_nothing(max(1, settings.contexts))], 0
    count = processes(settings.threads, states.vectors.size)
    with Processes(count, __name__, workplace.say) as pool, closing(pool.each(senses_of, tasks)) as results:
        for (first, _), (own, _), part in zip(parts, tasks, results, strict=True):
            found.append(_placed(part, first, int(bounds[first]), senses))
            vectors[senses : senses + len(part.counts)] = part.vectors
            senses += len(part.counts)
            workplace.advance(len(own))
    joined = {name: np.concatenate([some[name] for some in found]) for name in found[0]}
    members, near, tokens = joined["members"], joined["near_states"], joined["tokens"]
    tensors: dict[str, NDArray[Any]] = {
        "owners": states.keys[bounds[tokens]],
        "counts": joined["counts"],
        "inertia": joined["inertia"],
        "vectors": vectors[:senses],
        "member_windows": _taken(states.windows, members),
        "member_positions": _taken(states.positions, members),
        "near_senses": joined["near_senses"].astype(np.int32),
        "near_windows": _taken(states.windows, near),
        "near_positions": _taken(states.positions, near),
    }
    return tensors, int((np.bincount(tokens, minlength=len(most)) < most).sum())


def _nothing(contexts: int) -> dict[str, NDArray[Any]]:
    """As of `_placed`, of no part."""
    none = np.zeros(0, dtype=np.int64)
    members = np.zeros((0, contexts), dtype=np.int64)
    inertia = none.astype(np.float32)
    names = ("tokens", "counts", "near_senses", "near_states")
    return {**dict.fromkeys(names, none), "inertia": inertia, "members": members}


def _placed(part: PartSenses, token: int, state: int, sense: int) -> dict[str, NDArray[Any]]:
    """All but the vectors, numbered in the shard, where the part has its first token, state and sense at these."""
    return {
        "tokens": part.tokens + token,
        "counts": part.counts,
        "inertia": part.inertia,
        "members": np.where(part.members < 0, part.members, part.members + state),
        "near_senses": part.near_senses + sense,
        "near_states": part.near_states + state,
    }


def _taken(values: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """The values of some rows; −1 where there is no row."""
    return np.append(values, np.int32(-1))[rows]


def _nearest(senses: NDArray[np.int64], distances: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """(s, most) each sense's members nearest its centroid, −1 where it has fewer; no sense is without."""
    order = np.lexsort((distances, senses))
    bounds = np.searchsorted(senses[order], np.arange(senses.max() + 2))
    places = bounds[:-1, None] + np.arange(most)
    return np.where(places < bounds[1:, None], order[np.minimum(places, len(order) - 1)], -1)
