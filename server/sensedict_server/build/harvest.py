"""The second stage of a build: the teacher reads the corpus, and its hidden states go to shards in the store."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import Corrupt, Mismatch
from sensedict_server.build.plan import BuildSettings, ClusterPart, HarvestPart
from sensedict_server.build.planning import kept, later, summed_at_once
from sensedict_server.build.slices import STATES
from sensedict_server.build.sums import SUMS, SettledSenses
from sensedict_server.build.windows import Windows
from sensedict_server.build.workplace import Workplace

if TYPE_CHECKING:
    from sensedict_trainer.state_points import StatePoint
    from sensedict_trainer.teacher import Teacher

_CHECKED = 64  # tokens on which the teacher's head is compared with its logits


@dataclass(frozen=True)
class _Chosen:
    """Positions of a shard's windows whose hidden states are wanted, and where each state goes.

    Attributes:
        windows: of the shard.
        keys: (n,) of all positions, as the text gives them.
        mine: (n,) kept to be clustered; rest: (n,) only summed.
        slots: (n,) int64, row of the buffer for positions that are kept.
        kept: how many are.
    """

    windows: Windows
    keys: NDArray[np.int32]
    mine: NDArray[np.bool_]
    rest: NDArray[np.bool_]
    slots: NDArray[np.int64]
    kept: int


def harvest_shard(shard: str, workplace: Workplace) -> None:
    """Run the teacher over a shard's windows, and add their hidden states to the build.

    The file's tensors: `keys`, `windows` (number in the corpus), `positions` (m,) int32 and `vectors` (m, D) float16,
    by the generation in which a key is settled, key, window and position, so that what a shard of clusters reads is one
    slice; its start, stop and crc32 over the slices of all four are in the manifest. In later generations of the mode
    `streaming` also sums of states about settled senses, see `sensedict_server.build.sums`.

    Raises:
        ConfigurationError: the teacher's hidden states are not what its head reads.
        Mismatch: the teacher is not the one that the build was planned with.
        NotFinite: a hidden state is no finite float16.
        LostShard: the plan, or a shard of clusters, is damaged; it was taken out of the manifest.
        Unavailable: the store or the database does not answer.
    """
    from sensedict_trainer.state_points import parse_state_point

    started = time.monotonic()
    settings = workplace.settings
    part = HarvestPart(**workplace.needed("plan").facts["harvest"][shard])
    plan = workplace.plan
    chosen = _choose(read_windows(workplace, shard, part), part, settings, plan)
    point = parse_state_point(settings.state_point)
    with _threads(settings.threads):
        teacher = _loaded(workplace).teacher
        point.check(teacher.layers, settings.key)
        _begin(workplace, teacher, chosen, point)
        tensors, sums = _run(workplace, teacher, chosen, point, part, plan["settled"])
    facts = {"corpus_hash": workplace.needed("plan").facts["corpus_hash"]}
    parts = {name: ClusterPart(**found) for name, found in workplace.needed("plan").facts["cluster"].items()}
    facts |= {"slices": _slices(parts, plan["settled"], tensors["keys"], [tensors[name] for name in STATES])}
    if sums:
        facts |= {"sums": _slices(parts, plan["settled"], sums["sum_owners"], [sums[name] for name in SUMS])}
    workplace.add(shard, tensors | sums, part.run_tokens, time.monotonic() - started, facts)


def read_windows(workplace: Workplace, shard: str, part: HarvestPart) -> Windows:
    """The windows of a shard of the harvest, from the file that the plan has written.

    Raises:
        LostShard: it is damaged or gone; the plan is made again, and its files.
        Unavailable: the store does not answer.
    """
    found = workplace.needed("plan").facts["token_files"][shard]
    try:
        tensors = workplace.store.read(found["file"], found["sha256"])
    except Corrupt as error:
        raise workplace.lost(workplace.needed("plan"), error) from error
    return Windows.from_tensors(part.first_window, tensors)


def _choose(windows: Windows, part: HarvestPart, settings: BuildSettings, plan: Mapping[str, NDArray[Any]]) -> _Chosen:
    keys = windows.keys(settings.key)
    if settings.key == "predicted":  # all are kept, in the order of the text until the keys are known
        everything = np.ones(len(keys), dtype=np.bool_)
        return _Chosen(windows, keys, everything, ~everything, np.arange(len(keys)), len(keys))
    mine = kept(windows, keys, part.generation, plan["settled"], plan["thresholds"])
    rows = np.flatnonzero(mine)
    slots = np.full(len(keys), -1, dtype=np.int64)
    slots[rows[_order(keys[rows], plan["settled"])]] = np.arange(len(rows))
    return _Chosen(windows, keys, mine, later(keys, part.generation, plan["settled"]), slots, len(rows))


def _order(keys: NDArray[np.int32], settled: NDArray[np.int8]) -> NDArray[np.int64]:
    """Where states stand in the file: by the generation of their key, by key, and then as they come."""
    return np.lexsort((keys, settled[keys]))


def _run(
    workplace: Workplace,
    teacher: Teacher,
    chosen: _Chosen,
    point: StatePoint,
    part: HarvestPart,
    settled: NDArray[np.int8],
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The tensors of the states that are kept, and of the sums, if there are any."""
    from sensedict_trainer.harvest import harvest_into

    windows, predicted = chosen.windows, None
    at_once = summed_at_once(workplace.settings, teacher.dim)
    most = at_once + int(windows.lengths.max())  # whole windows
    buffer = np.empty((chosen.kept + min(int(chosen.rest.sum()), most), teacher.dim), dtype=np.float16)
    if workplace.settings.key == "predicted":
        predicted = np.empty(chosen.kept, dtype=np.int32)
    senses = None
    if chosen.rest.any():
        senses = SettledSenses.read(workplace, part.generation, np.unique(chosen.keys[chosen.rest]), len(settled))
    for first, end in _runs(chosen, at_once):
        slots = chosen.slots.copy()
        rest = np.flatnonzero(chosen.rest[first:end]) + first
        slots[rest] = chosen.kept + np.arange(len(rest))
        some = _split(chosen, slots, first, end)
        harvest_into(
            teacher, *some, buffer, workplace.settings.batch_size, workplace.advance, predicted=predicted, point=point
        )
        if senses is not None and len(rest):
            senses.add(buffer[chosen.kept : chosen.kept + len(rest)], chosen.keys[rest])
    rows = np.flatnonzero(chosen.mine)
    keys = chosen.keys[rows] if predicted is None else predicted
    order = _order(keys, settled)
    vectors = buffer[: chosen.kept] if predicted is None else buffer[order]
    tensors = {
        "keys": keys[order],
        "windows": (windows.places[rows] + np.int32(windows.first))[order],
        "positions": windows.positions[rows][order],
        "vectors": vectors,
    }
    return tensors, {} if senses is None else senses.tensors(settled)


def _runs(chosen: _Chosen, at_once: int) -> Iterator[tuple[int, int]]:
    """(first, end) of the tokens of windows that the teacher reads together; all, unless there are too many to sum."""
    ends = chosen.windows.starts + chosen.windows.lengths
    summed = np.cumsum(chosen.rest)[ends - 1]
    first = before = 0
    while first < len(chosen.keys):
        stop = int(np.searchsorted(summed, before + at_once, side="right"))
        stop = max(stop, int(np.searchsorted(ends, first, side="right")) + 1)
        end = int(ends[stop - 1])
        yield first, end
        first, before = end, int(summed[stop - 1])


def _split(
    chosen: _Chosen, slots: NDArray[np.int64], first: int, end: int
) -> tuple[list[Any], list[NDArray[np.int32]], list[NDArray[np.int64]]]:
    """Windows of the tokens `first .. end`, the wanted positions of each, and their rows in the buffer."""
    windows = chosen.windows
    start, stop = int(windows.places[first]), int(windows.places[end - 1]) + 1
    wanted = np.flatnonzero((chosen.mine | chosen.rest)[first:end]) + first
    cuts = np.searchsorted(wanted, windows.starts[start + 1 : stop])
    return windows.split()[start:stop], np.split(windows.positions[wanted], cuts), np.split(slots[wanted], cuts)


def _slices(
    parts: Mapping[str, ClusterPart],
    settled: NDArray[np.int8],
    keys: NDArray[np.int32],
    tensors: Sequence[NDArray[Any]],
) -> dict[str, list[int]]:
    """Of each shard of clusters that has any rows: start, stop, and crc32 over these rows of all tensors.

    Args:
        keys: of the rows, by generation and then rising.
    """
    order = settled[keys].astype(np.int64) * len(settled) + keys
    found = {}
    for name, part in parts.items():
        base = part.generation * len(settled)
        start, stop = np.searchsorted(order, [base + part.first_token, base + part.end_token]).tolist()
        if start < stop:
            checksum = 0
            for tensor in tensors:
                checksum = zlib.crc32(tensor[start:stop].data, checksum)
            found[name] = [start, stop, checksum]
    return found


@dataclass(frozen=True)
class _Loaded:
    """A teacher with the builds that this process has begun to harvest with it."""

    teacher: Teacher
    begun: set[int] = field(default_factory=set)


@lru_cache(maxsize=1)
def _read_teacher(name: str, dtype: str, device: str, fingerprint: str | None) -> _Loaded:
    """The teacher, anew when other weights are wanted: a folder may be written over."""
    from sensedict_trainer.teacher import load_teacher

    return _Loaded(load_teacher(name, dtype, device))


def _loaded(workplace: Workplace) -> _Loaded:
    """The teacher of the build, loaded once in a process."""
    settings, wanted = workplace.settings, (workplace.build.content or {}).get("teacher")
    loaded = _read_teacher(settings.teacher, settings.dtype, workplace.device, wanted)
    if wanted not in (None, loaded.teacher.fingerprint):
        _read_teacher.cache_clear()  # the folder may be mended
        raise Mismatch(
            f"the teacher {settings.teacher!r} of {workplace.worker} is not the one that {workplace.build.ref} was "
            f"begun with: weights {loaded.teacher.fingerprint} here, {wanted} there"
        )
    return loaded


def _begin(workplace: Workplace, teacher: Teacher, chosen: _Chosen, point: StatePoint) -> None:
    """Before the first shard of a build in this process: check the teacher, and say how long the pass will take."""
    from sensedict_trainer.harvest import harvest_into
    from sensedict_trainer.text import pad_windows

    begun = _loaded(workplace).begun
    if workplace.build.id in begun:
        return
    windows, wanted, _ = _split(chosen, chosen.slots, 0, len(chosen.keys))
    if point.layer is None:
        ids, mask = pad_windows(windows[:1], teacher.device)
        teacher.check_state_point(ids[:, :_CHECKED], mask[:, :_CHECKED])
    some = [i for i, positions in enumerate(wanted) if len(positions)][: workplace.settings.batch_size]
    if not some:
        return
    rows = np.split(np.arange(sum(len(wanted[i]) for i in some)), np.cumsum([len(wanted[i]) for i in some])[:-1])
    nowhere = np.empty((sum(map(len, rows)), teacher.dim), dtype=np.float16)
    predicted = np.empty(len(nowhere), dtype=np.int32) if workplace.settings.key == "predicted" else None
    before = time.perf_counter()
    harvest_into(
        teacher,
        [windows[i] for i in some],
        [wanted[i] for i in some],
        rows,
        nowhere,
        workplace.settings.batch_size,
        predicted=predicted,
        point=point,
    )
    rate = sum(len(windows[i].ids) for i in some) / (time.perf_counter() - before)
    parts = workplace.needed("plan").facts["harvest"]
    left = sum(int(part["run_tokens"]) for name, part in parts.items() if name not in workplace.made)
    minutes = left / rate / 60
    workplace.say(f"time: about {minutes:,.1f} minutes for the pass, {left:,} tokens at {rate:,.0f} a second")
    begun.add(workplace.build.id)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Gives torch so many threads inside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
