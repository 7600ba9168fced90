"""Reading what the harvest wrote: the hidden states of a range of tokens, a slice of each shard, verified."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import Corrupt
from sensedict_server.build.store import Rows
from sensedict_server.build.sums import SUMS
from sensedict_server.build.workplace import LostShard, Workplace
from sensedict_server.queries.builds import Shard

if TYPE_CHECKING:
    from sensedict_trainer.streaming import Sums

_BLOCK = 32 << 20  # bytes of vectors that are read at once
_PLACES = ("keys", "windows", "positions")
STATES = (*_PLACES, "vectors")  # arrays of a shard of the harvest


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
    """Rows `start .. stop` of a harvest shard; `expected` is the crc32 over those of all arrays, one after another."""

    shard: Shard
    start: int
    stop: int
    expected: int

    def rows(self, tensor: str) -> Rows:
        """Of one array."""
        return Rows(self.shard.file, tensor, self.start, self.stop)


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
    wanted = workplace.needed("plan").facts["cluster"][shard]
    slices = _slices(workplace, shard, "slices")
    read = iter(_read(workplace, [(part.shard, part.rows(tensor)) for part in slices for tensor in _PLACES]))
    places = [[next(read) for _ in _PLACES] for _ in slices]
    checksums = [_checksum(some) for some in places]
    none = np.zeros(0, dtype=np.int32)
    keys, windows, positions = (np.concatenate([none, *(some[i] for some in places)]) for i in range(3))
    chosen, occurrences = _chosen(workplace, wanted, keys, windows, positions)
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(keys[rows], kind="stable")]  # shards are in the order of the corpus
    place = np.full(len(keys), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    vectors = _vectors(workplace, slices, checksums, place, len(rows))
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
    for part in _slices(workplace, shard, "sums"):
        found = dict(zip(SUMS, _read(workplace, [(part.shard, part.rows(tensor)) for tensor in SUMS]), strict=True))
        _verify(workplace, part, _checksum(found.values()))
        rows = np.searchsorted(owners, found["sum_owners"]) + found["sum_ordinals"]
        summed = Sums(
            senses=torch.from_numpy(rows.astype(np.int64)),
            counts=torch.from_numpy(found["sum_counts"].copy()),
            sums=torch.from_numpy(found["sums"].copy()),
            squares=torch.from_numpy(found["sum_squares"].copy()),
        )
        later = summed if later is None else merge([later, summed])
        workplace.advance(0)
    return later


def _slices(workplace: Workplace, shard: str, fact: str) -> list[_Slice]:
    """What shards of the harvest have of a shard of clusters, in the order of the corpus.

    Raises:
        LostShard: one of them is not there, or is of another plan.
    """
    windows = workplace.needed("plan").facts["harvest"]
    made = workplace.manifest.harvests_for(shard, fact)
    found = []
    for name in sorted(windows, key=lambda name: int(windows[name]["first_window"])):
        if (_generation(name) > _generation(shard)) == (fact == "slices"):
            continue  # states are kept until a token's senses are settled, sums made from then on
        if name not in made:
            raise LostShard(f"{name} of {workplace.build.ref} is not there; it is made again", name)
        workplace.check_plan(made[name])
        start, stop, expected = made[name].facts["rows"] or (0, 0, 0)
        if start < stop:
            found.append(_Slice(made[name], start, stop, expected))
    return found


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

    plan, settings = workplace.plan, workplace.settings
    first, end = wanted["first_token"], wanted["end_token"]
    if settings.key == "predicted":
        occurrences = np.bincount(keys - first, minlength=end - first).astype(np.int64)
        return keep(keys, mix(plan["window_keys"][windows], positions), settings.cap), occurrences
    return np.ones(len(keys), dtype=np.bool_), plan["occurrences"][first:end]


def _vectors(
    workplace: Workplace, slices: Sequence[_Slice], checksums: Sequence[int], place: NDArray[np.int64], count: int
) -> NDArray[np.float16]:
    """(count, D) the vectors of all slices, each at its place; −1 for those that are not wanted.

    Args:
        checksums: what those of the slices have come to before the vectors.
    """
    from sensedict_trainer.processes import shared

    some_shard = workplace.needed(next(iter(workplace.needed("plan").facts["harvest"])))
    (like,) = _read(workplace, [(some_shard, Rows(some_shard.file, "vectors", 0, 0))])
    vectors = shared(count, like.shape[1])
    reached, row = list(checksums), 0
    for some in _batches(slices, max(1, _BLOCK // (2 * like.shape[1]))):
        blocks = _read(workplace, [(slices[i].shard, part) for i, part in some])
        for (i, part), block in zip(some, blocks, strict=True):
            reached[i] = zlib.crc32(block.data, reached[i])
            into = place[row : row + len(block)]
            vectors[into[into >= 0]] = block[into >= 0]
            row += len(block)
            if part.stop == slices[i].stop:
                _verify(workplace, slices[i], reached[i])
        workplace.advance(0)
    return vectors


def _batches(slices: Sequence[_Slice], most: int) -> Iterator[list[tuple[int, Rows]]]:
    """The vectors of all slices in their order, `most` rows at once: (number of the slice, rows of it)."""
    batch: list[tuple[int, Rows]] = []
    room = most
    for i, part in enumerate(slices):
        start = part.start
        while start < part.stop:
            stop = min(part.stop, start + room)
            batch.append((i, Rows(part.shard.file, "vectors", start, stop)))
            room -= stop - start
            start = stop
            if not room:
                yield batch
                batch, room = [], most
    if batch:
        yield batch


def _read(workplace: Workplace, wanted: Sequence[tuple[Shard, Rows]]) -> list[NDArray[Any]]:
    """Rows of shards of the harvest, asked for together."""
    found = []
    for (shard, _), rows in zip(wanted, workplace.store.rows([rows for _, rows in wanted]), strict=True):
        if isinstance(rows, Corrupt):
            raise workplace.lost(shard, rows) from rows
        found.append(rows)
    return found


def _checksum(tensors: Iterable[NDArray[Any]]) -> int:
    checksum = 0
    for tensor in tensors:
        checksum = zlib.crc32(tensor.data, checksum)
    return checksum


def _verify(workplace: Workplace, part: _Slice, checksum: int) -> None:
    if checksum != part.expected:
        rows = f"rows {part.start} to {part.stop} of {part.shard.file}"
        raise workplace.lost(part.shard, Corrupt(f"{rows} are not those that were written"))
