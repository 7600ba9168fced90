"""The lives of dictionaries and lexicons: what is deleted, what happened to a version, and who asked for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, and_, cast, exists, func, select

from sensedict import wire
from sensedict.errors import DictionaryNotFound
from sensedict_server.tables import aliases, dictionaries, history, lexicons, tombstones, version_uses

Kind = Literal["dictionary", "lexicon"]
OWNERS: dict[str, Table] = {"dictionary": dictionaries, "lexicon": lexicons}


@dataclass(frozen=True)
class Tombstone:
    """What is kept of a version that was published and is deleted.

    Attributes:
        content_hash: a dictionary's own; a lexicon's is of the settings that it was loaded with.
    """

    id: int
    kind: str
    name: str
    version: str
    content_hash: str
    published_at: datetime | None
    deleted_at: datetime
    deleted_by: str
    reason: str

    @property
    def ref(self) -> str:
        """Its address, name@version."""
        return f"{self.name}@{self.version}"

    def on_the_wire(self) -> wire.Tombstone:
        """What is answered of it."""
        return wire.Tombstone(**{name: getattr(self, name) for name in wire.Tombstone.model_fields})

    def told(self) -> str:
        """What to say to who asks for it."""
        return (
            f"{self.ref} was deleted on {self.deleted_at:%Y-%m-%d} ({self.reason}); its content hash was "
            f"{self.content_hash}: name another version"
        )


@dataclass(frozen=True)
class Event:
    """Something that was done with a version."""

    action: str
    at: datetime
    actor: str
    reason: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Use:
    """How often the holder of a key asked for a version; `key_name` is empty where no key was needed."""

    key_name: str
    requests: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class Owner:
    """A row that others hang on, with the part of it that its life is about."""

    id: int
    name: str
    version: str
    state: str
    content_hash: str | None
    published_at: datetime | None

    @property
    def ref(self) -> str:
        """Its address, name@version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Dated:
    """What may change of a published dictionary."""

    deprecated_at: datetime | None
    sunset_at: datetime | None


def find_tombstone(connection: Connection, kind: Kind, name: str, version: str) -> Tombstone | None:
    """What is kept of a deleted version."""
    query = _tombstones(kind).where(tombstones.c.name == name, tombstones.c.version == version)
    row = connection.execute(query).one_or_none()
    return None if row is None else Tombstone(**row._mapping)


def tombstones_beside(connection: Connection, seen: Collection[int]) -> list[Tombstone]:
    """Tombstones of dictionaries with other numbers than these; the one of a later number may be seen first."""
    query = _tombstones("dictionary").where(tombstones.c.id != func.all(list(seen)))
    return [Tombstone(**row._mapping) for row in connection.execute(query)]


def still_published(connection: Connection, ids: Collection[int]) -> dict[int, Dated]:
    """Those of the dictionaries that are published, with their dates."""
    query = select(dictionaries.c.id, dictionaries.c.deprecated_at, dictionaries.c.sunset_at).where(
        dictionaries.c.id == func.any(list(ids)), dictionaries.c.state == "published"
    )
    return {row.id: Dated(row.deprecated_at, row.sunset_at) for row in connection.execute(query)}


def lock_owner(connection: Connection, kind: Kind, name: str, version: str) -> Owner | None:
    """The version in whatever state, its row locked to the end of the transaction."""
    table = OWNERS[kind]
    row = connection.execute(
        _owners(kind).where(table.c.name == name, table.c.version == version).with_for_update()
    ).one_or_none()
    return None if row is None else Owner(**row._mapping)


def lock_versions(connection: Connection, name: str, found: Collection[str]) -> None:
    """Lock the rows of versions of a dictionary to the end of the transaction, in an order that is always the same."""
    if found:
        query = select(dictionaries.c.id).where(
            dictionaries.c.name == name, dictionaries.c.version == func.any(list(found))
        )
        connection.execute(query.order_by(dictionaries.c.id).with_for_update())


def withdrawn(connection: Connection, kind: Kind, older_than: float = 0.0) -> list[Owner]:
    """Deleted versions whose rows are still there, deleted so many seconds ago or more; drafts at once."""
    table = OWNERS[kind]
    buried = and_(tombstones.c.kind == kind, tombstones.c.name == table.c.name, tombstones.c.version == table.c.version)
    recent = exists().where(
        buried, tombstones.c.deleted_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, older_than)
    )
    query = _owners(kind).where(table.c.state == "withdrawn", ~recent).order_by(table.c.id)
    return [Owner(**row._mapping) for row in connection.execute(query)]


def history_of(connection: Connection, kind: Kind, name: str, version: str) -> list[Event]:
    """What was done with a version, oldest first."""
    columns = (getattr(history.c, field) for field in Event.__dataclass_fields__)
    query = (
        select(*columns)
        .where(history.c.kind == kind, history.c.name == name, history.c.version == version)
        .order_by(history.c.id)
    )
    return [Event(**row._mapping) for row in connection.execute(query)]


def uses_of(connection: Connection, name: str, version: str) -> list[Use]:
    """Who asked for a version, the last one first."""
    columns = (getattr(version_uses.c, field) for field in Use.__dataclass_fields__)
    query = (
        select(*columns)
        .where(version_uses.c.name == name, version_uses.c.version == version)
        .order_by(version_uses.c.last_at.desc(), version_uses.c.key_name)
    )
    return [Use(**row._mapping) for row in connection.execute(query)]


def version_of_alias(connection: Connection, name: str, alias: str) -> str | None:
    """The version that an alias names."""
    query = (
        select(dictionaries.c.version)
        .join(aliases, aliases.c.dictionary_id == dictionaries.c.id)
        .where(aliases.c.name == name, aliases.c.alias == alias)
    )
    return connection.execute(query).scalar_one_or_none()


def prunable(connection: Connection, name: str, keep: int, unused_days: int) -> list[str]:
    """Published versions of `name`, oldest first, that are none of the `keep` newest, have no alias, and were not
    asked for within so many days.

    Raises:
        DictionaryNotFound: nothing of that name is published.
    """
    published = (dictionaries.c.name == name) & (dictionaries.c.state == "published")
    # A zero character is in no name that a database holds.
    if "\x00" in name or not connection.execute(select(exists().where(published))).scalar_one():
        raise DictionaryNotFound(f"no dictionary {name!r} is published: `sensedict dictionary list`")
    newest = (
        select(dictionaries.c.id)
        .where(published)
        .order_by(dictionaries.c.published_at.desc(), dictionaries.c.id.desc())
        .limit(keep)
    )
    used = exists().where(
        version_uses.c.name == dictionaries.c.name,
        version_uses.c.version == dictionaries.c.version,
        version_uses.c.last_at > func.now() - func.make_interval(0, 0, 0, unused_days),
    )
    query = (
        select(dictionaries.c.version)
        .where(published, dictionaries.c.id.not_in(newest), ~used)
        .where(~exists().where(aliases.c.dictionary_id == dictionaries.c.id))
        .order_by(dictionaries.c.published_at, dictionaries.c.id)
    )
    return list(connection.execute(query).scalars())


def key_before(
    connection: Connection, table: Table, owned: ColumnElement[bool], key: ColumnElement[int], rows: int
) -> int | None:
    """The key of the row that stands so many rows before the end of those that are `owned`, or of the first one; None
    where there is none.
    """
    some = select(key.label("key")).select_from(table).where(owned).order_by(key.desc()).limit(rows).subquery()
    return connection.execute(select(func.min(some.c.key))).scalar_one_or_none()


def _tombstones(kind: Kind) -> Select[Any]:
    return select(tombstones).where(tombstones.c.kind == kind)


def _owners(kind: Kind) -> Select[Any]:
    table = OWNERS[kind]
    content_hash = (
        dictionaries.c.content_hash
        if kind == "dictionary"
        else func.encode(func.sha256(func.convert_to(cast(lexicons.c.settings, Text), "UTF8")), "hex")
    )
    published_at = dictionaries.c.published_at if kind == "dictionary" else lexicons.c.created_at
    return select(
        table.c.id,
        table.c.name,
        table.c.version,
        table.c.state,
        content_hash.label("content_hash"),
        published_at.label("published_at"),
    )
