"""The Parquet files of a file set, each read when it is first asked for and as far as it is asked for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import Corrupt, MissingExtra, NotInSnapshot
from sensedict.fileset import Manifest

_GROUPS = 64  # row groups of sorted files that are kept


class Tables:
    """Tables of a file set. Safe to use from several threads.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        try:
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise MissingExtra(
                "words, relations and contexts of a file set are Parquet, which needs the package 'pyarrow': "
                "pip install 'sensedict[snapshot]'"
            ) from error
        self._parquet = parquet
        self._folder = folder
        self._manifest = manifest
        # the caches are of this object, and go with it
        self.column = lru_cache(maxsize=None)(self._column)
        self.numbers = lru_cache(maxsize=None)(self._numbers)
        self.codes = lru_cache(maxsize=None)(self._codes)
        self._file = lru_cache(maxsize=None)(self._open)
        self._bounds = lru_cache(maxsize=None)(self._read_bounds)
        self._group = lru_cache(maxsize=_GROUPS)(self._read_group)

    def texts(self, name: str, column: str) -> list[Any]:
        """A column of texts or lists; None in place of nulls."""
        found: list[Any] = self.column(name, column).to_pylist()
        return found

    def rows(self, name: str, places: NDArray[np.int64], columns: tuple[str, ...]) -> list[dict[str, Any]]:
        """The rows at those places, in that order."""
        taken = {column: self.column(name, column).take(places).to_pylist() for column in columns}
        return [dict(zip(taken, row, strict=True)) for row in zip(*taken.values(), strict=True)]

    def between(self, name: str, low: int, high: int) -> list[dict[str, Any]]:
        """The rows of a file, sorted by its first column, where that is low .. high; only their groups are read."""
        firsts, lasts = self._bounds(name)
        found: list[dict[str, Any]] = []
        for group in range(bisect_left(lasts, low), bisect_right(firsts, high)):
            table = self._group(name, group)
            keys = table.column(0).to_numpy()
            start, stop = np.searchsorted(keys, low, "left"), np.searchsorted(keys, high, "right")
            found += table.slice(start, stop - start).to_pylist()
        return found

    def _numbers(self, name: str, column: str) -> NDArray[Any]:
        """A column of numbers or truth values; -1 in place of nulls."""
        values = self.column(name, column)
        found: NDArray[Any] = (values.fill_null(-1) if values.null_count else values).to_numpy()
        return found

    def _codes(self, name: str, column: str) -> tuple[NDArray[np.int32], list[str]]:
        """A column of texts as places in a list of those that there are; -1 in place of nulls."""
        encoded = self.column(name, column).combine_chunks().dictionary_encode()
        return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()

    def _column(self, name: str, column: str) -> Any:
        file = self._file(name)
        if column not in file.schema_arrow.names:
            raise self._lacks(f"the column {column!r} of {name}")
        return self._read(name, lambda: file.read([column]).column(0))

    def _open(self, name: str) -> Any:
        if name not in self._manifest.files:
            raise self._lacks(name)
        return self._read(name, lambda: self._parquet.ParquetFile(self._folder / name))

    def _read_bounds(self, name: str) -> tuple[list[int], list[int]]:
        metadata = self._file(name).metadata
        bounds = [metadata.row_group(group).column(0).statistics for group in range(metadata.num_row_groups)]
        return [bound.min for bound in bounds], [bound.max for bound in bounds]

    def _read_group(self, name: str, group: int) -> Any:
        return self._read(name, lambda: self._file(name).read_row_group(group))

    def _read(self, name: str, what: Any) -> Any:
        try:
            return what()
        except (OSError, ValueError) as error:  # pyarrow's own errors are of these
            raise Corrupt(f"{self._folder / name} cannot be read ({error!s:.200})") from error

    def _lacks(self, what: str) -> NotInSnapshot:
        return NotInSnapshot(
            f"{self._folder} lacks {what}, since it was written in format {self._manifest.format}: ask a service, or "
            f"remove the folder where the database is, and `sensedict files write {self._manifest.ref}` writes it anew"
        )


def places_of(keys: Mapping[str, list[int]], *texts: str) -> list[int]:
    """Places of all of the texts, each once, in rising order."""
    return sorted({place for text in texts for place in keys.get(text, ())})


def grouped(texts: list[str]) -> dict[str, list[int]]:
    """The places of each text."""
    found: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        found.setdefault(text, []).append(place)
    return found
