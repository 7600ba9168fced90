"""Search by an index of senses, one for each dictionary that has one; and how far the making of one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import sql
from sqlalchemy import Connection, text

from sensedict_server.database import driver

WIDEST_HALFVEC = 4_000  # dimensions that pgvector indexes as they are; wider vectors by the signs of their numbers
_AT_ONCE = 64  # queries in a statement
_LARGEST_EF = 1_000  # of pgvector
_CANDIDATES = 200  # senses that the index is asked for, at least: compared exactly they give the p nearest
_PER_NEAREST = 4

_SEARCH = """
SELECT q.place - 1, s.sense_id
FROM unnest(%b::halfvec[]) WITH ORDINALITY AS q (vector, place)
CROSS JOIN LATERAL (
    SELECT sense_id FROM senses WHERE dictionary_id = {dictionary} ORDER BY {held} {operator} {asked} LIMIT {count}
) s
"""
# The scan goes on where it meets dead rows; out of order, since what it gives is sorted anyway. Compiling the
# statement would take longer than it runs.
_SETTINGS = """
SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
    set_config('jit', 'off', true)
"""
_STATE = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"
_PROGRESS = """
SELECT phase, blocks_done, blocks_total, tuples_done FROM pg_stat_progress_create_index
WHERE index_relid = to_regclass(:name)
"""


@dataclass(frozen=True)
class Progress:
    """How far an index is, as PostgreSQL tells; `rows` are of the dictionary, `blocks` of the whole table."""

    phase: str
    blocks: int
    blocks_total: int
    rows: int


def index_name(dictionary_id: int) -> str:
    """What the index of a dictionary's senses is called; `drop_search_index` of migration 0008 knows it too."""
    return f"ix_senses_search_{dictionary_id}"


def index_state(connection: Connection, dictionary_id: int) -> str | None:
    """`valid`; `broken` where it is being made or its making was stopped; None where there is none."""
    found = connection.execute(text(_STATE), {"name": index_name(dictionary_id)}).scalar_one_or_none()
    return None if found is None else "valid" if found else "broken"


def index_progress(connection: Connection, dictionary_id: int) -> Progress | None:
    """How far the index is, None where none is being made."""
    row = connection.execute(text(_PROGRESS), {"name": index_name(dictionary_id)}).one_or_none()
    return None if row is None else Progress(*row)


def indexed(dim: int, vector: sql.Composable) -> tuple[sql.Composed, sql.SQL, sql.SQL]:
    """What of a vector is in the index, the operator class, and the operator that its order goes by."""
    if dim <= WIDEST_HALFVEC:
        held = sql.SQL("({}::halfvec({}))").format(vector, sql.Literal(dim))
        return held, sql.SQL("halfvec_l2_ops"), sql.SQL("<->")
    held = sql.SQL("(binary_quantize({})::bit({}))").format(vector, sql.Literal(dim))
    return held, sql.SQL("bit_hamming_ops"), sql.SQL("<~>")


def candidates(
    connection: Connection, dictionary_id: int, vectors: NDArray[np.float32], p: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Senses among which the p nearest of each vector probably are, by the dictionary's index.

    Args:
        connection: without a transaction of its own, so that who does not wait any more ends the search.
        vectors: (n, D).

    Returns:
        rows (m,) of `vectors`, and sense ids (m,).
    """
    dim = vectors.shape[1]
    count = min(max(_CANDIDATES, _PER_NEAREST * p), _LARGEST_EF)
    held, _, operator = indexed(dim, sql.Identifier("vector"))
    asked, _, _ = indexed(dim, sql.Identifier("q", "vector"))
    # The dictionary's number is part of the statement: the index is of that dictionary alone.
    statement = sql.SQL(_SEARCH).format(
        dictionary=sql.Literal(dictionary_id), held=held, operator=operator, asked=asked, count=sql.Literal(count)
    )
    found: list[tuple[int, int]] = []
    with driver(connection) as own:
        for start, part in _parts(vectors):
            with own.transaction(), own.cursor(binary=True) as cursor:
                cursor.execute(_SETTINGS, [str(count)])
                rows = cursor.execute(statement, [part]).fetchall()
            found += [(start + row, sense) for row, sense in rows]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _parts(vectors: NDArray[np.float32]) -> Iterator[tuple[int, Sequence[Any]]]:
    """The vectors as the index compares them, some at a time, and where each part begins."""
    largest = np.finfo(np.float16).max
    for start in range(0, len(vectors), _AT_ONCE):
        narrow = np.clip(vectors[start : start + _AT_ONCE], -largest, largest).astype(np.float16)
        yield start, [HalfVector(vector) for vector in narrow]
