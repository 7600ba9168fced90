"""Bulk load by PostgreSQL's binary COPY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, Table

from sensedict_server.database import driver


def copy_rows(connection: Connection, table: Table, types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Add the rows inside the connection's transaction.

    Args:
        types: column to its own type, `int8` and not `int4`, for nothing is cast on the way.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, types))
    )
    with driver(connection) as own, own.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(types.values()))
        for row in rows:
            copy.write_row(row)
