"""What an administrator does with versions: aliases, deprecation, deletion. Each is one transaction, and is logged.

Which steps are allowed the database decides (migration 0007); what is said here is only said in better words.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from sensedict.errors import Conflict, DictionaryGone, DictionaryNotFound, InvalidInput, LexiconNotFound, NotFound
from sensedict_server.build.check import check_name
from sensedict_server.queries import versions
from sensedict_server.queries.versions import OWNERS, Kind, Owner, Tombstone
from sensedict_server.tables import aliases, dictionaries, history, tombstones

_LOCK = 0x5E45ED1D  # of migration 0007
_MOST_REASON = 2_000  # characters


@dataclass(frozen=True)
class Because:
    """Who does something, and why: for the log."""

    actor: str
    reason: str

    def __post_init__(self) -> None:
        """Let pass a reason that can be stored.

        Raises:
            InvalidInput: it is empty, or too long.
        """
        if not self.reason.strip() or len(self.reason) > _MOST_REASON or "\x00" in self.reason:
            raise InvalidInput(f"reason: say why, for those who come after, in at most {_MOST_REASON:,} characters")


def user_name() -> str:
    """Who runs this process, for the log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"user {os.getuid()}"


def split_version(ref: str) -> tuple[str, str]:
    """Name and version of `name@version`, for what no alias may stand for.

    Raises:
        InvalidInput: it is not of that form.
    """
    name, at, version = ref.partition("@")
    if not (name and at and version) or "\x00" in ref:
        raise InvalidInput(f"{ref!r}: write name@version, as in mine@2")
    return name, version


def record(
    connection: Connection, kind: Kind, name: str, version: str, action: str, because: Because, **details: Any
) -> None:
    """Add a line to the history of a version, in the transaction that does it."""
    values = {"kind": kind, "name": name, "version": version, "action": action, "details": details}
    connection.execute(insert(history).values(**values, actor=because.actor, reason=because.reason))


def move_alias(
    connection: Connection, name: str, alias: str, dictionary_id: int, version: str, because: Because
) -> str | None:
    """Let `name@alias` name the version from this transaction's end on; gives the version that it named before."""
    # Who reads what the alias names now must not be overtaken by another who moves it.
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, hashtext(:name))"), {"lock": _LOCK, "name": name})
    before = versions.version_of_alias(connection, name, alias)
    if before == version:
        return before
    statement = upsert(aliases).values(name=name, alias=alias, dictionary_id=dictionary_id)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name", "alias"], set_={"dictionary_id": dictionary_id})
    )
    if before is not None:
        record(connection, "dictionary", name, before, "unalias", because, alias=alias, now=version)
    record(connection, "dictionary", name, version, "alias", because, alias=alias, before=before)
    return before


def set_alias(engine: Engine, name: str, alias: str, version: str, because: Because) -> str | None:
    """Let `name@alias` name a published version; gives the version that it named before, None for a new alias.

    Raises:
        DictionaryNotFound: there is no such version; DictionaryGone: it is deleted.
        Conflict: it is a draft, or the alias is the name of a version.
        InvalidInput: what no alias can be called.
    """
    check_name("alias", alias)
    with engine.begin() as connection:
        found = _locked(connection, "dictionary", name, version)
        return move_alias(connection, name, alias, found.id, found.version, because)


def remove_alias(engine: Engine, name: str, alias: str, because: Because) -> str:
    """Let `name@alias` name nothing; gives the version that it named.

    Raises:
        DictionaryNotFound: there is no such alias.
        InvalidInput: no name@alias.
    """
    name, alias = split_version(f"{name}@{alias}")
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock, hashtext(:name))"), {"lock": _LOCK, "name": name})
        version = versions.version_of_alias(connection, name, alias)
        if version is None:
            raise DictionaryNotFound(f"there is no alias {name}@{alias}: `sensedict dictionary list` has them")
        connection.execute(delete(aliases).where(aliases.c.name == name, aliases.c.alias == alias))
        record(connection, "dictionary", name, version, "unalias", because, alias=alias)
    return version


def deprecate(engine: Engine, ref: str, because: Because, sunset: datetime | None = None) -> None:
    """Tell whoever asks for the version that it is not to be begun with, and from when on it may be gone.

    Done again, it changes the date of the sunset.

    Raises:
        DictionaryNotFound: there is no such version; DictionaryGone: it is deleted.
        Conflict: it is a draft.
        InvalidInput: the sunset is past, or no name@version.
    """
    if sunset is not None and sunset <= datetime.now(UTC):
        raise InvalidInput(f"the sunset {sunset:%Y-%m-%d} is past: name a day to come, or delete the version")
    with _changing(engine, ref) as (connection, found):
        since = func.coalesce(dictionaries.c.deprecated_at, func.now())
        _set(connection, found, deprecated_at=since, sunset_at=sunset)
        told = None if sunset is None else sunset.isoformat()
        record(connection, "dictionary", found.name, found.version, "deprecate", because, sunset=told)


def undo_deprecation(engine: Engine, ref: str, because: Because) -> None:
    """Tell nobody any more that the version is deprecated.

    Raises:
        See `deprecate`.
    """
    with _changing(engine, ref) as (connection, found):
        _set(connection, found, deprecated_at=None, sunset_at=None)
        record(connection, "dictionary", found.name, found.version, "undeprecate", because)


def check_removable(engine: Engine, kind: Kind, ref: str, because: Because) -> None:
    """Let pass what `withdraw` would delete, and change nothing: for what is known before somebody is asked.

    Raises:
        See `withdraw`.
    """
    name, version = split_version(ref)
    with engine.connect() as connection:
        _withdraw(connection, kind, name, version, because)
        connection.rollback()


def withdraw(engine: Engine, kind: Kind, ref: str, because: Because) -> Tombstone | None:
    """Delete a version: from the transaction's end on nobody finds it. Its rows are yet to be removed, see `removal`.

    Returns:
        Its tombstone, which stays; None for a draft, which leaves none. Of what is deleted already the same.

    Raises:
        DictionaryNotFound, LexiconNotFound: there is no such version.
        Conflict: the dictionary has an alias, or the lexicon has dictionaries; names them.
        InvalidInput: no name@version.
    """
    name, version = split_version(ref)
    with engine.begin() as connection:
        return _withdraw(connection, kind, name, version, because)


def prune(engine: Engine, name: str, keep: int, unused_days: int, confirmed: Sequence[str], because: Because) -> None:
    """Delete the versions that `versions.prunable` told, all in one transaction.

    Args:
        confirmed: what it told, and nothing else is deleted.

    Raises:
        Conflict: it tells others by now; nothing is deleted.
    """
    with engine.begin() as connection:
        # Who lets an alias name a version locks it first: of what is locked and has no alias, none gets one any more.
        versions.lock_versions(connection, name, versions.prunable(connection, name, keep, unused_days))
        found = versions.prunable(connection, name, keep, unused_days)
        if found != list(confirmed):
            raise Conflict(
                f"nothing of {name} is deleted: {_listed(confirmed)} was confirmed, and {_listed(found)} would be "
                "deleted now: look again with a dry run"
            )
        for version in found:
            _withdraw(connection, "dictionary", name, version, because)


def _listed(found: Sequence[str]) -> str:
    return ", ".join(found) or "nothing"


def _withdraw(connection: Connection, kind: Kind, name: str, version: str, because: Because) -> Tombstone | None:
    """As `withdraw`, in the connection's transaction."""
    found = versions.lock_owner(connection, kind, name, version)
    tombstone = versions.find_tombstone(connection, kind, name, version)
    if found is None and tombstone is None:
        raise _not_found(kind, f"{name}@{version}")
    if found is None or found.state == "withdrawn":
        return tombstone
    if found.state == "published":
        _bury(connection, kind, found, because)
    table = OWNERS[kind]
    connection.execute(update(table).where(table.c.id == found.id).values(state="withdrawn"))
    record(connection, kind, name, version, "delete", because, state=found.state)
    return versions.find_tombstone(connection, kind, name, version)


def _bury(connection: Connection, kind: Kind, found: Owner, because: Because) -> None:
    values = {"kind": kind, "name": found.name, "version": found.version, "content_hash": found.content_hash}
    row = insert(tombstones).values(
        **values, published_at=found.published_at, deleted_by=because.actor, reason=because.reason
    )
    connection.execute(row)


@contextmanager
def _changing(engine: Engine, ref: str) -> Iterator[tuple[Connection, Owner]]:
    """A published dictionary, locked, and the transaction that changes it.

    Raises:
        DictionaryNotFound, DictionaryGone: see `_locked`.
        Conflict: it is a draft.
    """
    name, version = split_version(ref)
    with engine.begin() as connection:
        found = _locked(connection, "dictionary", name, version)
        if found.state == "draft":
            raise Conflict(f"{ref} is a draft: publish it, or delete it")
        yield connection, found


def _set(connection: Connection, found: Owner, **dates: Any) -> None:
    connection.execute(update(dictionaries).where(dictionaries.c.id == found.id).values(dates))


def _locked(connection: Connection, kind: Kind, name: str, version: str) -> Owner:
    """The version, locked.

    Raises:
        DictionaryNotFound, LexiconNotFound: there is none.
        DictionaryGone: it is deleted.
    """
    found = versions.lock_owner(connection, kind, name, version) if "\x00" not in name + version else None
    if found is None or found.state == "withdrawn":
        tombstone = None if "\x00" in name + version else versions.find_tombstone(connection, kind, name, version)
        if tombstone is not None:
            raise DictionaryGone(tombstone.told())
        raise _not_found(kind, f"{name}@{version}")
    return found


def _not_found(kind: Kind, ref: str) -> NotFound:
    if kind == "lexicon":
        return LexiconNotFound(f"there is no lexicon {ref}: `sensedict lexicon list` has those that there are")
    return DictionaryNotFound(f"there is no version {ref}: `sensedict dictionary list` has those that there are")
