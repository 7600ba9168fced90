"""The engine: one pool a process, pgvector's types on every connection, and our errors in place of the driver's."""

from __future__ import annotations

from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.types import TypeInfo
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext

from sensedict.errors import Conflict, Unavailable
from sensedict_server.embedded import open_embedded
from sensedict_server.settings import Settings

_CONNECT_TIMEOUT = 5  # seconds
# Classes of SQLSTATE that say "not now": connection, resources, operator's intervention (a shutdown).
_PASSING = ("08", "53", "57")


def engine(settings: Settings) -> Engine:
    """Give the pool of connections to the database of `settings`; an embedded one is started.

    There are never more connections than `settings.pool_size`. A connection that the server closed meanwhile is
    replaced before use, so a restart of the database needs no restart here. Nothing is connected yet.

    Raises, when used:
        Unavailable: the database cannot be reached, or went away.
        Conflict: a change of something published.
    """
    made = create_engine(
        settings.database_url or open_embedded(settings.embedded),
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_TIMEOUT,
        pool_pre_ping=True,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT, "application_name": "sensedict"},
    )
    event.listen(made, "connect", _register_types)
    event.listen(made, "handle_error", _translate)
    return made


def _register_types(connection: psycopg.Connection[Any], _record: object) -> None:
    """Teach a connection pgvector's types; before the first migration there are none."""
    if TypeInfo.fetch(connection, "vector") is not None:
        register_vector(connection)
    connection.rollback()  # the look-up opened a transaction


def _translate(context: ExceptionContext) -> None:
    """Raise ours for a lost connection, and for what the triggers of published data refuse."""
    if context.is_pre_ping:  # the pool deals with it: it connects anew
        return
    error = context.original_exception
    if isinstance(error, psycopg.errors.RestrictViolation):
        raise Conflict(error.diag.message_primary or str(error))
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        state = error.sqlstate or ""
        if context.is_disconnect or context.connection is None or state[:2] in _PASSING:
            reason = str(error).strip().splitlines()
            raise Unavailable(f"the database cannot be reached: {reason[0] if reason else type(error).__name__}")
