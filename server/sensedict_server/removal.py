"""Takes away what deleted versions leave: rows, in small transactions, and file sets. Stopped, it goes on anywhere.

A version is gone when its row says so; its other rows follow later, when no answer that began before is still being
read from them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, and_, delete, or_, text

from sensedict.errors import Corrupt
from sensedict.fileset import MANIFEST, Manifest
from sensedict.wire import OWN_LIMITS
from sensedict_server import files, search_index
from sensedict_server.queries import versions
from sensedict_server.queries.versions import OWNERS, Kind, Owner
from sensedict_server.tables import (
    contexts,
    dictionary_words,
    forms,
    glosses,
    id_maps,
    relation_glosses,
    relation_sources,
    relations,
    segmentations,
    senses,
    tokens,
)

# Seconds from a deletion to the removal of rows: a service has noticed it, and answered all who had asked before.
GRACE = OWN_LIMITS.request_seconds + 10.0
ROWS = 20_000  # of one transaction
_MANY = 100_000  # dead rows that a later look-up would pass one by one
_LOCK = 0x5E45ED1E  # advisory: one process at a time

# Tables in the order in which their rows can go, and the key that cuts each into pieces; relations by falling id, since
# a derived one has a higher id than what it comes from.
_PARTS: dict[str, tuple[tuple[Table, str], ...]] = {
    "dictionary": (
        (contexts, "sense_id"),
        (senses, "sense_id"),
        (tokens, "token_id"),
        (dictionary_words, "word_id"),
    ),
    "lexicon": (
        (relation_glosses, "relation_id"),
        (relations, "id"),
        (glosses, "id"),
        (forms, "form_id"),
        (segmentations, "word_id"),
        (relation_sources, "id"),
    ),
}


def remove_withdrawn(engine: Engine, kind: Kind, older_than: float | None = None, rows: int = ROWS) -> Iterator[int]:
    """Remove the rows of deleted versions, and at last their own; yields the number of rows of each transaction.

    Args:
        older_than: seconds since the deletion, `GRACE` where it is None; a draft's rows go at once.
        rows: about so many a transaction.

    Raises:
        Unavailable: the database went away; called again, it goes on.
    """
    with engine.connect() as connection:
        there = versions.withdrawn(connection, kind, GRACE if older_than is None else older_than)
    for owner in there:
        yield from _remove(engine, kind, owner, rows)


def remove_file_set(root: Path, ref: str, content_hash: str | None) -> bool:
    """Remove the file set of a deleted dictionary; one of another content stays, and so does what is mapped of it."""
    place = files.folder(root, ref)
    if not place.is_dir():
        return False
    with files.locked(root, ref):
        try:
            found = Manifest.from_json((place / MANIFEST).read_bytes()).identity.content_hash
        except FileNotFoundError:  # another process was quicker
            files.unlock_for_good(root, ref)
            return False
        except Corrupt:
            return False
        if found != content_hash:
            return False
        gone = place.with_name(f".{ref}.new-deleted")  # a name that `files.temporary` clears, should we be killed now
        shutil.rmtree(gone, ignore_errors=True)
        place.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        files.unlock_for_good(root, ref)
    return True


def _remove(engine: Engine, kind: Kind, owner: Owner, rows: int) -> Iterator[int]:
    removed = 0
    if kind == "dictionary":
        search_index.drop(engine, owner.id)  # before the rows, each of which would be looked for in it
    for table, key in _PARTS[kind]:
        column, left = table.c[key], table.c[f"{kind}_id"] == owner.id
        while True:
            with engine.begin() as connection:
                if not _alone(connection):
                    return
                first = versions.key_before(connection, table, left, column, rows)
                if first is None:
                    break
                gone = connection.execute(delete(table).where(left, column >= first)).rowcount
            left = and_(table.c[f"{kind}_id"] == owner.id, column < first)  # and no look at those that are dead
            removed += gone
            yield gone
        if table is senses and removed > _MANY:
            _vacuum_senses(engine)  # each token looks whether it has senses left, and would pass all that are dead
    with engine.begin() as connection:
        if kind == "dictionary":
            connection.execute(delete(id_maps).where(or_(id_maps.c.old_id == owner.id, id_maps.c.new_id == owner.id)))
        gone = connection.execute(delete(OWNERS[kind]).where(OWNERS[kind].c.id == owner.id)).rowcount
    yield gone


def _alone(connection: Connection) -> bool:
    """Whether no other process removes rows now."""
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one())


def _vacuum_senses(engine: Engine) -> None:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM senses"))
