"""The first stage of a build: count the keys of a corpus, and choose by seed which hidden states will be kept.

The corpus is read several times from a `WindowLog`, some windows at once; nothing that is held grows with it but twelve
bytes a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError
from sensedict_server.build.cutting import HarvestCutter
from sensedict_server.build.plan import BuildPlan, BuildSettings, ClusterPart
from sensedict_server.build.windows import NO_KEY, WindowLog, Windows

# A shard of the harvest is what a stopped build loses at most: of a small corpus some twenty seconds of a small teacher
# on a laptop's CPU, of a large one the 512th part. Where sums are kept beside states, each shard has those of nearly
# every frequent token, and more shards are more bytes.
SHARD_TOKENS = 16_384
MOST_SHARDS = {"exact": 512, "streaming": 64}
# Hidden states of a shard of clusters.
SHARD_STATES = 20_000
MOST_CLUSTER_SHARDS = 256
SUMMED_AT_ONCE = 16_384  # hidden states that are added to sums together, at most
PLACE_BYTES = 12  # beside a hidden state's vector: key, window, position

_EVERY = np.uint64(2**64 - 1)
_CANDIDATE_BYTES = 64  # of a state that may be kept, while the thresholds are looked for
_POINTS = (1 / 8, 1 / 4, 1 / 2)  # of the corpus, where a token's senses may be settled


def make_plan(
    log: WindowLog,
    settings: BuildSettings,
    vocabulary_size: int,
    dim: int,
    advance: Callable[[int], object] = lambda tokens: None,
) -> BuildPlan:
    """Choose positions, of each key at most `settings.cap` (DSKD §3.1), and cut the work into shards.

    What is kept depends on the corpus, the seed and the cap alone, never on `settings.memory`.

    Args:
        advance: called often; what it raises ends the planning.

    Raises:
        ConfigurationError: the tokenizer has a token that the teacher's head has not.
    """
    bounds = _generations(log, settings)
    counted = _Counted(log, settings, bounds, lambda: advance(0))
    cumulative = counted.cumulative(vocabulary_size)
    occurrences = cumulative[-1]
    if settings.key == "predicted":  # the cap is applied when the teacher has named the keys
        settled = np.zeros(vocabulary_size, dtype=np.int8)
        thresholds = np.full(vocabulary_size, _EVERY)
    else:
        settled = _settled(cumulative, settings)
        thresholds = counted.thresholds(cumulative, settled)
    return _cut(counted, _Choice(settled, thresholds, occurrences), dim)


@dataclass(frozen=True)
class _Choice:
    """Which states are kept: see `BuildPlan`."""

    settled: NDArray[np.int8]
    thresholds: NDArray[np.uint64]
    occurrences: NDArray[np.int64]


def kept(
    windows: Windows,
    keys: NDArray[np.int32],
    generation: int,
    settled: NDArray[np.int8],
    thresholds: NDArray[np.uint64],
) -> NDArray[np.bool_]:
    """(n,) which positions of windows of a generation have a hidden state that is kept to be clustered.

    Args:
        keys: (n,) as `windows.keys` gives them.
        settled, thresholds: of the plan.
    """
    here: NDArray[np.bool_] = (keys != NO_KEY) & (settled[keys] >= generation)
    here &= windows.priorities <= thresholds[keys]
    return here


def later(keys: NDArray[np.int32], generation: int, settled: NDArray[np.int8]) -> NDArray[np.bool_]:
    """(n,) which positions of windows of a generation have a state that only moves the mean of a settled sense."""
    found: NDArray[np.bool_] = (keys != NO_KEY) & (settled[keys] < generation)
    return found


def summed_at_once(settings: BuildSettings, dim: int) -> int:
    """Hidden states that are held to be added to the sums of settled senses: an eighth of the memory, or fewer."""
    return max(1, min(SUMMED_AT_ONCE, settings.memory // 8 // (2 * dim)))


def _generations(log: WindowLog, settings: BuildSettings) -> list[int]:
    """Numbers of the windows at which generations begin, and of all: a mean may be settled where one ends."""
    points = [log.tokens * point for point in _POINTS] if settings.mode == "streaming" else []
    inner = np.searchsorted(log.ends, points, side="right").tolist()
    bounds = [0, *inner, len(log.lengths)]
    return sorted(set(bounds))


def _settled(cumulative: NDArray[np.int64], settings: BuildSettings) -> NDArray[np.int8]:
    """(V,) the generation in which each key's senses are made; −1 of those that the corpus has not."""
    from sensedict_trainer.streaming import settled_at

    found = settled_at(cumulative, settings.first)
    return np.where(cumulative[-1] > 0, found, -1).astype(np.int8)


@dataclass(frozen=True)
class _Counted:
    """Passes over the corpus."""

    log: WindowLog
    settings: BuildSettings
    bounds: list[int]
    tick: Callable[[], object]

    @property
    def cap(self) -> int:
        """Most states kept of one key."""
        return self.settings.first if self.settings.mode == "streaming" else self.settings.cap

    def blocks(self) -> Iterator[tuple[int, Windows, NDArray[np.int32]]]:
        """(generation, windows, keys), once over the corpus."""
        for generation, (start, stop) in enumerate(pairwise(self.bounds)):
            for windows in self.log.blocks(start, stop):
                self.tick()
                yield generation, windows, windows.keys(self.settings.key)

    def cumulative(self, vocabulary_size: int) -> NDArray[np.int64]:
        """(G, V) uses of each key up to the end of each generation."""
        counts = np.zeros((len(self.bounds) - 1, vocabulary_size), dtype=np.int64)
        for generation, windows, keys in self.blocks():
            check_tokens(windows.ids, vocabulary_size)
            counts[generation] += np.bincount(keys[keys != NO_KEY], minlength=vocabulary_size)
        return np.cumsum(counts, axis=0)

    def thresholds(self, cumulative: NDArray[np.int64], settled: NDArray[np.int8]) -> NDArray[np.uint64]:
        """(V,) the highest priority that is kept of each key: that of the cap-th lowest up to where it is settled.

        Priorities are uniform, so that the cap-th lowest of n lies near the (cap / n)-th part of all numbers: only
        those that lie not far above it are sorted, and where they are fewer than the cap, which happens once in a
        billion keys, a wider part is looked at.
        """
        found = np.full(len(settled), _EVERY)
        uses = cumulative[settled.clip(0), np.arange(len(settled))]
        wanted = np.flatnonzero(uses > self.cap)
        spread = 6.0  # standard deviations
        while len(wanted):
            most = self.cap + spread * self.cap**0.5 + 20
            at_once = max(1, int(self.settings.memory // 4 // (_CANDIDATE_BYTES * most)))
            missed = [
                self._threshold(found, wanted[start : start + at_once], most / uses.clip(1), settled)
                for start in range(0, len(wanted), at_once)
            ]
            wanted, spread = np.concatenate(missed), spread * 2
        return found

    def _threshold(
        self,
        found: NDArray[np.uint64],
        wanted: NDArray[np.int64],
        share: NDArray[np.float64],
        settled: NDArray[np.int8],
    ) -> NDArray[np.int64]:
        """Set the thresholds of some keys; gives those of which too few candidates were looked at."""
        limits = np.zeros(len(found), dtype=np.uint64)
        limits[wanted] = (np.minimum(share[wanted], 1 - 2**-53) * 2.0**64).astype(np.uint64)
        keys_found, priorities_found = [], []
        for generation, windows, keys in self.blocks():
            rows = np.flatnonzero(kept(windows, keys, generation, settled, limits))
            keys_found.append(keys[rows])
            priorities_found.append(windows.priorities[rows])
        keys, priorities = np.concatenate(keys_found), np.concatenate(priorities_found)
        keys_found.clear()
        priorities_found.clear()
        priorities = priorities[np.lexsort((priorities, keys))]
        counts = np.bincount(keys, minlength=len(found))
        starts = np.cumsum(counts) - counts
        enough = wanted[counts[wanted] >= self.cap]
        found[enough] = priorities[starts[enough] + self.cap - 1]
        return wanted[counts[wanted] < self.cap]


def check_tokens(ids: NDArray[np.int32], vocabulary_size: int) -> None:
    """Let pass tokens that the teacher has.

    Raises:
        ConfigurationError: its tokenizer gave one beyond its head.
    """
    if len(ids) and int(ids.max()) >= vocabulary_size:
        raise ConfigurationError(
            f"the teacher's tokenizer gives token {int(ids.max())}, and its head has {vocabulary_size}: the folder's "
            "tokenizer belongs to another model"
        )


def _cut(counted: _Counted, choice: _Choice, dim: int) -> BuildPlan:
    """The plan, with the shards of both stages."""
    log, settings = counted.log, counted.settings
    state_bytes = 2 * dim + PLACE_BYTES
    # Sorted after the pass, where only the teacher knows the keys: two copies then.
    room = settings.memory // (4 if settings.key == "predicted" else 2)
    cutter = HarvestCutter(
        tokens=max(SHARD_TOKENS, -(-log.tokens // MOST_SHARDS[settings.mode])),
        states=room // state_bytes,
        keys=room // (10 * dim * settings.k),  # senses in float16, their sums in float32, and those once more
        seen=np.zeros(len(choice.settled), dtype=np.bool_),
    )
    stored = np.zeros(len(choice.settled), dtype=np.int64)
    run = np.zeros(len(log.lengths), dtype=np.bool_)
    for generation, windows, keys in counted.blocks():
        if settings.key == "predicted":
            mine = np.ones(len(keys), dtype=np.bool_)
            rest = ~mine
        else:
            mine = kept(windows, keys, generation, choice.settled, choice.thresholds)
            rest = later(keys, generation, choice.settled)
            stored += np.bincount(keys[mine], minlength=len(stored))
        needed = np.add.reduceat(mine | rest, windows.starts)
        run[windows.first : windows.first + len(needed)] = needed > 0
        cutter.add(generation, windows, mine, np.where(rest, keys, NO_KEY))
    known = settings.key != "predicted"
    states = stored if known else choice.occurrences
    return BuildPlan(
        occurrences=choice.occurrences if known else np.full_like(stored, -1),
        thresholds=choice.thresholds,
        settled=choice.settled,
        stored=stored if known else np.full_like(stored, -1),
        draws=log.draws,
        lengths=log.lengths,
        run=run,
        harvest=cutter.finished(),
        cluster=_cluster_parts(states, choice.settled, room // 2 // state_bytes),
        generations=len(counted.bounds) - 1,
        corpus_hash=log.text_hash,
    )


def _cluster_parts(states: NDArray[np.int64], settled: NDArray[np.int8], room: int) -> dict[str, ClusterPart]:
    """Ranges of tokens, those of each generation by name; together they are the whole vocabulary."""
    wanted = max(SHARD_STATES, -(-int(states.sum()) // MOST_CLUSTER_SHARDS))
    most = max(1, min(wanted, room))
    parts: dict[str, ClusterPart] = {}
    for generation in range(int(settled.max(initial=0)) + 1):
        total = np.cumsum(np.where(settled == generation, states, 0))
        first = before = number = 0
        while before < total[-1]:
            end = int(np.searchsorted(total, before + most, side="right"))
            end = max(end, int(np.searchsorted(total, before, side="right")) + 1)  # one token, however many it has
            if total[end - 1] == total[-1]:
                end = len(total)
            parts[f"cluster/{generation}/{number:06d}"] = ClusterPart(
                generation, first, end, int(total[end - 1]) - before
            )
            first, before, number = end, int(total[end - 1]), number + 1
    return parts
