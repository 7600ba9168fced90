"""Rows of bytes on disk, one a token of a text: written once, mapped, checked, and refused to whoever wants others.

A folder has `manifest.json` and shards of whole windows, `rows-000000.bin`: plain rows one after another, in an order
that is a function of the windows. The manifest names what decides the rows, the *key*, and the sha256 of every shard
that is finished; a build that was killed goes on after them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sensedict.errors import ConfigurationError, Corrupt, reason
from sensedict.paths import write_whole
from sensedict_trainer.distil.packing import fill_rows, flat, passes
from sensedict_trainer.text import TokenWindow
from sensedict_trainer.work import WorkFolder, differences

MANIFEST = "manifest.json"
FORMAT = 1
GROUP = 8  # windows, or rows of them, that lie together, and pass together where memory allows it
_SHARD = 64 * 2**20  # bytes
_MARK = "sensedict rows"
ROW = "tokens a row"  # in the key of windows that share rows

Bytes = NDArray[np.uint8]
Make = Callable[[Sequence[TokenWindow]], Sequence[Bytes]]


def groups(windows: Sequence[TokenWindow], row: int | None = None) -> list[list[TokenWindow]]:
    """Windows that pass together, of like length so that little is padding: a function of the text alone.

    Args:
        row: tokens of a row that several windows may share, see `packing`; None for a row each.
    """
    if row is not None:
        return passes(flat(fill_rows(windows, row)), GROUP, row)
    return passes(sorted(windows, key=lambda window: (-len(window.ids), window.id)), GROUP)


@dataclass(frozen=True)
class Shard:
    """A file of rows, of some groups of windows."""

    name: str
    groups: Sequence[Sequence[TokenWindow]]

    @property
    def windows(self) -> list[TokenWindow]:
        """In the order of their rows."""
        return [window for group in self.groups for window in group]

    @property
    def rows(self) -> int:
        """How many."""
        return sum(len(window.ids) for window in self.windows)


@dataclass
class Rows:
    """The rows of a text, on the mapped pages of a folder.

    Attributes:
        folder: where they are; width: bytes a row; key: what decides them.
    """

    folder: Path
    width: int
    key: Mapping[str, Any]
    _places: Mapping[str, tuple[Shard, int, int]]  # shard, first row, rows
    _hashes: Mapping[str, str]
    _mapped: dict[str, Bytes] = field(default_factory=dict)

    def of(self, window: TokenWindow) -> Bytes:
        """(T, width) of a window; a shard is compared with its hash when it is first read.

        Raises:
            Corrupt: the shard's bytes are not what was written.
        """
        shard, first, count = self._places[window.id]
        if shard.name not in self._mapped:
            self._mapped[shard.name] = self._read(shard)
        return self._mapped[shard.name][first : first + count]

    def _read(self, shard: Shard) -> Bytes:
        path = self.folder / shard.name
        try:
            mapped = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise Corrupt(f"{path} cannot be read ({reason(error)}): {_remedy(self.folder)}") from error
        if len(mapped) != shard.rows * self.width:
            raise Corrupt(
                f"{path} has {len(mapped):,} bytes and not {shard.rows * self.width:,}: {_remedy(self.folder)}"
            )
        if hashlib.sha256(mapped.data).hexdigest() != self._hashes[shard.name]:
            raise Corrupt(f"{path} is damaged, its sha256 is not the manifest's: {_remedy(self.folder)}")
        return mapped.reshape(shard.rows, self.width)


def open_rows(folder: Path, key: Mapping[str, Any], windows: Sequence[TokenWindow], width: int) -> Rows | None:
    """The finished rows in a folder; None where there are none yet, or not all.

    Raises:
        ConfigurationError: the folder holds rows with another key, whose differences are named, or something else.
        Corrupt: its manifest is damaged, or a shard is missing or of another size.
    """
    hashes = _finished(folder, key)
    shards = _shards(windows, width, key)
    if hashes is None or any(shard.name not in hashes for shard in shards):
        return None
    for shard in shards:
        path = folder / shard.name
        size = path.stat().st_size if path.is_file() else 0
        if size != shard.rows * width:
            raise Corrupt(f"{path} has {size:,} bytes and not {shard.rows * width:,}: {_remedy(folder)}")
    places = {window.id: place for shard in shards for window, place in _placed(shard)}
    return Rows(folder, width, key, places, hashes)


def build_rows(
    folder: Path, key: Mapping[str, Any], windows: Sequence[TokenWindow], width: int, make: Make, what: str
) -> Rows:
    """Open the rows in a folder, having made those that are missing; bytes and time are told before it begins.

    Args:
        key: all that decides the rows, JSON values; the text is among them.
        make: gives each window of a group its rows, (T, width).
        what: they are, for people.

    Raises:
        ConfigurationError: as `open_rows`; they do not fit on the disk; another process makes them.
    """
    found = open_rows(folder, key, windows, width)
    if found is not None:
        return found
    with WorkFolder(folder, key):
        hashes = dict(_finished(folder, key) or {})
        _write_manifest(folder, key, hashes)
        missing = [shard for shard in _shards(windows, width, key) if shard.name not in hashes]
        if missing:  # else another process has made them since
            _announce(folder, missing, width, make, what)
        with tqdm(
            total=sum(shard.rows for shard in missing), unit=" tokens", unit_scale=True, desc=what, disable=None
        ) as bar:
            for shard in missing:
                content = bytearray()
                for group in shard.groups:
                    for rows in make(group):
                        content += np.ascontiguousarray(rows).data
                    bar.update(sum(len(window.ids) for window in group))
                write_whole(folder / shard.name, content)
                hashes[shard.name] = hashlib.sha256(content).hexdigest()
                _write_manifest(folder, key, hashes)
    built = open_rows(folder, key, windows, width)
    assert built is not None  # every shard was just written
    return built


def manifest_key(folder: Path) -> dict[str, Any] | None:
    """The key of the rows in a folder; None where there are none.

    Raises:
        Corrupt: the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    return dict(_read_manifest(path)["key"])


def _announce(folder: Path, shards: Sequence[Shard], width: int, make: Make, what: str) -> None:
    """Say how large it will be and how long it takes, by one group that is measured; refuse what does not fit."""
    tokens = sum(shard.rows for shard in shards)
    free = shutil.disk_usage(folder).free
    size = f"{what} of {tokens:,} tokens take {_bytes(tokens * width)} in {folder}, where {_bytes(free)} are free"
    if tokens * width > free:
        raise ConfigurationError(f"{size}: name a folder on a larger disk, or train on less text")
    group = shards[0].groups[0]
    start = time.perf_counter()
    make(group)
    seconds = (time.perf_counter() - start) / sum(len(window.ids) for window in group) * tokens
    tqdm.write(f"{size}; about {seconds / 60:,.1f} minutes", file=sys.stderr)


def _shards(windows: Sequence[TokenWindow], width: int, key: Mapping[str, Any]) -> list[Shard]:
    shards: list[list[list[TokenWindow]]] = []
    room = 0
    for group in groups(windows, key.get(ROW)):
        if room <= 0:
            shards.append([])
            room = _SHARD
        shards[-1].append(group)
        room -= sum(len(window.ids) for window in group) * width
    return [Shard(f"rows-{number:06d}.bin", content) for number, content in enumerate(shards)]


def _placed(shard: Shard) -> Iterator[tuple[TokenWindow, tuple[Shard, int, int]]]:
    first = 0
    for window in shard.windows:
        yield window, (shard, first, len(window.ids))
        first += len(window.ids)


def _finished(folder: Path, key: Mapping[str, Any]) -> dict[str, str] | None:
    """sha256 of each finished shard, by name; None where nothing was begun."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    content = _read_manifest(path)
    differing = differences(content["key"], key)
    if differing:
        raise ConfigurationError(
            f"{folder} holds rows that were made otherwise ({differing}): name another folder, or remove this one"
        )
    return dict(content["shards"])


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))[_MARK]
        if content["format"] != FORMAT:
            raise ConfigurationError(
                f"{path} is of format {content['format']}, and {FORMAT} is read: {_remedy(path.parent)}"
            )
        if not isinstance(content["key"], dict) or not isinstance(content["shards"], dict):
            raise TypeError("no key or shards")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path} is damaged ({reason(error)}): {_remedy(path.parent)}") from error
    return dict(content)


def _write_manifest(folder: Path, key: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
    content = {_MARK: {"format": FORMAT, "key": dict(key), "shards": dict(hashes)}}
    write_whole(folder / MANIFEST, json.dumps(content, indent=1).encode())


def _remedy(folder: Path) -> str:
    return f"remove {folder}, and it is made again"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
