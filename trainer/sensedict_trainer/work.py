"""A folder of unfinished work, which a run that was stopped finds again and a run of another kind does not mix up."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays
from sensedict.errors import ConfigurationError, Corrupt, MalformedBody
from sensedict.paths import write_whole

IDENTITY = "identity.json"
_LOCK = ".lock"
_HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b")
_MARK = "sensedict"  # so that nobody else's folder with a file of that name is taken for ours


class WorkFolder:
    """Parts are written whole or not at all, and belong to one run: `identity` is compared when the folder is opened.

    A folder that holds an identity and no work is anybody's. One process at a time: leave the `with` block to give
    the folder back.

    Args:
        folder: is made where it is missing.
        identity: what decides the parts' content, JSON values.
        fresh: throw away what an earlier run left.

    Raises:
        ConfigurationError: the folder holds another run's parts, or something else, or another process works in it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], fresh: bool = False) -> None:
        self.folder = folder
        check_ours(folder)
        note = folder / IDENTITY
        before = _read(note)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        try:
            if before is not None and {entry.name for entry in _entries(folder)} == {IDENTITY}:
                before = None  # whoever began here, ended before there was any work
            if fresh and before is not None:
                for entry in _entries(folder):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                before = None
            if before is None:
                write_whole(note, json.dumps({_MARK: dict(identity)}, indent=1).encode())
            elif differing := differences(before, identity):
                raise ConfigurationError(
                    f"{folder} holds the work of a run with other settings ({differing}): throw it away with --fresh, "
                    "or name another folder"
                )
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.close()

    def has(self, part: str) -> bool:
        """Whether the part was finished."""
        return (self.folder / f"{part}.safetensors").is_file()

    def save(self, part: str, tensors: arrays.Tensors) -> None:
        """Write a part."""
        write_whole(self.folder / f"{part}.safetensors", arrays.encode(tensors))

    def load(self, part: str) -> dict[str, NDArray[Any]]:
        """Map a finished part into memory.

        Raises:
            Corrupt: its bytes are not what was written.
        """
        path = self.folder / f"{part}.safetensors"
        try:
            return arrays.decode(np.memmap(path, dtype=np.uint8, mode="r").data)[0]
        except (MalformedBody, ValueError) as error:
            raise Corrupt(f"{path} is damaged ({error}): remove it, and it is made again") from error


def check_ours(folder: Path) -> None:
    """Let pass a folder that is missing, empty, or of ours.

    Raises:
        ConfigurationError: it holds something else.
    """
    if folder.exists() and (not folder.is_dir() or (_read(folder / IDENTITY) is None and _entries(folder))):
        raise ConfigurationError(f"{folder} holds something else than unfinished work: name another folder")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two runs' settings, by dotted name with both values; empty where nothing does."""
    there, here = flatten(before), flatten(json.loads(json.dumps(dict(now))))
    return "; ".join(
        f"{name} {_told(there.get(name))} there, {_told(here.get(name))} now"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    )


def _told(value: Any) -> str:
    """A setting for a message, hashes cut short.

    >>> _told(["leads.jsonl", "91982d971de342e9" * 4]), _told(None), _told(0.5)
    ('["leads.jsonl", "91982d97…"]', 'none', '0.5')
    """
    return "none" if value is None else _HASH.sub(r"\1…", json.dumps(value, ensure_ascii=False))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name.

    >>> flatten({"recipe": {"lr": 0.1}, "seed": 0})
    {'recipe.lr': 0.1, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name != _LOCK]


def _lock(folder: Path) -> IO[bytes]:
    """Hold the folder for this process; given back when it is closed, at the latest when the process ends."""
    held = (folder / _LOCK).open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.close()
        raise ConfigurationError(f"another process works in {folder}: wait for it, or name another folder") from error
    return held


def _read(note: Path) -> dict[str, Any] | None:
    """The identity in a folder of ours; None in any other."""
    try:
        found = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    identity = found.get(_MARK) if isinstance(found, dict) else None
    return identity if isinstance(identity, dict) else None


def readable(folder: Path) -> None:
    """Give the files of a new folder the modes that files have here: safetensors makes its own private."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~mask)
