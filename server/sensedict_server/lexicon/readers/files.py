"""What all readers share: a file read line by line, compressed or not, and errors that name the line."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import zstandard

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.relations import Entry

LICENCE_UNKNOWN = "not stated"  # of a user's own file
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
            InvalidInput: as `byte_lines`, or bytes that are no UTF-8; the line is named.
        """
        number = 0
        try:
            for number, line in self.byte_lines():
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text and not text.isspace():
                    yield number, text
        except UnicodeDecodeError as error:
            raise self.broken(number, f"not UTF-8 ({error.reason} at byte {error.start + 1})") from error

    def byte_lines(self) -> Iterator[tuple[int, bytes]]:
        """All its lines as bytes with their ends, numbered from 1.

        Raises:
            InvalidInput: a compressed file that is not whole, or a line of no end; the line is named.
        """
        with io.BufferedReader(_Watched(self.path, self.watch)) as raw, self._unpack(raw) as file:
            number = 0
            try:
                while line := file.readline(_MOST_BYTES):
                    number += 1
                    if len(line) == _MOST_BYTES:
                        raise self.broken(number, f"longer than {_MOST_BYTES // 2**20} MiB: is this a file of lines?")
                    yield number, line
            except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
                raise InvalidInput(f"{self.path}: cannot be read after line {number}: {error}") from error

    def within(self, name: str) -> File:
        """A file of the folder."""
        return File(self.path / name, self.watch)

    def broken(self, number: int, why: str) -> InvalidInput:
        """The error of a line that cannot be used."""
        return InvalidInput(f"{self.path}, line {number}: {why}")

    def _unpack(self, raw: io.BufferedReader[_Watched]) -> IO[bytes]:
        if self.path.suffix == ".gz":
            return gzip.GzipFile(fileobj=raw)
        if self.path.suffix == ".xz":
            return lzma.LZMAFile(raw)
        if self.path.suffix == ".zst":
            reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            return io.BufferedReader(reader, 2**20)  # type: ignore[arg-type]
        return raw


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
    options: Mapping[str, str] = field(default_factory=dict)
