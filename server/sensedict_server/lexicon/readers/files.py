"""What all readers share: a file read line by line, compressed or not, and errors that name the line."""

from __future__ import annotations

import io
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import zstandard

from sensedict.errors import InvalidInput, reason
from sensedict_server.lexicon.relations import Entry

LICENCE_UNKNOWN = "not stated"  # of a user's own file
_PACKED = 4096  # bytes of .zst unpacked at once; they can become 32 thousand times as many
_SKIPPABLE = tuple(bytes((first, 0x2A, 0x4D, 0x18)) for first in range(0x50, 0x60))  # pzstd begins with such a frame
_MAGIC = {".gz": (b"\x1f\x8b",), ".xz": (b"\xfd7zXZ\0",), ".zst": (b"\x28\xb5\x2f\xfd", *_SKIPPABLE)}
_GZIP = 31  # zlib's name for the format with gzip's head and checksum
_UNPACKED = 2**17  # bytes that are held unpacked
_MOST_BYTES = 64 * 2**20  # of a line; the longest of Wiktionary's has 2 MB


def _ignore(_count: int) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class File:
    """A file to read; `.gz`, `.xz` and `.zst` are unpacked on the way.

    Attributes:
        path: where it is; for a reader that takes a folder, the folder, and for one that takes a name, the name.
        watch: told of each number of bytes taken from the disk; for a progress bar.
    """

    path: Path
    watch: Callable[[int], object] = field(default=_ignore, compare=False)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Its lines, numbered from 1, without their ends; blank ones are passed over.

        Raises:
            InvalidInput: as `byte_lines`, or bytes that are no UTF-8, or a NUL among them; the line is named.
        """
        number, line = 0, b""
        try:
            for number, line in self.byte_lines():
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if "\0" in text:
                    raise self.broken(number, "a NUL, which no text holds: the file is binary, or part of it is")
                if text and not text.isspace():
                    yield number, text
        except UnicodeDecodeError as error:
            what = "the file is binary, as it seems" if b"\0" in line else "another encoding? save it as UTF-8"
            why = f"not UTF-8 ({error.reason} at byte {error.start + 1}): {what}"
            raise self.broken(number, why) from error

    def byte_lines(self) -> Iterator[tuple[int, bytes]]:
        """All its lines as bytes with their ends, numbered from 1.

        Raises:
            InvalidInput: a file that is none, is empty, is compressed and not whole, is UTF-16 or of another kind, or
                has a line of no end; the line is named.
        """
        with self.binary() as raw, self._unpack(raw) as file:
            number = 0
            try:
                while line := file.readline(_MOST_BYTES):
                    number += 1
                    if len(line) == _MOST_BYTES:
                        raise self.broken(number, f"longer than {_MOST_BYTES // 2**20} MiB: is this a file of lines?")
                    if number == 1 and (seems := _seems(line)):
                        raise self.broken(number, f"{seems}, as it seems")
                    yield number, line
            except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
                why = f"cannot be read after line {number}: {reason(error)}; is it whole?"
                raise InvalidInput(f"{self.path}: {why}") from error
            if number == 0:
                raise InvalidInput(f"{self.path}: the file is empty")

    def binary(self) -> io.BufferedReader[_Watched]:
        """Its bytes as they lie on the disk.

        Raises:
            InvalidInput: it cannot be opened.
        """
        try:
            return io.BufferedReader(_Watched(self.path, self.watch))
        except OSError as error:
            raise InvalidInput(f"{self.path}: cannot be read: {error.strerror}; expected a file") from error

    def within(self, name: str) -> File:
        """A file of the folder."""
        return File(self.path / name, self.watch)

    def broken(self, number: int, why: str) -> InvalidInput:
        """The error of a line that cannot be used."""
        return InvalidInput(f"{self.path}, line {number}: {why}")

    def _unpack(self, raw: io.BufferedReader[_Watched]) -> IO[bytes]:
        suffix = self.path.suffix
        start = raw.peek(6)  # the longest of `_MAGIC`
        if start and suffix in _MAGIC and not start.startswith(_MAGIC[suffix]):
            raise InvalidInput(f"{self.path}: not what its name says, a {suffix} file; rename it, or compress it again")
        if suffix == ".gz" and start:
            return io.BufferedReader(_Gzip(raw), _UNPACKED)
        if suffix == ".xz":
            return io.BufferedReader(lzma.LZMAFile(raw), _UNPACKED)
        return io.BufferedReader(_Zstandard(raw), _UNPACKED) if suffix == ".zst" else raw


def _seems(start: bytes) -> str | None:
    """What a file that begins so is, in place of text, and the fix; None where nothing is wrong."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(start) > 1 and b"\0" in start[:2]):
        return "no UTF-8 but UTF-16 (save it as UTF-8)"
    for suffix, magic in {**_MAGIC, ".xlsx or .zip": (b"PK\x03\x04",)}.items():
        if start.startswith(magic):
            return f"no text but a {suffix} file (name it so, or unpack it)"
    return None


class _Gzip(io.RawIOBase):
    """Unpacks member after member; the standard library's own takes a third longer, by steps of 8 KiB."""

    def __init__(self, raw: io.BufferedReader[_Watched]) -> None:
        self._raw = raw
        self._packed = raw.read(_UNPACKED)
        self._member = zlib.decompressobj(_GZIP)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._member.eof:
                self._packed = self._packed.lstrip(b"\0") or self._raw.read(_UNPACKED)  # zeros may lie between
                if not self._packed:
                    return 0
                if not self._packed.startswith(b"\0"):
                    self._member = zlib.decompressobj(_GZIP)
                continue
            packed = self._packed or self._raw.read(_UNPACKED)
            unpacked = self._member.decompress(packed, len(buffer))
            self._packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if unpacked:
                buffer[: len(unpacked)] = unpacked
                return len(unpacked)
            if not packed and not self._member.eof:
                raise EOFError("the file ends in the middle of a member")


class _Zstandard(io.RawIOBase):
    """Unpacks frame after frame; zstandard's own reader takes a file that was cut for one that ends."""

    def __init__(self, raw: io.BufferedReader[_Watched]) -> None:
        self._raw = raw
        self._packed = b""
        self._unpacked = memoryview(b"")
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._unpacked:
            packed = self._packed or self._raw.read(_PACKED)
            if not packed and self._frame is not None:
                raise EOFError("the file ends in the middle of a frame")
            if not packed:
                return 0
            self._packed = b""
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._unpacked = memoryview(self._frame.decompress(packed))
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count


class _Watched(io.FileIO):
    def __init__(self, path: Path, watch: Callable[[int], object]) -> None:
        super().__init__(path)
        self._watch = watch

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        self._watch(count)
        return count


@dataclass
class Notes:
    """What a reader is told, and what it tells beside the entries.

    Attributes:
        options: those of `Reader.options` that were given.
        skipped: reason to count, of what was not taken.
        counted: further counts worth showing, such as fields that the reader does not know.
        licence, version: of the data, where the source itself says it; go before those of the reader.
    """

    options: frozenset[str] = frozenset()
    skipped: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    licence: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Reader:
    """One kind of source.

    Attributes:
        kind: what stands before the colon of a source spec.
        licence, version: of the data; stored with the source.
        read: gives what a file says, entry by entry, and notes what it passes over.
        passes: how often it reads the file.
        takes: what stands after the colon; `nothing` where the file, `own`, is part of the package.
        several: whether a lexicon may have several such sources, each named after its file.
        identify: what tells the content that a name means from other content under it; for a reader that takes a name.
        options: what may stand after the kind (`wiktextract,senses-only:FILE`), with a line of help each.
    """

    kind: str
    licence: str
    version: str
    read: Callable[[File, Notes], Iterator[Entry]]
    passes: int = 1
    takes: Literal["file", "folder", "name", "nothing"] = "file"
    own: Path | None = None
    several: bool = False
    identify: Callable[[File], str] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
