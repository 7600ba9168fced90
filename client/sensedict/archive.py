"""A file set as one archive: an uncompressed tar whose every byte follows from the files and the aliases.

The members are `snapshot.json`, `manifest.json`, then the files of the manifest in the order of `fileset.FILES`, with
the same owner, mode and time in every header. So one content is one archive, its length and its tag are known before
a byte is read, and any part of it can be sent alone. The vectors do not compress, and Parquet is compressed already.

Whoever receives an archive renders each header itself and compares: what export did not write (links, other names,
a member twice, more after the end) has no way in, and is refused before it is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from sensedict.errors import ConfigurationError, Corrupt, InvalidSnapshot
from sensedict.fileset import FILES, MANIFEST, FileEntry, Manifest, files_of, undisturbed

MEDIA = "application/x-tar"
HEAD = "snapshot.json"
FORMAT = 1  # of the archive; the file set in it has its own
MOST_TEXT = 16 * 2**20  # bytes of snapshot.json and of manifest.json
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
PIECE = 2**20


@dataclass(frozen=True)
class Head:
    """The first member: which dictionary it is, its aliases when it was written, and its manifest's size and hash."""

    dictionary: str
    aliases: tuple[str, ...]
    manifest: FileEntry

    def to_json(self) -> bytes:
        """The text of `snapshot.json`."""
        content = {
            "sensedict_snapshot": FORMAT,
            "dictionary": self.dictionary,
            "aliases": sorted(self.aliases),
            "manifest": vars(self.manifest),
        }
        return json.dumps(content, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What `to_json` wrote.

        Raises:
            InvalidSnapshot: not such a text, or of another format.
        """
        try:
            found = json.loads(text)
            if found["sensedict_snapshot"] != FORMAT:
                told = f"{found['sensedict_snapshot']!s:.40}, this version of sensedict reads {FORMAT}"
                raise InvalidSnapshot(f"the archive has the format {told}")
            head = cls(str(found["dictionary"]), tuple(map(str, found["aliases"])), FileEntry(**found["manifest"]))
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise InvalidSnapshot(f"{HEAD} cannot be read ({type(error).__name__}: {error!s:.200})") from error
        if type(head.manifest.bytes) is not int or head.to_json() != text:
            raise InvalidSnapshot(f"{HEAD} is not as export writes it")
        return head


class Archive:
    """The archive of a file set that is there; its files are held open, so that it stays whole if they are replaced.

    Attributes:
        head: its first member.
        size: in bytes.
        tag: a hash of the hashes; two archives with one tag are the same bytes.
    """

    def __init__(self, folder: Path, aliases: Sequence[str]) -> None:
        """Open the files.

        Raises:
            ConfigurationError: there is no file set.
            Corrupt: a file is missing or has another size.
            InvalidSnapshot: the set is of a format that holds not all of the dictionary.
        """
        self._opened = ExitStack()
        try:
            self.head, self._parts = undisturbed(folder, lambda: self._open(folder, aliases))
        except BaseException:
            self.close()
            raise
        self.size = sum(size for _, size in self._parts)
        self.tag = hashlib.sha256(self.head.to_json()).hexdigest()

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes `start .. stop` in pieces."""
        stop = self.size if stop is None else stop
        begin = 0
        for part, size in self._parts:
            at, end = max(start - begin, 0), min(stop - begin, size)
            begin += size
            if at >= end:
                continue
            if isinstance(part, bytes):
                yield part[at:end]
            else:
                yield from _pieces(part, at, end)

    def close(self) -> None:
        """Give the files back."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, folder: Path, aliases: Sequence[str]) -> tuple[Head, list[tuple[bytes | BinaryIO, int]]]:
        try:
            open_file = self._opened.enter_context(files_of(folder))
            with open_file(MANIFEST) as stream:
                text = stream.read()
        except OSError as error:
            raise ConfigurationError(
                f"{folder} is not a dictionary's file set: {MANIFEST} cannot be read ({error.strerror})"
            ) from error
        manifest = read_manifest(text)
        head = Head(manifest.ref, tuple(aliases), FileEntry(len(text), hashlib.sha256(text).hexdigest()))
        parts: list[tuple[bytes | BinaryIO, int]] = []
        for name, content in ((HEAD, head.to_json()), (MANIFEST, text)):
            data = header(name, len(content)) + content + padding(len(content))
            parts.append((data, len(data)))
        for name in FILES:
            size = manifest.files[name].bytes
            try:
                stream = self._opened.enter_context(open_file(name))
            except OSError as error:
                raise Corrupt(f"{folder / name} is in the manifest and cannot be read ({error.strerror})") from error
            if os.fstat(stream.fileno()).st_size != size:
                raise Corrupt(f"{folder / name} has another size than the {size} bytes of its manifest")
            head_bytes = header(name, size)
            parts += [(head_bytes, len(head_bytes)), (stream, size), (padding(size), -size % BLOCK)]
        return head, [*parts, (END, len(END))]


def read_manifest(text: bytes) -> Manifest:
    """The manifest of a set that holds all of its dictionary.

    Raises:
        InvalidSnapshot: it cannot be read, or is of another format; says what to do.
    """
    try:
        manifest = Manifest.from_json(text)
    except Corrupt as error:
        raise InvalidSnapshot(f"{MANIFEST}: {error.detail}") from error
    if manifest.record is None:
        raise InvalidSnapshot(
            f"the file set of {manifest.ref} has the format {manifest.format}, which holds a part of the lexicon "
            "only: trainers read it; to move it, export it anew from its service"
        )
    unknown = sorted(set(manifest.files) - set(FILES))
    if unknown:
        raise InvalidSnapshot(f"{MANIFEST} lists {unknown[0]!r:.80}, which is no file of its format")
    if any(entry.bytes < 0 for entry in manifest.files.values()):
        raise InvalidSnapshot(f"{MANIFEST} states a size below 0")
    return manifest


def header(name: str, size: int) -> bytes:
    """The header of a member; sizes of 8 GiB and more take a second block, as POSIX has it."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What fills the last block of a member."""
    return bytes(-size % BLOCK)


def _pieces(stream: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """Bytes of a file by place: several may read the same one."""
    while start < stop:
        piece = os.pread(stream.fileno(), min(PIECE, stop - start), start)
        if not piece:
            raise Corrupt("a file became shorter while it was read")
        start += len(piece)
        yield piece
