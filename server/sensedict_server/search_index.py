"""The index for approximate search over one dictionary: made while the service answers, dropped with the dictionary."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, text

from sensedict.errors import ConfigurationError, Conflict
from sensedict_server.database import driver, one_beside
from sensedict_server.queries import search
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.search import Progress

_LOCK = 0x5E45ED1F  # advisory, of a session, with the dictionary's id: one process makes it
_LOOK = 1.0  # seconds between two looks at how far it is
_LINKS = 300  # bytes of a sense in the graph, beside what is compared

_CREATE = """
CREATE INDEX CONCURRENTLY {name} ON senses USING hnsw ({held} {operators}) WHERE dictionary_id = {dictionary}
"""

_log = logging.getLogger(__name__)


def graph_bytes(dictionary: Dictionary) -> int:
    """About what the graph takes in memory while it is made; with less PostgreSQL writes it to disk and is slow."""
    number = dictionary.dim * 2 if dictionary.dim <= search.WIDEST_HALFVEC else dictionary.dim // 8
    return dictionary.senses * (number + _LINKS)


def memory_allowed(engine: Engine) -> int:
    """Bytes that the server lets one index take in memory while it is made."""
    with engine.connect() as connection:
        return int(
            connection.execute(text("SELECT pg_size_bytes(current_setting('maintenance_work_mem'))")).scalar_one()
        )


def make(engine: Engine, dictionary: Dictionary, tell: Callable[[Progress], object]) -> bool:
    """Make the index of a published dictionary, perhaps in hours; False where it is there.

    What a stopped attempt left is dropped first. Nobody is kept from reading or writing meanwhile.

    Args:
        engine: of the owner of the tables.
        tell: called about every second.

    Raises:
        ConfigurationError: the user of `engine` does not own the tables.
        Conflict: another process makes it now.
        Unavailable: the database went away; what is there of the index is of no use.
    """
    own = one_beside(engine, 0)  # without an end
    watching = one_beside(engine, 30)
    done = Event()
    watch = Thread(target=_watch, args=(watching, dictionary.id, tell, done), daemon=True)
    try:
        # outside a transaction, as CONCURRENTLY must be
        with own.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            if not _alone(connection, dictionary.id):
                raise Conflict(f"the index of {dictionary.ref} is being made by another process: wait for it")
            state = search.index_state(connection, dictionary.id)
            if state == "valid":
                return False
            watch.start()
            _make(connection, dictionary, state == "broken")
            return True
    finally:
        done.set()
        if watch.is_alive():
            watch.join()
        own.dispose()
        watching.dispose()


def drop(engine: Engine, dictionary_id: int) -> bool:
    """Drop the index of a dictionary that is deleted; False where it has none.

    Raises:
        Unavailable: somebody has been reading senses for a second; call again.
    """
    with engine.begin() as connection:
        found = connection.execute(text("SELECT drop_search_index(:gone)"), {"gone": dictionary_id})
        return bool(found.scalar_one())


def _make(connection: Connection, dictionary: Dictionary, broken: bool) -> None:
    name = sql.Identifier(search.index_name(dictionary.id))
    held, operators, _ = search.indexed(dictionary.dim, sql.Identifier("vector"))
    create = sql.SQL(_CREATE).format(name=name, held=held, operators=operators, dictionary=sql.Literal(dictionary.id))
    try:
        with driver(connection) as raw:
            if broken:
                raw.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(name))
            raw.execute(create)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"{connection.engine.url.username!r} may not make an index: run the command as the owner of the tables, "
            "who runs `sensedict migrate`; the service itself needs no such right"
        ) from error


def _alone(connection: Connection, dictionary_id: int) -> bool:
    """Whether no other process makes it now; the lock is the session's."""
    lock = text("SELECT pg_try_advisory_lock(:lock, :id)")
    return bool(connection.execute(lock, {"lock": _LOCK, "id": dictionary_id % 2**31}).scalar_one())


def _watch(engine: Engine, dictionary_id: int, tell: Callable[[Progress], object], done: Event) -> None:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        while not done.wait(_LOOK):
            progress = search.index_progress(connection, dictionary_id)
            if progress is not None:
                tell(progress)
