"""Parquet files that somebody else may have written, read so that none of them can fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensedict.errors import InvalidSnapshot
from sensedict_server.fileset_tables import ROWS, SCHEMAS

MOST_EXPANDED = 200  # times the file's bytes; ours expand 2 to 20 times
_SMALL = 2**20  # bytes that a file may have unpacked whatever its size
_MOST_TEXT = 2**26  # bytes of one column of texts in a batch, and of one text
_LIMITS = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**20}  # of the footer


def refuse_other_files(folder: Path) -> None:
    """Let pass a folder whose Parquet files have the columns that export writes, and are not packed beyond reason.

    Raises:
        InvalidSnapshot: naming the file.
    """
    for name in SCHEMAS:
        size = (folder / name).stat().st_size
        try:
            with pq.ParquetFile(folder / name, **_LIMITS) as opened:
                found, metadata = opened.schema_arrow, opened.metadata
        except (pa.ArrowException, OSError) as error:
            raise InvalidSnapshot(f"{name} is not Parquet ({error!s:.200})") from error
        if not found.equals(SCHEMAS[name]):
            raise InvalidSnapshot(f"{name} has other columns than {', '.join(SCHEMAS[name].names)}")
        if _unpacked(metadata) > max(_SMALL, MOST_EXPANDED * size):
            raise InvalidSnapshot(f"{name} has {size} bytes and says that it unpacks to {_unpacked(metadata)}")


def rows_in(file: Path) -> int:
    """How many rows the file says it has."""
    return int(pq.read_metadata(file).num_rows)


def batches(file: Path) -> Iterator[pa.RecordBatch]:
    """The rows, a few thousand at a time, once none is null that may not be.

    A text that occurs often is kept once until its length was looked at: a dictionary of few bytes can stand for many.

    Raises:
        InvalidSnapshot: the file cannot be read, or a column of it is too large.
    """
    schema = SCHEMAS[file.name]
    texts = [field.name for field in schema if field.type == pa.string()]
    try:
        with pq.ParquetFile(file, read_dictionary=texts, **_LIMITS) as opened:
            for batch in opened.iter_batches(ROWS):
                yield _plain(batch, schema, file.name)
    except (pa.ArrowException, OSError) as error:
        raise InvalidSnapshot(f"{file.name} cannot be read ({error!s:.200})") from error


def _plain(batch: pa.RecordBatch, schema: pa.Schema, name: str) -> pa.RecordBatch:
    columns = []
    for field in schema:
        column = batch[field.name]
        if column.null_count and not field.nullable:
            raise InvalidSnapshot(f"{name} lacks a {field.name}")
        if pa.types.is_dictionary(column.type):
            column = _spelt_out(column, name)
        elif pa.types.is_list(column.type) and column.flatten().null_count:
            raise InvalidSnapshot(f"{name} has a null in a {field.name}")
        columns.append(column)
    return pa.record_batch(columns, schema=schema)


def _spelt_out(column: Any, name: str) -> Any:
    lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
    total = pc.sum(lengths.cast(pa.int64())).as_py() or 0
    if total > _MOST_TEXT:
        raise InvalidSnapshot(f"{name} has {total} bytes of text in a few rows, at most {_MOST_TEXT} are taken")
    return column.dictionary_decode()


def _unpacked(metadata: Any) -> int:
    """Bytes of all row groups, and values at a byte each: a run of one value takes next to none."""
    columns = [
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    return sum(max(column.total_uncompressed_size, column.num_values // 8) for column in columns)
