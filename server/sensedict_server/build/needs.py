"""What a build will need, said before it runs: the teacher's work, and bytes of disk, which must be there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError
from sensedict_server.build.clusters import PART, processes
from sensedict_server.build.plan import BuildPlan, BuildSettings
from sensedict_server.build.planning import PLACE_BYTES, summed_at_once
from sensedict_server.build.words import MOST_TOKENS

if TYPE_CHECKING:
    from sensedict_trainer.outline import Outline

_ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}
_STEPS = (1, 2, 10, 20, 100, 500)  # where rows of the table of keys begin
_SENSE = 16  # beside a sense's vector in a shard of clusters: owner, count, inertia
_MEMBER = 8  # a hidden state nearest a sense, whose passage will be shown
_POINT = 12  # a hidden state of a sense that is one point
_CURVE = 112  # of a token, where the number of senses is adaptive
_SUM = 22  # beside a sum's vector: owner, ordinal, count, square
_PASSAGE = 135  # its text, and where the token stands in it
_TEXT = 12  # beside a window's tokens: its length, and what draws are keyed by
_LIBRARIES = 700_000_000  # bytes of memory: python, torch and transformers with nothing loaded
_HELPERS, _HELPER = 200_000_000, 60_000_000  # those of k-means' processes: what they share, and each alone
_FOUND = 16  # bytes a number of a part, most where tokens have few states: senses in float32 and float16, and holes
_PASS = 32  # numbers that a pass holds of a token at once, a unit of D: the widest layer's, and residuals
_WORD, _SHOWN = 400, 40  # bytes of memory of a word, and of where a passage stands


@dataclass(frozen=True)
class Needs:
    """Numbers of a build that is planned; bytes, but for the first two.

    Attributes:
        run_tokens: of the windows that the teacher reads: those with a hidden state to keep or to add.
        flops: of the teacher's pass.
        text, shards, clusters: in the store; shards are those of the harvest, clusters at most.
        exact: hidden states that the mode `exact` would keep, in the store; None where only the teacher knows the keys.
        vectors, passages: in the file set, at most.
        weights: of the teacher as it runs, in memory.
        process: of memory beside them, in the largest stage.
        kept: (V,) hidden states kept of each key; None where only the teacher knows the keys.
    """

    run_tokens: int
    flops: int
    text: int
    shards: int
    clusters: int
    exact: int | None
    vectors: int
    passages: int
    weights: int
    process: int
    kept: NDArray[np.int64] | None

    @property
    def store(self) -> int:
        """All that is written to the store."""
        return self.text + self.shards + self.clusters

    @property
    def file_set(self) -> int:
        """What is published, but for small things; as much stands beside it while it is put together."""
        return self.vectors + self.passages


def needs_of(plan: BuildPlan, settings: BuildSettings, outline: Outline, words: Sequence[Sequence[int]]) -> Needs:
    """Count what a build will need.

    Args:
        words: the tokens of every word of the lexicon's relations; those of several get senses of their own.
    """
    from sensedict_trainer.state_points import parse_state_point

    lengths = plan.lengths[plan.run].tolist()
    headed = plan.kept if settings.key == "predicted" else 0
    share = (parse_state_point(settings.state_point).layer or outline.layers) / outline.layers
    senses, of_words, keys = _senses(plan, settings, outline, words)
    vector = 2 * outline.dim
    summed = sum(min(part.summed, settings.k * part.summed_keys) for part in plan.harvest.values())
    clusters = senses * (vector + _SENSE + _MEMBER * max(1, settings.contexts)) + plan.kept * _POINT
    return Needs(
        run_tokens=sum(lengths),
        flops=int(share * outline.flops(lengths, 0)) + outline.flops([], headed),
        text=4 * plan.tokens + _TEXT * len(plan.lengths),
        shards=plan.kept * (vector + PLACE_BYTES) + summed * (2 * vector + _SUM),
        clusters=clusters + (keys * _CURVE if settings.allocation == "adaptive" else 0),
        exact=None if settings.key == "predicted" else _exact(plan, settings) * (vector + PLACE_BYTES),
        vectors=(senses + of_words) * vector,
        passages=senses * settings.contexts * _PASSAGE,
        weights=outline.parameters * _ITEM[settings.dtype],
        process=_process(plan, settings, outline, senses, len(words)),
        kept=None if settings.key == "predicted" else plan.stored,
    )


def _senses(
    plan: BuildPlan, settings: BuildSettings, outline: Outline, words: Sequence[Sequence[int]]
) -> tuple[int, int, int]:
    """Senses of tokens and of words, at most, and tokens that have any."""
    k = settings.k if settings.allocation == "fixed" else settings.k_most
    composed = np.array([ids[0] for ids in words if 1 < len(ids) <= MOST_TOKENS], dtype=np.int64)
    if settings.key == "predicted":
        of_each, keys = np.full(outline.vocabulary_size, k), outline.vocabulary_size
        senses = min(plan.kept, k * keys)
    else:
        of_each, keys = np.minimum(plan.stored, k), int((plan.stored > 0).sum())
        senses = int(of_each.sum())
    if settings.allocation == "adaptive":
        fixed = keys * settings.k if settings.key == "predicted" else int(np.minimum(plan.stored, settings.k).sum())
        senses = min(senses, settings.budget or fixed)
    return senses, int(of_each[composed].sum()), keys


def _exact(plan: BuildPlan, settings: BuildSettings) -> int:
    """Hidden states that the mode `exact` keeps."""
    return int(np.minimum(plan.occurrences, settings.cap).sum())


def _process(plan: BuildPlan, settings: BuildSettings, outline: Outline, senses: int, words: int) -> int:
    """Bytes of memory beside the teacher's weights, in the stage that takes most.

    While they are loaded, the files that they are read from are in memory too.
    """
    weights = outline.parameters * _ITEM[settings.dtype]
    state = 2 * outline.dim + PLACE_BYTES
    copies = 2 if settings.key == "predicted" else 1
    passed = settings.batch_size * settings.window * outline.dim * _PASS * 4
    harvest = max(
        part.stored * state * copies
        + settings.k * part.summed_keys * 10 * outline.dim
        + min(part.summed, summed_at_once(settings, outline.dim)) * 2 * outline.dim
        for part in plan.harvest.values()
    )
    publish = senses * (_SENSE + _SHOWN * settings.contexts) + words * _WORD
    return _LIBRARIES + max(weights, passed + harvest, _clustering(plan, settings, outline.dim), publish)


def _clustering(plan: BuildPlan, settings: BuildSettings, dim: int) -> int:
    """Bytes of memory beside libraries: a shard's states twice; for each process its part, and a token in float32."""
    states = max((part.states for part in plan.cluster.values()), default=0)
    count = processes(settings.threads, states * dim)
    found = 2 * states * (2 * dim + PLACE_BYTES) + count * _FOUND * dim * min(states, PART)
    if count > 1:
        found += _HELPERS + count * (_HELPER + 2 * dim * (PART + settings.cap) + 3 * 4 * dim * settings.cap)
    return found


def describe(plan: BuildPlan, needs: Needs, settings: BuildSettings) -> Iterator[str]:
    """The plan, line by line, without time."""
    yield f"corpus: {counted(plan.tokens, 'token')} in {counted(len(plan.lengths), 'window')}"
    read = int(plan.run.sum())
    yield (
        f"the teacher reads {counted(needs.run_tokens, 'token')} in {counted(read, 'window')}: those with a state to "
        "keep"
    )
    if needs.kept is None:
        yield f"hidden states: all {plan.kept:,}; which keys they have is known after the pass (--key {settings.key})"
    else:
        yield f"hidden states: {plan.kept:,} kept of {int(plan.occurrences.sum()):,}"
        yield f"{'of a key':>12} {'keys':>12} {'kept':>14}"
        most = settings.first if settings.mode == "streaming" else settings.cap
        for label, keys, kept in by_number(needs.kept, most):
            yield f"{label:>12} {keys:>12,} {kept:>14,}"
    if settings.mode == "streaming":
        summed = sum(part.summed for part in plan.harvest.values())
        yield (
            f"mode streaming: {counted(summed, 'further state')} for the means of senses, in "
            f"{counted(plan.generations, 'generation')}"
        )
        if needs.exact is not None and needs.shards > needs.exact:
            yield (
                f"mode streaming saves no disk here: {size(needs.shards)} of states and sums, --mode exact would need "
                f"{size(needs.exact)}"
            )
    yield f"work: {counted(len(plan.harvest), 'shard')} of text, {len(plan.cluster):,} of tokens; any number of workers"
    yield f"teacher's pass: {needs.flops:.3g} FLOPs"
    yield (
        f"memory: at most {size(needs.weights + needs.process)} a worker, of which the teacher's weights are "
        f"{size(needs.weights)}"
    )
    if settings.key == "predicted":
        yield "memory of a shard of tokens is a guess: the teacher may name a key more often than the text does"
    yield (
        f"disk: {size(needs.text)} of tokens, {size(needs.shards)} of hidden states and at most {size(needs.clusters)} "
        f"of senses in the store, at most {size(needs.vectors)} of vectors and {size(needs.passages)} of passages in "
        "the file set, as much beside it while it is put together, and again in the database"
    )


def by_number(kept: NDArray[np.int64], cap: int) -> list[tuple[str, int, int]]:
    """(number of states, keys that have it, states kept of them), from few to the cap.

    >>> by_number(np.array([0, 1, 3, 5, 5]), cap=5)
    [('1', 1, 1), ('2–4', 1, 3), ('5 (cap)', 2, 10)]
    """
    bounds = [*(step for step in _STEPS if step < cap), cap, cap + 1]
    rows = []
    for first, end in pairwise(bounds):
        inside = kept[(kept >= first) & (kept < end)]
        label = f"{first:,} (cap)" if first == cap else f"{first:,}" if end == first + 1 else f"{first:,}–{end - 1:,}"
        rows.append((label, len(inside), int(inside.sum())))
    return rows


def check_disk(wanted: Mapping[Path, int]) -> None:
    """Let pass folders that have room for so many bytes each.

    Folders on one disk share its room.

    Raises:
        ConfigurationError: a disk is too full; names the folders and both numbers.
    """
    disks: dict[int, list[Path]] = {}
    for folder in wanted:
        disks.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in disks.values():
        needed = sum(wanted[folder] for folder in folders)
        free = shutil.disk_usage(_existing(folders[0])).free
        if needed > free:
            raise ConfigurationError(
                f"the build needs {size(needed)} in {' and '.join(map(str, folders))}, where {size(free)} are free: "
                "make room, name another folder, or lower --tokens or --cap"
            )


def check_writable(folder: Path) -> None:
    """Let pass a folder that can be written, or made; nothing is.

    Raises:
        ConfigurationError: it is a file, lies in one, or may not be written; names what is in the way.
    """
    place = _existing(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "may not be written" if place.is_dir() else "is no folder"
        raise ConfigurationError(f"the store {folder} cannot be written: {place} {why}; name another --work or mend it")


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "shard"), counted(2_000, "shard")
    ('1 shard', '2,000 shards')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(count: int) -> str:
    """Bytes as a person reads them.

    >>> size(1_234_567)
    '1.2 MB'
    """
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.{0 if unit == 'bytes' else 1}f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    absolute = folder.absolute()
    # Not Path.exists, which raises below a folder that may not be entered.
    return next(place for place in (absolute, *absolute.parents) if os.path.exists(place))
