"""The other end of an archive: its files written into a folder while it comes, each byte of it checked."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from sensedict.archive import BLOCK, END, HEAD, MOST_TEXT, PIECE, Head, header, read_manifest
from sensedict.errors import InvalidSnapshot
from sensedict.fileset import FILES, MANIFEST, FileEntry, Manifest


class Receiver:
    """Takes an archive a piece at a time and writes its files into a folder, each compared with its size and hash.

    ```python
    receiver = Receiver(folder)
    for piece in pieces:
        receiver.feed(piece)
    head, manifest = receiver.finish()
    ```

    Attributes:
        received: bytes so far.
        begun: what the archive says of itself, once that has come; the files come after it.
    """

    def __init__(self, folder: Path | None) -> None:
        """Begin; without a folder the files are compared and not kept."""
        self._folder = folder
        self._held = bytearray()
        self._found: tuple[Head, Manifest] | None = None
        self.received = 0
        self.begun: tuple[Head, Manifest] | None = None
        self._steps = self._receive()
        self._wanted = next(self._steps)

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next piece, of any length.

        Raises:
            InvalidSnapshot: it is not what export writes, or a file has another hash than the manifest states.
        """
        self.received += len(piece)
        if self._found is not None and piece:
            raise InvalidSnapshot("there is more after the end of the archive")
        self._held += piece
        at = 0
        with memoryview(self._held) as held:
            while self._found is None and len(held) - at >= self._wanted:
                taken = bytes(held[at : at + self._wanted])
                at += self._wanted
                try:
                    self._wanted = self._steps.send(taken)
                except StopIteration as end:
                    self._found = end.value
            if self._found is not None and at < len(held):
                raise InvalidSnapshot("there is more after the end of the archive")
        del self._held[:at]

    def finish(self) -> tuple[Head, Manifest]:
        """What was received, which is whole.

        Raises:
            InvalidSnapshot: it ended too soon.
        """
        self._steps.close()
        if self._found is None:
            raise InvalidSnapshot(f"the archive ends after {self.received} bytes, in the middle: get it again")
        return self._found

    def _receive(self) -> Generator[int, bytes, tuple[Head, Manifest]]:
        head = Head.from_json((yield from self._text(HEAD, None)))
        text = yield from self._text(MANIFEST, head.manifest)
        manifest = read_manifest(text)
        if manifest.ref != head.dictionary:
            raise InvalidSnapshot(f"{HEAD} names {head.dictionary!r:.80}, {MANIFEST} names {manifest.ref!r:.80}")
        self.begun = head, manifest
        if self._folder is not None:
            (self._folder / MANIFEST).write_bytes(text)
        for name in FILES:
            yield from self._file(name, manifest.files[name])
        if (yield len(END)) != END:
            raise InvalidSnapshot("there is more after the last file")
        return head, manifest

    def _text(self, name: str, stated: FileEntry | None) -> Generator[int, bytes, bytes]:
        """A member that is JSON; the first one's size is known by its header alone."""
        block = yield BLOCK
        size = _size_in(block, name) if stated is None else stated.bytes
        if not 0 < size <= MOST_TEXT:
            raise InvalidSnapshot(f"{name} has {size} bytes, more than 0 and at most {MOST_TEXT} are taken")
        _compare(block, header(name, size), name)
        text = yield size
        _check_padding((yield -size % BLOCK), name)
        if stated is not None and hashlib.sha256(text).hexdigest() != stated.sha256:
            raise InvalidSnapshot(f"{name} has another sha256 than the {stated.sha256} of {HEAD}")
        return text

    def _file(self, name: str, stated: FileEntry) -> Generator[int, bytes, None]:
        expected = header(name, stated.bytes)
        _compare((yield len(expected)), expected, name)
        digest = hashlib.sha256()
        with ExitStack() as opened:
            target = None if self._folder is None else opened.enter_context(open(self._folder / name, "xb"))
            left = stated.bytes
            while left:
                piece = yield min(left, PIECE)
                left -= len(piece)
                digest.update(piece)
                if target is not None:
                    target.write(piece)
            if target is not None:
                target.flush()
                os.fsync(target.fileno())
        if digest.hexdigest() != stated.sha256:
            raise InvalidSnapshot(f"{name} has the sha256 {digest.hexdigest()}, the manifest says {stated.sha256}")
        _check_padding((yield -stated.bytes % BLOCK), name)


def _size_in(block: bytes, name: str) -> int:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
    except tarfile.HeaderError as error:
        raise InvalidSnapshot(f"it is no archive of a file set: it does not begin with {name}") from error


def _compare(found: bytes, expected: bytes, name: str) -> None:
    """Let pass the header that export writes; say what stands there instead."""
    if found == expected:
        return
    try:
        member = tarfile.TarInfo.frombuf(found[-BLOCK:], "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise InvalidSnapshot(f"in place of {name} there is no member of an archive ({error})") from error
    kind = "file" if member.isreg() else "folder" if member.isdir() else "link or device"
    told = f"a {kind} {member.name!r:.80} of {member.size} bytes"
    raise InvalidSnapshot(f"in place of {name} there is {told}: it is not as export writes it")


def _check_padding(found: bytes, name: str) -> None:
    if found.strip(b"\x00"):
        raise InvalidSnapshot(f"there is more after {name} than its size says")
