"""A snapshot on its way in: a folder that nobody else sees, gone at the end unless it was put in place."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sensedict.archive import Archive
from sensedict.errors import InvalidSnapshot
from sensedict.fileset import Manifest, Record
from sensedict.receiver import Receiver

_PREFIX = ".import-"
PIECE = 2**20


@dataclass(frozen=True)
class Staged:
    """A file set whose files have the sizes and hashes that its manifest states.

    Attributes:
        aliases: those that the dictionary had where it comes from.
    """

    folder: Path
    manifest: Manifest
    aliases: tuple[str, ...]

    @property
    def record(self) -> Record:
        """What a database needs beside the files.

        Raises:
            InvalidSnapshot: there is none, so it is of an older format.
        """
        if self.manifest.record is None:
            raise InvalidSnapshot(f"{self.manifest.ref} is in an older format: export it anew from its service")
        return self.manifest.record


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """A new folder below `root`; what killed imports left there goes.

    A folder is locked while it is written in: what nobody has locked belongs to nobody.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f"{_PREFIX}lock", "w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)  # nobody takes a new folder for a dead one before it is locked
        for left in root.glob(f"{_PREFIX}*/"):
            _remove_dead(left)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def receive(pieces: Iterable[bytes], folder: Path) -> Staged:
    """The file set of an archive that comes in pieces, written into the folder.

    Raises:
        InvalidSnapshot: it is not as export writes it, or not whole.
    """
    receiver = Receiver(folder)
    for piece in pieces:
        receiver.feed(piece)
    return received(receiver, folder)


def received(receiver: Receiver, folder: Path) -> Staged:
    """What a receiver that was given everything has written into the folder."""
    head, manifest = receiver.finish()
    return Staged(folder, manifest, head.aliases)


def pieces_of(source: Path) -> Iterator[bytes]:
    """An archive on the disk, or that of a folder with a file set.

    Raises:
        ConfigurationError: the folder has no file set.
    """
    if source.is_dir():
        with Archive(source, ()) as archive:
            yield from archive.read()
        return
    with source.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def _remove_dead(folder: Path) -> None:
    with suppress(OSError):  # one that is being removed, or another user's
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
