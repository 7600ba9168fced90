"""Whether this process can answer: what `/readyz` looks at, quickly, and `sensedict doctor` too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import Connection, Engine

from sensedict import wire
from sensedict.errors import ConfigurationError, Corrupt, Unavailable
from sensedict.fileset import MANIFEST
from sensedict.snapshot import Snapshot
from sensedict_server import files, schema
from sensedict_server.database import NotReached
from sensedict_server.queries.dictionaries import count_published
from sensedict_server.queries.operations import Latest, latest_dictionaries, pgvector_version

NEEDED_PGVECTOR, SAFE_PGVECTOR = (0, 8), (0, 8, 2)
_TABLES_ROOM = 1.5  # the file set's tables and index, beside its vectors


def examine(engine: Engine, files_root: Path) -> tuple[wire.Health, list[wire.ProblemError]]:
    """What there is, and each fault under the name of its check: database, migration, pgvector, files.

    Anybody may ask: folders and addresses are left to `sensedict doctor`.
    """
    try:
        with engine.connect() as connection:
            return _examine(connection, files_root)
    except Unavailable as away:
        return wire.Health(status="ok"), [
            _fault("database", away.told if isinstance(away, NotReached) else away.detail)
        ]


def pgvector_fault(version: str | None) -> str | None:
    """What is wrong with pgvector of that version, None where it will do."""
    if version is None:
        return "the database has no pgvector: install it on the server, and run `sensedict migrate`"
    if _parts(version) < NEEDED_PGVECTOR:
        return (
            f"pgvector is {version}, 0.8 or newer is needed: install it on the server, and "
            "`ALTER EXTENSION vector UPDATE` in this database"
        )
    return None


def pgvector_warning(version: str) -> str | None:
    """Why another version would be better, None where it would not."""
    if _parts(version) < SAFE_PGVECTOR:
        return f"pgvector is {version}: before 0.8.2 an index that is built in parallel may be damaged; update it"
    return None


def file_set_fault(root: Path, latest: Latest) -> str | None:
    """Why bulk requests for the dictionary would fail; None where its file set is here, or can be written."""
    place = files.folder(root, latest.ref)
    try:
        if (place / MANIFEST).exists():
            with Snapshot.open(place) as found:
                if found.identity.content_hash == latest.content_hash:
                    return None
    except (Corrupt, ConfigurationError) as error:
        return f"{error.detail}; remove {place}, and `sensedict files write {latest.ref}` makes it anew"
    parent = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"the file set of {latest.ref} is not here and cannot be written: {parent} is not ours to write in"
    free, needed = shutil.disk_usage(parent).free, int(latest.bytes * _TABLES_ROOM)
    if free < needed:
        return f"the file set of {latest.ref} is not here, takes some {needed} bytes, and {parent} has {free} left"
    return None


def _examine(connection: Connection, files_root: Path) -> tuple[wire.Health, list[wire.ProblemError]]:
    version = pgvector_version(connection)
    wrong = pgvector_fault(version)
    faults = [] if wrong is None else [_fault("pgvector", wrong)]
    try:
        migration = schema.require_current(connection)
    except ConfigurationError as error:  # there may be no tables to look at
        return wire.Health(status="ok"), [*faults, _fault("migration", error.detail)]
    for latest in latest_dictionaries(connection):
        if file_set_fault(files_root, latest) is not None:
            faults.append(_fault("files", f"the file set of {latest.ref} is damaged, or missing and cannot be written"))
    warning = None if version is None else pgvector_warning(version)
    health = wire.Health(
        status="ok",
        dictionaries=count_published(connection),
        migration=migration,
        pgvector=version,
        warnings=[] if warning is None else [warning],
    )
    return health, faults


def _fault(check: str, detail: str) -> wire.ProblemError:
    return wire.ProblemError(pointer=f"/{check}", detail=detail)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
