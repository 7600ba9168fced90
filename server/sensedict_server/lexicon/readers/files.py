"""What all readers share: a file read line by line, compressed or not, and errors that name the line."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.relations import Relation

LICENCE_UNKNOWN = "not stated"  # of a user's own file


def _ignore(_count: int) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class File:
    """A file to read; `.gz` and `.xz` are unpacked on the way.

    Attributes:
        path: where it is.
        watch: told of each number of bytes taken from the disk; for a progress bar.
    """

    path: Path
    watch: Callable[[int], object] = field(default=_ignore, compare=False)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Its lines, numbered from 1, without their ends; blank ones are passed over.

        Raises:
            InvalidInput: bytes that are no UTF-8 (the line is named), or a compressed file that is not whole.
        """
        with io.BufferedReader(_Watched(self.path, self.watch)) as raw, self._unpack(raw) as file:
            number = 0
            try:
                for number, line in enumerate(file, start=1):
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                    if text and not text.isspace():
                        yield number, text
            except UnicodeDecodeError as error:
                raise self.broken(number, f"not UTF-8 ({error.reason} at byte {error.start + 1})") from error
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise InvalidInput(f"{self.path}: cannot be read after line {number}: {error}") from error

    def broken(self, number: int, why: str) -> InvalidInput:
        """The error of a line that cannot be used."""
        return InvalidInput(f"{self.path}, line {number}: {why}")

    def _unpack(self, raw: io.BufferedReader[_Watched]) -> io.BufferedIOBase:
        if self.path.suffix == ".gz":
            return gzip.GzipFile(fileobj=raw)
        if self.path.suffix == ".xz":
            return lzma.LZMAFile(raw)
        return raw


class _Watched(io.FileIO):
    def __init__(self, path: Path, watch: Callable[[int], object]) -> None:
        super().__init__(path)
        self._watch = watch

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        self._watch(count)
        return count


@dataclass(frozen=True)
class Reader:
    """One kind of source.

    Attributes:
        kind: what stands before the colon of a source spec.
        licence, version: of the data; stored with the source.
        read: gives the relations of a file, and counts what it passes over.
        passes: how often it reads the file.
    """

    kind: str
    licence: str
    version: str
    read: Callable[[File, Counter[str]], Iterator[Relation]]
    passes: int = 1
