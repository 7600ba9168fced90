"""The rows of a checked file set, by binary COPY, inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, insert, text, update

from sensedict.snapshot import Snapshot
from sensedict_server.build.copying import copy_rows
from sensedict_server.database import driver
from sensedict_server.row_hash import Ids, numbers
from sensedict_server.snapshots.parquet import batches
from sensedict_server.snapshots.staging import Staged
from sensedict_server.tables import contexts, dictionaries, dictionary_words, tokens

Advance = Callable[[int], object]
_PIECE = 2**22  # bytes of a COPY that are made together
_COPY_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_END = b"\xff\xff"


@dataclass(frozen=True)
class Numbering:
    """The ids of a file set's words beside those that the database has given them.

    Attributes:
        old: rising. new: in the same order.
    """

    old: Ids
    new: Ids

    def __call__(self, ids: Ids) -> Ids:
        """The database's id of each; -1 stays as it is."""
        found: Ids = np.where(ids == -1, -1, self.new[np.minimum(np.searchsorted(self.old, ids), len(self.old) - 1)])
        return found


def load_dictionary(connection: Connection, staged: Staged, lexicon_id: int, words: Numbering, advance: Advance) -> int:
    """Add the dictionary's rows, its own row still a draft; gives its id."""
    folder, manifest, record = staged.folder, staged.manifest, staged.record
    identity = {name: value for name, value in vars(manifest.identity).items() if name != "content_hash"}
    row = insert(dictionaries).values(
        **identity,
        lexicon_id=lexicon_id,
        settings=manifest.settings,
        tokens_with_senses=record.tokens_with_senses,
        words_with_senses=record.words_with_senses,
    )
    dictionary_id = int(connection.execute(row.returning(dictionaries.c.id)).scalar_one())
    types = {"dictionary_id": "int8", "token_id": "int4", "text": "text", "occurrences": "int8"}
    types |= {"first_sense": "int8", "sense_count": "int2"}
    copy_rows(connection, tokens, types, _rows(folder / "tokens.parquet", dictionary_id, advance))
    _copy_words(connection, folder, dictionary_id, words, advance)
    _copy_senses(connection, folder, dictionary_id, words, advance)
    types = {"dictionary_id": "int8", "sense_id": "int8", "ordinal": "int2", "text": "text", "start": "int4"}
    types |= {"end": "int4"}
    copy_rows(connection, contexts, types, _rows(folder / "contexts.parquet", dictionary_id, advance))
    # Statistics for the planner: an embedded server may stop before its autovacuum comes by.
    connection.execute(text("ANALYZE tokens, dictionary_words, senses, contexts"))
    return dictionary_id


def publish_row(connection: Connection, dictionary_id: int, content_hash: str, published_at: Any) -> None:
    """Freeze the dictionary's row."""
    values = {"state": "published", "content_hash": content_hash, "published_at": published_at}
    connection.execute(update(dictionaries).where(dictionaries.c.id == dictionary_id).values(values))


def _rows(file: Path, owner: int, advance: Advance) -> Iterator[tuple[Any, ...]]:
    for batch in batches(file):
        yield from zip([owner] * len(batch), *(column.to_pylist() for column in batch.columns), strict=True)
        advance(len(batch))


def _copy_words(connection: Connection, folder: Path, dictionary_id: int, words: Numbering, advance: Advance) -> None:
    ids = [words(numbers(batch["word_id"])) for batch in batches(folder / "words.parquet")]
    ordered = bool((np.diff(np.concatenate([np.empty(0, np.int64), *ids])) > 0).all())

    def rows() -> Iterator[tuple[Any, ...]]:
        place = 0
        for word_ids, batch in zip(ids, batches(folder / "words.parquet"), strict=True):
            values = (batch[name].to_pylist() for name in ("token_ids", "first_sense", "sense_count", "reason"))
            for word_id, *rest in zip(word_ids.tolist(), *values, strict=True):
                yield dictionary_id, word_id, *rest, None if ordered else place
                place += 1
            advance(len(batch))

    types = {"dictionary_id": "int8", "word_id": "int8", "token_ids": "int4[]", "first_sense": "int8"}
    types |= {"sense_count": "int2", "reason": "text", "place": "int8"}
    copy_rows(connection, dictionary_words, types, rows())


def _copy_senses(connection: Connection, folder: Path, dictionary_id: int, words: Numbering, advance: Advance) -> None:
    """Made in arrays: no Python object a sense, which are most of the rows and nearly all of the bytes."""
    names = ("dictionary_id", "sense_id", "token_id", "word_id", "ordinal", "count", "inertia", "vector")
    statement = sql.SQL("COPY senses ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with (
        Snapshot.open(folder) as snapshot,
        driver(connection) as own,
        own.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        vectors = snapshot.vectors
        copy.write(_COPY_HEAD)
        for batch in batches(folder / "senses.parquet"):
            columns = {name: numbers(batch[name]) for name in names[1:6]}
            columns |= {"inertia": batch["inertia"].to_numpy(), "word_id": words(columns["word_id"])}
            for part in _parts(columns["token_id"] == -1, vectors.shape[1]):
                values: dict[str, Any] = {name: column[part] for name, column in columns.items()}
                start = int(values["sense_id"][0])
                values |= {"dictionary_id": dictionary_id, "vector": vectors[start : start + part.stop - part.start]}
                copy.write(_binary(values))
            advance(len(batch))
        copy.write(_COPY_END)


def _parts(composed: NDArray[np.bool_], dim: int) -> Iterator[slice]:
    """Slices of a few MB, of rows with owners of one kind."""
    turns = [0, *(np.flatnonzero(np.diff(composed)) + 1).tolist(), len(composed)]
    step = max(1, _PIECE // (2 * dim + 100))
    for begin, end in pairwise(turns):
        for start in range(begin, end, step):
            yield slice(start, min(start + step, end))


def _binary(values: Mapping[str, Any]) -> bytes:
    """Rows of `senses` as a binary COPY has them: their number of columns, then each as its length and its bytes."""
    composed = bool(values["token_id"][0] == -1)
    dim = values["vector"].shape[1]
    kinds: Sequence[tuple[str, Any]] = (
        ("dictionary_id", ">i8"),
        ("sense_id", ">i8"),
        ("token_id", None if composed else ">i4"),
        ("word_id", ">i8" if composed else None),
        ("ordinal", ">i2"),
        ("count", ">i8"),
        ("inertia", ">f4"),
        ("vector", np.dtype([("dim", ">i2"), ("unused", ">i2"), ("numbers", ">f2", (dim,))])),
    )
    fields: list[tuple[str, Any]] = [("columns", ">i2")]
    for name, kind in kinds:
        fields += [(f"{name} bytes", ">i4")] + ([] if kind is None else [(name, kind)])
    rows = np.zeros(len(values["sense_id"]), np.dtype(fields))
    rows["columns"] = len(kinds)
    for name, kind in kinds:
        rows[f"{name} bytes"] = -1 if kind is None else np.dtype(kind).itemsize  # -1: null
        if name == "vector":
            rows[name]["dim"], rows[name]["numbers"] = dim, values[name]
        elif kind is not None:
            rows[name] = values[name]
    return rows.tobytes()
