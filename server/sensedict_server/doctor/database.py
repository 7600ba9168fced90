"""Checks of the database server and of the schema in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine

from sensedict_server import schema
from sensedict_server.database import conninfo
from sensedict_server.doctor.findings import DatabaseCheck, Finding, Reached, Scene
from sensedict_server.queries import operations
from sensedict_server.readiness import pgvector_fault, pgvector_warning
from sensedict_server.tables import metadata

BESIDE_POOL = 4  # connections of a process beside its pool: for probes, keys, and upkeep two
_SKEW = 5.0  # seconds
_OLDEST = 15
_NAME = "correct the host's name in SENSEDICT_DATABASE_URL; between containers it is the service's name"
# What libpq says when it cannot connect, and what is to be done.
_REMEDIES = (
    (
        "password authentication failed",
        "correct user and password in SENSEDICT_DATABASE_URL or PGPASSWORD",
    ),
    ("no password supplied", "put the password into PGPASSWORD or SENSEDICT_DATABASE_URL"),
    ("no pg_hba.conf entry", "let this machine in: a line in the server's pg_hba.conf, then `SELECT pg_reload_conf()`"),
    ("does not exist", "create it on the server (CREATE DATABASE, CREATE ROLE), or name another one in the URL"),
    ("Connection refused", "start PostgreSQL, or correct host and port in SENSEDICT_DATABASE_URL"),
    ("No such file or directory", "start PostgreSQL, or correct the socket's folder in SENSEDICT_DATABASE_URL"),
    ("resolve host", "correct the host's name in SENSEDICT_DATABASE_URL; between containers it is the service's name"),
    (
        "translate host",
        "correct the host's name in SENSEDICT_DATABASE_URL; between containers it is the service's name",
    ),
    ("timeout", "look for a firewall between here and the server, and whether its host is up"),
    ("too many clients", "raise max_connections there, or lower SENSEDICT_POOL_SIZE and --workers here"),
    ("remaining connection slots", "raise max_connections there, or lower SENSEDICT_POOL_SIZE and --workers here"),
    ("starting up", "wait: the server recovers; its log says how far it is"),
    ("SSL", "add ?sslmode=… to SENSEDICT_DATABASE_URL as the server wants it"),
)


def unreachable(engine: Engine) -> Finding | None:
    """Why the database cannot be reached, None where it can."""
    try:
        psycopg.connect(conninfo(engine)).close()
    except psycopg.OperationalError as error:
        told = " ".join(str(error).split())
        remedy = next((fix for said, fix in _REMEDIES if said in told), "see the server's log")
        return Finding("database", "error", f"{engine.url.render_as_string()}: {told}", remedy)
    return None


@contextmanager
def reached(scene: Scene, engine: Engine) -> Iterator[Reached]:
    """The scene with a connection."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        asked = time.time()
        server = operations.server(connection)
        yield Reached(scene.settings, scene.workers, connection, server, asked, time.time())


def server_version(scene: Reached) -> Iterator[Finding]:
    """PostgreSQL new enough."""
    if scene.server.version < _OLDEST * 10_000:
        told = f"the server is PostgreSQL {scene.server.version // 10_000}, {_OLDEST} or newer is needed"
        yield Finding("server version", "error", told, "move the database: docs/backup.md")


def pgvector(scene: Reached) -> Iterator[Finding]:
    """The extension in the database, not only on the server's disk."""
    made, installed = scene.server.pgvector, scene.server.pgvector_installed
    if made is None and installed is not None:
        yield Finding("pgvector", "error", f"pgvector {installed} is not made in this database", "`sensedict migrate`")
        return
    fault = pgvector_fault(made)
    if fault is not None:
        yield Finding("pgvector", "error", fault, "use the image pgvector/pgvector:pg18, or install it on the server")
        return
    warning = pgvector_warning(made or "")
    if warning is not None:
        yield Finding("pgvector", "warning", warning, "install the newest, then ALTER EXTENSION vector UPDATE")
    elif made != installed and installed is not None:
        told = f"pgvector is {made} in this database, the server has {installed}"
        yield Finding("pgvector", "warning", told, "ALTER EXTENSION vector UPDATE")


def migration(scene: Reached) -> Iterator[Finding]:
    """The schema that this version needs."""
    found, needed = schema.current(scene.connection), schema.head()
    if found == needed:
        return
    if found is None or schema.is_known(found):
        told = f"the schema is {f'at {found}' if found else 'empty'}, this version needs {needed}"
        yield Finding("migration", "error", told, "`sensedict migrate`")
    else:
        told = f"the schema is at {found}, which this version ({needed}) does not know: it is of a newer one"
        yield Finding("migration", "error", told, "install the newer sensedict; or go down with that one")


def rights(scene: Reached) -> Iterator[Finding]:
    """The role may read what the service reads."""
    tables = [table.name for table in metadata.sorted_tables]
    closed = operations.unreadable(scene.connection, ["alembic_version", *tables])
    if closed:
        told = f"the role {scene.server.role} may not read {', '.join(closed)}"
        yield Finding(
            "rights", "error", told, f"as the owner: GRANT SELECT ON {', '.join(closed)} TO {scene.server.role}"
        )


def writable(scene: Reached) -> Iterator[Finding]:
    """Not a standby: reads work there, and nothing else."""
    if scene.server.standby or scene.server.read_only:
        what = "a standby" if scene.server.standby else "set read-only"
        fix = "name the primary, or several hosts and ?target_session_attrs=read-write"
        yield Finding("writable", "warning", f"the server is {what}: nothing can be built, published or changed", fix)


def connections(scene: Reached) -> Iterator[Finding]:
    """Enough of them for every process of the service."""
    server, size = scene.server, scene.settings.pool_size + BESIDE_POOL
    wanted, there = scene.workers * size, server.connections - server.reserved
    if wanted > there:
        told = f"{scene.workers} processes open up to {wanted} connections, the server allows {there}"
        fix = f"SENSEDICT_POOL_SIZE={max(1, there // scene.workers - BESIDE_POOL)}, fewer --workers, or max_connections"
        yield Finding("connections", "error", told, fix)
    elif server.used > 0.9 * there:
        told = f"{server.used} of the server's {there} connections are open"
        yield Finding(
            "connections", "warning", told, "see who: SELECT application_name, count(*) FROM pg_stat_activity …"
        )


def clock(scene: Reached) -> Iterator[Finding]:
    """This machine's and the server's agree: keys expire by it, logs are compared by it."""
    early, late = scene.server.clock - scene.answered, scene.server.clock - scene.asked
    skew = max(early, -late, 0.0)
    if skew > _SKEW:
        told = f"this machine's clock and the database's differ by {skew:.0f} s"
        yield Finding("clock", "warning", told, "run a time service (chrony, systemd-timesyncd) on both hosts")


def indexes(scene: Reached) -> Iterator[Finding]:
    """Every one in use, and sorted as the operating system sorts now."""
    for name in operations.broken_indexes(scene.connection):
        yield Finding("indexes", "error", f"the index {name} is invalid, no query uses it", f"REINDEX INDEX {name}")
    moved = operations.collation_changed(scene.connection)
    if moved:
        told = "the database was made with another version of its collation: text indexes may miss rows"
        yield Finding(
            "indexes", "error", told, f"REINDEX DATABASE {moved}; ALTER DATABASE {moved} REFRESH COLLATION VERSION"
        )


SERVER: list[DatabaseCheck] = [server_version, pgvector, rights, migration, writable, connections, clock, indexes]
