"""A folder of unfinished work, which a run that was stopped finds again and a run of another kind does not mix up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays
from sensedict.errors import ConfigurationError, Corrupt, MalformedBody

IDENTITY = "identity.json"
_MARK = "sensedict"  # so that nobody else's folder with a file of that name is taken for ours


class WorkFolder:
    """Parts are written whole or not at all, and belong to one run: `identity` is compared when the folder is opened.

    Args:
        folder: is made where it is missing.
        identity: what decides the parts' content, JSON values.
        fresh: throw away what an earlier run left.

    Raises:
        ConfigurationError: the folder holds another run's parts, or something else; names what differs.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], fresh: bool = False) -> None:
        self.folder = folder
        note = folder / IDENTITY
        before = _read(note)
        if folder.exists() and (not folder.is_dir() or (before is None and any(folder.iterdir()))):
            raise ConfigurationError(f"{folder} holds something else than unfinished work: name another folder")
        if fresh and before is not None:
            shutil.rmtree(folder)
            before = None
        folder.mkdir(parents=True, exist_ok=True)
        if before is not None:
            differing = differences(before, identity)
            if differing:
                raise ConfigurationError(
                    f"{folder} holds the work of a run with other settings ({differing}): throw it away with --fresh, "
                    "or name another folder"
                )
        else:
            write_whole(note, json.dumps({_MARK: dict(identity)}, indent=1).encode())

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


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two runs' settings, both values named; empty where nothing does."""
    plain = json.loads(json.dumps(dict(now)))
    names = sorted({*before, *plain})
    return "; ".join(
        f"{name} {before.get(name)!r} there, {plain.get(name)!r} now"
        for name in names
        if before.get(name) != plain.get(name)
    )


def _read(note: Path) -> dict[str, Any] | None:
    """The identity in a folder of ours; None in any other."""
    try:
        found = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    identity = found.get(_MARK) if isinstance(found, dict) else None
    return identity if isinstance(identity, dict) else None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_bytes(content)
    scratch.replace(path)
