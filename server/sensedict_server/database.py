"""The engine: one pool a process, pgvector's types on every connection, and our errors in place of the driver's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import make_conninfo
from psycopg.types import TypeInfo
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection

from sensedict.errors import Conflict, Unavailable
from sensedict_server import metrics
from sensedict_server.embedded import open_embedded
from sensedict_server.settings import Settings

_CONNECT_TIMEOUT = 5  # seconds
# A peer that is gone without a word (a pulled cable) is noticed in about 15 seconds, not in a quarter of an hour.
_KEEPALIVE = {"tcp_user_timeout": 15_000, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}
_CONNECT = {"connect_timeout": _CONNECT_TIMEOUT, "application_name": "sensedict", **_KEEPALIVE}
# A statement ends soon after the process that waits for it, also where that was killed and could not say so.
_NOTICE_DEATH = "SET client_connection_check_interval = '2s'"
# Classes of SQLSTATE that say "not now": connection, resources, operator's intervention (a shutdown), a standby, which
# also ends a query that reads what the primary has removed meanwhile.
_PASSING = ("08", "53", "55P03", "57", "25006", "40001")
_TOLD = {
    "25006": "the database takes no changes now: it is a standby, or set read-only",
    "40001": "the database is a standby and must follow its primary: set hot_standby_feedback = on there",
    "53100": "the database's disk is full",
    "53200": "the database has no memory left for this",
    "53300": "the database has no connection left: see max_connections there, and SENSEDICT_POOL_SIZE here",
    "55P03": "the database waited too long for what another change holds",
    "57014": "the database stopped the query, which took longer than it allows",
}


class NotReached(Unavailable):
    """The service, or the database behind it, cannot answer now; try again later.

    The driver's reason names the database's host and user: it is for the log and the command line, `told` for callers.
    """

    told = "the database cannot be reached"


def engine(settings: Settings) -> Engine:
    """Give the pool of connections to the database of `settings`; an embedded one is started.

    There are never more connections than `settings.pool_size`. A connection that the server closed meanwhile is
    replaced before use, so a restart of the database needs no restart here. Nothing is connected yet.

    Raises, when used:
        Unavailable: the database cannot be reached, went away, or was not migrated.
        Conflict: a change of something published.
    """
    return _pool(settings.database_url or open_embedded(settings.embedded), settings.pool_size, _WatchedPool)


def one_beside(engine: Engine, seconds: float) -> Engine:
    """A pool of one connection to the same database, for what must be answered while all of `engine`'s are in use.

    Args:
        seconds: a statement may take.
    """
    made = _pool(engine.url, 1, QueuePool)

    def bound(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{seconds:.0f}s",))
        connection.commit()

    event.listen(made, "connect", bound)
    return made


def _pool(url: URL, size: int, kind: type[QueuePool]) -> Engine:
    made = create_engine(
        url,
        poolclass=kind,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_CONNECT_TIMEOUT,
        pool_pre_ping=True,
        connect_args=_CONNECT,
    )
    event.listen(made, "connect", _register_types)
    event.listen(made, "handle_error", _translate)
    return made


class _WatchedPool(QueuePool):
    """A pool that measures how long it lets wait."""

    def connect(self) -> PoolProxiedConnection:
        """A connection that answers."""
        started = time.monotonic()
        try:
            return super().connect()
        except PoolTimeout:
            metrics.POOL_TIMEOUTS.inc()
            raise
        finally:
            metrics.POOL_WAIT.observe(time.monotonic() - started)


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The pool that `engine` gives, its connections given back at the end of the block."""
    made = engine(settings)
    try:
        yield made
    finally:
        made.dispose()


def conninfo(engine: Engine) -> str:
    """The address of the engine's database as libpq reads it, password and all, for a library that connects itself."""
    _, parts = engine.dialect.create_connect_args(engine.url)
    return make_conninfo(**{**{name: value for name, value in parts.items() if name != "context"}, **_CONNECT})


def takes_changes(connection: Connection) -> bool:
    """Whether the server is neither a standby nor set read-only."""
    return bool(connection.exec_driver_sql("SELECT NOT current_setting('transaction_read_only')::bool").scalar_one())


@contextmanager
def driver(connection: Connection) -> Iterator[psycopg.Connection[Any]]:
    """The driver's own connection, for COPY and binary reads, in the same transaction.

    Raises:
        Unavailable: the database went away.
    """
    found = connection.connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise Unavailable("the connection to the database is closed")
    try:
        yield found
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if found.broken or _passes(error):
            connection.invalidate(error)
            raise _unavailable(error) from error
        raise


def _register_types(connection: psycopg.Connection[Any], _record: object) -> None:
    """Teach a connection pgvector's types; before the first migration there are none."""
    connection.execute(_NOTICE_DEATH)
    connection.commit()
    if TypeInfo.fetch(connection, "vector") is not None:
        register_vector(connection)
    connection.rollback()  # the look-up opened a transaction


def _translate(context: ExceptionContext) -> None:
    """Raise ours for a lost connection, and for what the triggers of published data refuse."""
    if context.is_pre_ping:  # the pool deals with it: it connects anew
        return
    error = context.original_exception
    if isinstance(error, psycopg.Error):
        metrics.DATABASE_ERRORS.labels(error.sqlstate or "connection").inc()
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):  # demoted: the address may lead to another server now
        context.is_disconnect = True
    if isinstance(error, psycopg.errors.RestrictViolation):
        raise Conflict(error.diag.message_primary or str(error))
    if isinstance(error, psycopg.errors.UndefinedTable):
        raise Unavailable(f"{error.diag.message_primary}: bring the database up to date with `sensedict migrate`")
    if isinstance(error, psycopg.Error) and (context.is_disconnect or context.connection is None or _passes(error)):
        raise _unavailable(error)


def _passes(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_PASSING)


def _unavailable(error: psycopg.Error) -> Unavailable:
    told = _TOLD.get(error.sqlstate or "")
    if told is not None:
        return Unavailable(told)
    reason = str(error).strip().splitlines()
    return NotReached(f"{NotReached.told}: {reason[0] if reason else type(error).__name__}")
