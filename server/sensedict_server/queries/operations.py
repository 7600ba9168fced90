"""What who runs the service asks: versions, dictionaries to answer from, builds and workers, the server's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from sensedict.wire import LATEST
from sensedict_server.queries.queue import SILENCE

_LATEST = """
SELECT d.name || '@' || d.version AS ref, d.content_hash, 2 * d.dim * d.senses AS bytes
FROM aliases a JOIN dictionaries d ON d.id = a.dictionary_id
WHERE a.alias = :latest AND d.state = 'published' ORDER BY 1
"""
_WORKERS = """
SELECT count(*) FILTER (WHERE last_heartbeat > now() - make_interval(secs => :silence)) AS living, count(*) AS known
FROM procrastinate_workers
"""
_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_setting('max_connections')::int AS connections,
    current_setting('superuser_reserved_connections')::int AS reserved, pg_is_in_recovery() AS standby,
    current_setting('default_transaction_read_only')::bool AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS clock, current_user AS role,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector') AS pgvector_installed
"""
# What the service itself does: it reads all, and a route that changes something writes these.
_RIGHTS = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
    AND c.relname = ANY (:tables) AND NOT has_table_privilege(c.oid, 'SELECT') ORDER BY 1
"""
_BROKEN_INDEXES = """
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT (i.indisvalid AND i.indisready) AND c.relnamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) ORDER BY 1
"""
_COLLATION = """
SELECT quote_ident(datname) FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""
_DANGLING = """
SELECT a.name || '@' || a.alias FROM aliases a LEFT JOIN dictionaries d ON d.id = a.dictionary_id
WHERE d.state IS DISTINCT FROM 'published' ORDER BY 1
"""
# Running, yet no worker has it in hand, and nothing was made or said for the time given.
_STALLED = """
SELECT b.id, b.name || '@' || b.version AS ref FROM builds b
WHERE b.state = 'running' AND b.created_at < now() - make_interval(secs => :silence)
    AND NOT EXISTS (SELECT FROM build_log l WHERE l.build_id = b.id AND l.at > now() - make_interval(secs => :silence))
    AND NOT EXISTS (SELECT FROM build_shards s
        WHERE s.build_id = b.id AND s.created_at > now() - make_interval(secs => :silence))
    AND NOT EXISTS (SELECT FROM procrastinate_jobs j JOIN procrastinate_workers w ON w.id = j.worker_id
        WHERE j.queue_name = 'build-' || b.id AND j.status = 'doing'
            AND w.last_heartbeat > now() - make_interval(secs => :alive))
ORDER BY 1
"""


@dataclass(frozen=True)
class Latest:
    """A dictionary that a bare name stands for; `bytes` of its vectors, the largest part of its file set."""

    ref: str
    content_hash: str
    bytes: int


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server, as its connection shows it.

    Attributes:
        version: 180004 for 18.4.
        connections, reserved, used: how many there may be, are kept for superusers, and are open.
        clock: seconds since 1970.
        pgvector: of this database, None where it is not made there; `pgvector_installed`: what the server could make.
    """

    version: int
    connections: int
    reserved: int
    used: int
    standby: bool
    read_only: bool
    clock: float
    role: str
    pgvector: str | None
    pgvector_installed: str | None


def pgvector_version(connection: Connection) -> str | None:
    """Version of the extension in this database, None where it was not made."""
    found = connection.execute(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
    version: str | None = found.scalar_one_or_none()
    return version


def latest_dictionaries(connection: Connection) -> list[Latest]:
    """What the alias `latest` of every name stands for."""
    return [Latest(*row) for row in connection.execute(text(_LATEST), {"latest": LATEST})]


def builds_by_state(connection: Connection) -> Mapping[str, int]:
    """How many builds are in each state that one is in."""
    rows = connection.execute(text("SELECT state, count(*) AS builds FROM builds GROUP BY state"))
    return {row.state: row.builds for row in rows}


def count_workers(connection: Connection) -> tuple[int, int]:
    """Workers that gave a sign of life lately, and all that signed on and never off."""
    row = connection.execute(text(_WORKERS), {"silence": SILENCE}).one()
    return row.living, row.known


def server(connection: Connection) -> Server:
    """The server at the other end."""
    return Server(**connection.execute(text(_SERVER)).one()._mapping)


def unreadable(connection: Connection, tables: list[str]) -> list[str]:
    """Those of the tables that the role may not read."""
    return _names(connection, _RIGHTS, tables=tables)


def broken_indexes(connection: Connection) -> list[str]:
    """Indexes that a failed CREATE INDEX CONCURRENTLY or REINDEX left, which no query uses."""
    return _names(connection, _BROKEN_INDEXES)


def collation_changed(connection: Connection) -> str | None:
    """The database's name, quoted, where the system sorts texts otherwise than when it was made."""
    return next(iter(_names(connection, _COLLATION)), None)


def dangling_aliases(connection: Connection) -> list[str]:
    """Aliases of no published dictionary."""
    return _names(connection, _DANGLING)


def stalled_builds(connection: Connection, silence: float) -> list[tuple[int, str]]:
    """Running builds of which no living worker makes a part, and of which nothing was heard for so many seconds."""
    rows = connection.execute(text(_STALLED), {"silence": silence, "alive": SILENCE})
    return [(row.id, row.ref) for row in rows]


def _names(connection: Connection, query: str, **given: Any) -> list[str]:
    return list(connection.execute(text(query), given).scalars())
