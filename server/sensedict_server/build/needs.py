"""What a build will need, said before it runs: the teacher's work, and bytes of disk, which must be there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError
from sensedict_server.build.plan import BuildSettings, Plan
from sensedict_server.build.words import MOST_TOKENS

if TYPE_CHECKING:
    from sensedict_trainer.outline import Outline

_STEPS = (1, 2, 10, 20, 100, 500)  # where rows of the table of keys begin
_STATE = 12  # bytes beside a hidden state's vector in a shard: key, window, position
_SENSE = 16  # beside a sense's vector in a part: owner, count, inertia
_MEMBER = 8  # a hidden state nearest a sense, whose passage will be shown


@dataclass(frozen=True)
class Needs:
    """Numbers of a build that is planned.

    Attributes:
        run_tokens: of the windows that the teacher reads: those with a hidden state to keep.
        flops: of the teacher's pass.
        shards, parts: bytes in the work folder; the parts at most.
        file_set: bytes of the vectors of the file set, at most.
        kept: (V,) hidden states kept of each key; None where only the teacher knows the keys.
    """

    run_tokens: int
    flops: int
    shards: int
    parts: int
    file_set: int
    kept: NDArray[np.int64] | None


def needs_of(plan: Plan, settings: BuildSettings, outline: Outline, words: Sequence[Sequence[int]]) -> Needs:
    """Count what a build will need.

    Args:
        words: the tokens of every word of the lexicon's relations; those of several get senses of their own.
    """
    lengths = [len(plan.windows[i].ids) for i in plan.run]
    composed = np.array([ids[0] for ids in words if 1 < len(ids) <= MOST_TOKENS], dtype=np.int64)
    if plan.occurrences is None:
        kept, senses = None, min(plan.kept, settings.k * outline.vocabulary_size)
        of_words = settings.k * len(composed)
    else:
        kept = np.minimum(plan.occurrences, settings.cap)
        of_each = np.minimum(kept, settings.k)
        senses, of_words = int(of_each.sum()), int(of_each[composed].sum())
    vector = 2 * outline.dim
    return Needs(
        run_tokens=sum(lengths),
        flops=outline.flops(lengths, plan.kept if settings.key == "predicted" else 0),
        shards=plan.kept * (vector + _STATE),
        parts=senses * (vector + _SENSE + _MEMBER * settings.contexts),
        file_set=(senses + of_words) * vector,
        kept=kept,
    )


def describe(plan: Plan, needs: Needs, settings: BuildSettings) -> Iterator[str]:
    """The plan, line by line, without time and disk."""
    yield f"corpus: {plan.tokens:,} tokens in {len(plan.windows):,} windows"
    yield f"the teacher reads {needs.run_tokens:,} tokens in {len(plan.run):,} windows: those with a state to keep"
    if needs.kept is None:
        yield f"hidden states: all {plan.kept:,}; which keys they have is known after the pass (--key {settings.key})"
    else:
        possible = int(plan.occurrences.sum()) if plan.occurrences is not None else 0
        yield f"hidden states: {plan.kept:,} kept of {possible:,}"
        yield f"{'of a key':>12} {'keys':>12} {'kept':>14}"
        for label, keys, kept in by_number(needs.kept, settings.cap):
            yield f"{label:>12} {keys:>12,} {kept:>14,}"
    yield f"teacher's pass: {needs.flops:.3g} FLOPs"
    yield (
        f"disk: {size(needs.shards)} of shards and at most {size(needs.parts)} of parts in the work folder, at most "
        f"{size(needs.file_set)} of vectors in the file set, which the database holds too"
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
    """Let pass folders that have room for so many bytes each; what stands there already of a part counts as room.

    Folders on one disk share its room.

    Raises:
        ConfigurationError: a disk is too full; names the folders and both numbers.
    """
    disks: dict[int, list[Path]] = {}
    for folder in wanted:
        disks.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in disks.values():
        needed = sum(max(0, wanted[folder] - _written(folder)) for folder in folders)
        free = shutil.disk_usage(_existing(folders[0])).free
        if needed > free:
            raise ConfigurationError(
                f"the build needs {size(needed)} in {' and '.join(map(str, folders))}, where {size(free)} are free: "
                "make room, name another folder, or lower --tokens or --cap"
            )


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
    return next(place for place in (absolute, *absolute.parents) if place.exists())


def _written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) if folder.is_dir() else 0
