"""Reading what the harvest wrote: the hidden states of a range of tokens, a slice of each shard, verified."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import Corrupt
from sensedict_server.build.workplace import Workplace

if TYPE_CHECKING:
    from sensedict_trainer.streaming import Sums

_BLOCK = 32 << 20  # bytes of vectors that are read at once
_PLACES = ("keys", "windows", "positions")
_SUMS = ("sum_owners", "sum_ordinals", "sum_counts", "sum_squares", "sums")


@dataclass(frozen=True)
class States:
    """The kept hidden states of a range of tokens, by token and then in the order of the corpus.

    Attributes:
        keys: (m,) int32, the token under which each is kept.
        windows: (m,) int32, number of the window in the corpus; positions: (m,) int32, place in it.
        vectors: (m, D) float16.
        occurrences: (end_token − first_token,) int64, times the corpus had each token of the range as a key.
    """

    keys: NDArray[np.int32]
    windows: NDArray[np.int32]
    positions: NDArray[np.int32]
    vectors: NDArray[np.float16]
    occurrences: NDArray[np.int64]

    def by_token(self) -> NDArray[np.int64]:
        """(t + 1,) where the states of each token begin, of those that have any."""
        changes = np.flatnonzero(self.keys[1:] != self.keys[:-1]) + 1
        return np.r_[0, changes, len(self.keys)] if len(self.keys) else np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class _Slice:
    """Rows `start .. stop` of a harvest shard, where their checksum has come to after keys, windows and positions."""

    shard: str
    start: int
    stop: int
    expected: int
    checksum: int
    places: Mapping[str, NDArray[np.int32]]


def read_states(shard: str, workplace: Workplace) -> States:
    """The states that a shard of clusters is made of; memory holds them once.

    Of the key policy `predicted` all states were stored: here the cap is applied, by the same priorities as for keys
    that the text gives.

    Args:
        shard: `cluster/G/NNNNNN`.

    Raises:
        LostShard: a shard of the harvest is damaged; it was taken out of the manifest.
        Unavailable: the store does not answer.
    """
    wanted = workplace.made["plan"].facts["cluster"][shard]
    slices = [_places(workplace, name, *found) for name, found in _slices(workplace, shard, "slices")]
    keys, windows, positions = (
        np.concatenate([np.zeros(0, dtype=np.int32), *(part.places[name] for part in slices)]) for name in _PLACES
    )
    chosen, occurrences = _chosen(workplace, wanted, keys, windows, positions)
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(keys[rows], kind="stable")]  # shards are in the order of the corpus
    place = np.full(len(keys), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    vectors = _vectors(workplace, slices, place, len(rows))
    return States(keys[rows], windows[rows], positions[rows], vectors, occurrences)


def read_sums(shard: str, workplace: Workplace, owners: NDArray[np.int32]) -> Sums | None:
    """What later generations of the harvest added to the senses of a shard of clusters; None where nothing.

    Shards are added one after another in the order of the corpus, so that two of them are held at once.

    Args:
        shard: `cluster/G/NNNNNN`.
        owners: (n,) rising, the token of each of its senses.

    Raises:
        LostShard, Unavailable: as `read_states`.
    """
    import torch

    from sensedict_trainer.streaming import Sums, merge

    later: Sums | None = None
    for name, (start, stop, expected) in _slices(workplace, shard, "sums"):
        checksum, found = 0, {}
        for tensor in _SUMS:
            found[tensor] = _rows(workplace, name, tensor, start, stop)
            checksum = zlib.crc32(found[tensor].data, checksum)
        _verify(workplace, name, (start, stop), checksum, expected)
        rows = np.searchsorted(owners, found["sum_owners"]) + found["sum_ordinals"]
        part = Sums(
            senses=torch.from_numpy(rows.astype(np.int64)),
            counts=torch.from_numpy(found["sum_counts"].copy()),
            sums=torch.from_numpy(found["sums"].copy()),
            squares=torch.from_numpy(found["sum_squares"].copy()),
        )
        later = part if later is None else merge([later, part])
        workplace.advance(0)
    return later


def _slices(workplace: Workplace, shard: str, fact: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """(harvest shard, (start, stop, checksum)) of those with rows for the shard, in the order of the corpus."""
    windows = workplace.made["plan"].facts["harvest"]
    for name in sorted(windows, key=lambda name: int(windows[name]["first_window"])):
        if (_generation(name) > _generation(shard)) == (fact == "slices"):
            continue  # states are kept until a token's senses are settled, sums made from then on
        found = workplace.needed(name).facts.get(fact, {}).get(shard)
        if found is not None and found[0] < found[1]:
            yield name, tuple(found)


def _generation(shard: str) -> int:
    return int(shard.split("/")[1])


def _chosen(
    workplace: Workplace,
    wanted: Mapping[str, Any],
    keys: NDArray[np.int32],
    windows: NDArray[np.int32],
    positions: NDArray[np.int32],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which states the shard clusters, and how often the corpus had each of its tokens."""
    from sensedict_trainer.hashing import mix
    from sensedict_trainer.reservoir import keep

    plan, settings = workplace.read("plan"), workplace.settings
    first, end = wanted["first_token"], wanted["end_token"]
    if settings.key == "predicted":
        occurrences = np.bincount(keys - first, minlength=end - first).astype(np.int64)
        return keep(keys, mix(plan["window_keys"][windows], positions), settings.cap), occurrences
    return np.ones(len(keys), dtype=np.bool_), plan["occurrences"][first:end]


def _places(workplace: Workplace, name: str, start: int, stop: int, expected: int) -> _Slice:
    checksum, places = 0, {}
    for tensor in _PLACES:
        places[tensor] = _rows(workplace, name, tensor, start, stop)
        checksum = zlib.crc32(places[tensor].data, checksum)
    return _Slice(name, start, stop, expected, checksum, places)


def _vectors(
    workplace: Workplace, slices: Sequence[_Slice], place: NDArray[np.int64], count: int
) -> NDArray[np.float16]:
    """(count, D) the vectors of all slices, each at its place; −1 for those that are not wanted."""
    some = next(iter(workplace.made["plan"].facts["harvest"]))
    width = _rows(workplace, some, "vectors", 0, 0).shape[1]
    vectors = np.empty((count, width), dtype=np.float16)
    step, row = max(1, _BLOCK // (2 * width)), 0
    for part in slices:
        checksum = part.checksum
        for start in range(part.start, part.stop, step):
            block = _rows(workplace, part.shard, "vectors", start, min(start + step, part.stop))
            checksum = zlib.crc32(block.data, checksum)
            into = place[row : row + len(block)]
            vectors[into[into >= 0]] = block[into >= 0]
            row += len(block)
            workplace.advance(0)
        _verify(workplace, part.shard, (part.start, part.stop), checksum, part.expected)
    return vectors


def _rows(workplace: Workplace, name: str, tensor: str, start: int, stop: int) -> NDArray[Any]:
    try:
        return workplace.store.rows(workplace.made[name].file, tensor, start, stop)
    except Corrupt as error:
        raise workplace.lost(name, error) from error


def _verify(workplace: Workplace, name: str, rows: tuple[int, int], checksum: int, expected: int) -> None:
    if checksum != expected:
        error = Corrupt(f"rows {rows[0]} to {rows[1]} of {workplace.made[name].file} are not those that were written")
        raise workplace.lost(name, error)
