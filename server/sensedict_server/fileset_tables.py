"""The Parquet files of a file set: their columns, and the queries that fill them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, Select

from sensedict.fileset import FileEntry, hash_file
from sensedict_server.queries import export

ROWS = 10_000  # held at once while a table is written or read

_RANGE = {"first_sense": pa.int64(), "sense_count": pa.int16()}
SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema([pa.field(column.rstrip("?"), kind, column.endswith("?")) for column, kind in columns.items()])
    for name, columns in {
        # a question mark: may be null
        "tokens.parquet": {"token_id": pa.int32(), "text": pa.string(), "occurrences": pa.int64(), **_RANGE},
        "words.parquet": {
            "word_id": pa.int64(),
            "word": pa.string(),
            "language": pa.string(),
            "token_ids": pa.list_(pa.int32()),
            **_RANGE,
            "reason?": pa.string(),
        },
        "senses.parquet": {
            "sense_id": pa.int64(),
            "token_id?": pa.int32(),
            "word_id?": pa.int64(),
            "ordinal": pa.int16(),
            "count": pa.int64(),
            "inertia": pa.float32(),
        },
        "contexts.parquet": {
            "sense_id": pa.int64(),
            "ordinal": pa.int16(),
            "text": pa.string(),
            "start": pa.int32(),
            "end": pa.int32(),
        },
        "lexicon_words.parquet": {"word_id": pa.int64(), "word": pa.string(), "language": pa.string()},
        "relations.parquet": {
            "relation_id": pa.int64(),
            "word_id": pa.int64(),
            "word": pa.string(),
            "other_id": pa.int64(),
            "other": pa.string(),
            "type": pa.string(),
            "source": pa.string(),
            "licence": pa.string(),
            "rule?": pa.string(),
            "parent_id?": pa.int64(),
            "conflict": pa.bool_(),
            "directed": pa.bool_(),
            "pos?": pa.string(),
            "via?": pa.string(),
        },
        "glosses.parquet": {
            "gloss_id": pa.int64(),
            "word_id": pa.int64(),
            "word": pa.string(),
            "source": pa.string(),
            "pos?": pa.string(),
            "text": pa.string(),
        },
        "relation_glosses.parquet": {"relation_id": pa.int64(), "gloss_id": pa.int64()},
        "forms.parquet": {
            "form_id": pa.int64(),
            "form": pa.string(),
            "lemma_id": pa.int64(),
            "lemma": pa.string(),
            "source": pa.string(),
            "pos?": pa.string(),
        },
        "segmentations.parquet": {
            "word_id": pa.int64(),
            "word": pa.string(),
            "source": pa.string(),
            "text": pa.string(),
            "pos": pa.list_(pa.string()),
        },
        "judgements.parquet": {
            "judgement_id": pa.int64(),
            "verdict": pa.string(),
            "word": pa.string(),
            "other": pa.string(),
            "type": pa.string(),
            "reason": pa.string(),
            "author": pa.string(),
            "created_at": pa.timestamp("us", tz="UTC"),
        },
    }.items()
}


def of_dictionary(dictionary_id: int) -> dict[str, Select[Any]]:
    """The rows of each file of `sensedict.fileset.OF_DICTIONARY`, in the order of the file's columns."""
    return {
        "tokens.parquet": export.all_tokens(dictionary_id),
        "words.parquet": export.all_words(dictionary_id),
        "senses.parquet": export.all_senses(dictionary_id),
        "contexts.parquet": export.all_contexts(dictionary_id),
    }


def of_lexicon(lexicon_id: int, judgement_ids: list[int]) -> dict[str, Select[Any]]:
    """The rows of each file of `sensedict.fileset.OF_LEXICON`."""
    return {
        "lexicon_words.parquet": export.lexicon_words(lexicon_id),
        "relations.parquet": export.all_relations(lexicon_id),
        "glosses.parquet": export.all_glosses(lexicon_id),
        "relation_glosses.parquet": export.all_relation_glosses(lexicon_id),
        "forms.parquet": export.all_forms(lexicon_id),
        "segmentations.parquet": export.all_segmentations(lexicon_id),
        "judgements.parquet": export.judgements_by_id(judgement_ids),
    }


def write_table(
    connection: Connection,
    query: Select[Any],
    file: Path,
    advance: Callable[[int], object] = lambda rows: None,
) -> FileEntry:
    """Write the rows of `query` to the Parquet file, whose name says which columns they have."""
    schema = SCHEMAS[file.name]
    # Closed when it is stopped: a cursor that outlives its transaction says so.
    parts = closing(partitions(connection, query))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer, parts as found:
        for part in found:
            columns = zip(*part, strict=True)
            typed = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(typed, schema=schema))
            advance(len(part))
    sync(file)
    return hash_file(file)


def partitions(connection: Connection, query: Select[Any]) -> Generator[Any]:
    """The rows of `query`, a few thousand at a time; the server keeps the rest."""
    with connection.execute(query, execution_options={"yield_per": ROWS}) as result:
        yield from result.partitions()


def sync(path: Path) -> None:
    """Bring a file or folder to the disk: a rename must not come there before the data."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
