"""Two file sets compared: read, matched, and written as an old-to-new id map and a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensedict.errors import Corrupt, InvalidInput, Mismatch
from sensedict.paths import write_whole
from sensedict.snapshot import Snapshot
from sensedict.source import Identity
from sensedict_trainer.drift import NONE, STATES, SenseChanges, Senses
from sensedict_trainer.plots import STYLE

PLOTS = (".png", ".svg")
_MAP = pa.schema({"old_id": pa.int64(), "new_id": pa.int64(), "distance": pa.float64(), "state": pa.string()})
# Okabe and Ito's, by state
_COLOURS = ("#999999", "#D55E00", "#56B4E9", "#0072B2", "#009E73", "#CC79A7")


class Owner(NamedTuple):
    """Whose senses they are: the same in two dictionaries whose tokenizers agree.

    Attributes:
        text: of the token or word.
        token: its id; None for a composed word.
        language: of a word.
    """

    text: str
    token: int | None
    language: str | None


@dataclass(frozen=True)
class Version:
    """One dictionary to compare.

    Attributes:
        identity: of its file set.
        senses: with `Owner`s.
        folder: of the file set.
    """

    identity: Identity
    senses: Senses
    folder: Path


def read_version(folder: Path, words_only: bool = False) -> Version:
    """The senses of a file set; of composed words alone with `words_only`.

    Raises:
        ConfigurationError: there is no file set in the folder.
        Corrupt: a file is damaged, or two files do not fit one another; names it.
    """
    with Snapshot.open(folder, verify=True) as opened:
        identity, vectors = opened.identity, opened.vectors
    senses = _table(folder / "senses.parquet", ["sense_id", "token_id", "word_id", "count", "inertia"])
    if senses["sense_id"].to_pylist() != list(range(identity.senses)):
        raise Corrupt(f"{folder / 'senses.parquet'} does not hold the senses 0 to {identity.senses - 1} in order")
    words = _table(folder / "words.parquet", ["word_id", "word", "language"]).to_pylist()
    owner_of: dict[tuple[int | None, int | None], Owner] = {
        (None, row["word_id"]): Owner(row["word"], None, row["language"]) for row in words
    }
    if not words_only:
        for row in _table(folder / "tokens.parquet", ["token_id", "text"]).to_pylist():
            owner_of[row["token_id"], None] = Owner(row["text"], row["token_id"], None)
    owners: dict[Any, tuple[int, int]] = {}
    for key, first, count in _runs(zip(senses["token_id"].to_pylist(), senses["word_id"].to_pylist(), strict=True)):
        if key in owner_of:
            owners[owner_of[key]] = (first, count)
        elif key[0] is None:
            raise Corrupt(f"{folder / 'senses.parquet'}: sense {first} is of a word that words.parquet does not have")
    counts, inertia = senses["count"].to_numpy(), senses["inertia"].to_numpy()
    return Version(identity, Senses(owners, vectors, counts, inertia), folder)


def check_comparable(old: Identity, new: Identity, words_only: bool = False) -> list[str]:
    """What else differs and makes distances hard to read, a line each.

    Raises:
        Mismatch: another width, or other tokenizers unless words alone are compared.
    """
    if old.dim != new.dim:
        raise Mismatch(
            f"{_ref(old)} has senses of width {old.dim}, {_ref(new)} of width {new.dim}: "
            "only dictionaries of the same width can be compared"
        )
    if old.tokenizer_hash != new.tokenizer_hash and not words_only:
        raise Mismatch(
            f"{_ref(old)} has the tokenizer {old.tokenizer_hash[:12]}…, {_ref(new)} {new.tokenizer_hash[:12]}…: "
            "their tokens are not the same; compare composed words alone with --words-only"
        )
    notes = []
    if old.teacher_hash != new.teacher_hash:
        notes.append(f"the teachers differ ({old.teacher}, {new.teacher}): senses move with the teacher too")
    for name, what in (("state_point", "state points"), ("key_policy", "key policies")):
        if getattr(old, name) != getattr(new, name):
            notes.append(f"the {what} differ ({getattr(old, name)}, {getattr(new, name)}): senses move with them too")
    return notes


def map_bytes(found: SenseChanges, about: Mapping[str, Any]) -> bytes:
    """The old-to-new id map as a Parquet file: `old_id`, `new_id`, `distance`, `state`.

    Args:
        about: how it was made, JSON values; stands in the file's metadata under `sensedict`.
    """
    columns = [
        pa.array(found.old, mask=found.old == NONE),
        pa.array(found.new, mask=found.new == NONE),
        pa.array(found.distance, mask=np.isnan(found.distance)),
        pa.array([STATES[state] for state in found.state.tolist()], pa.string()),
    ]
    schema = _MAP.with_metadata({"sensedict": json.dumps(dict(about))})
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def check_plot_path(path: Path) -> None:
    """Let pass a name that says PNG or SVG.

    Raises:
        InvalidInput: it says neither.
    """
    if path.suffix.lower() not in PLOTS:
        raise InvalidInput(f"{path}: a plot is a .png or a .svg file")


def write_plot(found: SenseChanges, moved: float, title: str, path: Path) -> None:
    """Distances of matched senses and the number of senses by state, as PNG or SVG; whole or not at all."""
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        paired = found.distance[found.state <= STATES.index("moved")]
        # a few far ones would leave the others one bar
        end = max(2 * moved, float(np.quantile(paired, 0.995))) if len(paired) else 2 * moved
        left.hist(np.minimum(paired, end), bins=50, range=(0, end), color=_COLOURS[0])
        left.axvline(moved, color=_COLOURS[1], linewidth=1.4, linestyle="dashed")
        left.set(title="Distance of kept and moved senses", ylabel="senses")
        left.set_xlabel(f"distance, in units of the owner (the last bar also holds those beyond {end:.2g})")
        counts = found.counts()
        bars = right.bar(list(counts), list(counts.values()), color=_COLOURS)
        right.bar_label(bars, labels=[f"{count:,}" for count in counts.values()], padding=2)
        right.margins(y=0.12)
        right.grid(visible=False, axis="x")
        for axis in (left, right):
            axis.set_axisbelow(True)
        right.set(title="Senses by state")
        figure.suptitle(title, fontsize=10)
        kind = path.suffix.lower().removeprefix(".")
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    write_whole(path, buffer.getvalue())


def read_contexts(version: Version, ids: set[int]) -> dict[int, tuple[str, str, str]]:
    """The first context of each of the senses that has one: the text before the use, the use, and after."""
    table = _table(
        version.folder / "contexts.parquet",
        ["sense_id", "ordinal", "text", "start", "end"],
        filters=[("sense_id", "in", ids)] if ids else [("sense_id", "<", 0)],
    )
    found: dict[int, tuple[str, str, str]] = {}
    for row in table.sort_by([("sense_id", "ascending"), ("ordinal", "ascending")]).to_pylist():
        text, start, end = row["text"], row["start"], row["end"]
        found.setdefault(row["sense_id"], (text[:start], text[start:end], text[end:]))
    return found


def _table(path: Path, columns: list[str], filters: Any = None) -> Any:
    try:
        return pq.read_table(path, columns=columns, filters=filters, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise Corrupt(f"{path} cannot be read: `sensedict files verify` tells what is damaged ({why})") from error


def _runs(keys: Iterable[Any]) -> Iterator[tuple[Any, int, int]]:
    """(key, first place, length) of each run of equal keys."""
    last, first, place = None, 0, -1
    for place, key in enumerate(keys):
        if key != last:
            if place:
                yield last, first, place - first
            last, first = key, place
    if place >= 0:
        yield last, first, place + 1 - first


def _ref(identity: Identity) -> str:
    return f"{identity.name}@{identity.version}"
