"""Which dictionaries there are, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select

from sensedict.source import Identity
from sensedict_server.tables import aliases, dictionaries, lexicons, relation_sources, relations


@dataclass(frozen=True)
class Dictionary:
    """A dictionary; nothing of a published one ever changes but that it is deprecated, or deleted.

    Attributes:
        id: row of `dictionaries`; `state` is `draft` or `published`.
        lexicon_id: row of `lexicons`; `lexicon` is its name@version.
        The rest: see `sensedict.wire.DictionaryInfo`.
    """

    id: int
    name: str
    version: str
    lexicon_id: int
    lexicon: str
    teacher: str
    teacher_hash: str
    tokenizer_hash: str
    vocabulary_size: int
    dim: int
    state_point: str
    key_policy: str
    k: int
    settings: dict[str, Any]
    senses: int
    tokens_with_senses: int
    words_with_senses: int
    content_hash: str
    state: str
    published_at: datetime | None
    deprecated_at: datetime | None
    sunset_at: datetime | None

    @property
    def ref(self) -> str:
        """Its address, name@version."""
        return f"{self.name}@{self.version}"

    def identity(self) -> Identity:
        """The part that decides whether this dictionary fits a teacher."""
        return Identity(**{name: getattr(self, name) for name in Identity.__dataclass_fields__})


@dataclass(frozen=True)
class Lexicon:
    """A version of a set of relations, `ref` its name@version."""

    ref: str
    published: bool


@dataclass(frozen=True)
class Source:
    """One source of a lexicon's relations."""

    name: str
    licence: str
    version: str
    relations: int


def find_dictionary(connection: Connection, name: str, version: str, drafts: bool = False) -> Dictionary | None:
    """The published dictionary of that name and version, or that the alias `version` stands for; or a draft."""
    meant = select(aliases.c.dictionary_id).where(aliases.c.name == name, aliases.c.alias == version)
    query = (
        _in_states(drafts)
        .where(dictionaries.c.name == name)
        .where(or_(dictionaries.c.version == version, dictionaries.c.id == meant.scalar_subquery()))
        .order_by((dictionaries.c.version == version).desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _dictionary(row)


def list_dictionaries(connection: Connection, drafts: bool = False) -> list[Dictionary]:
    """Every published dictionary, by name and then newest first; with the drafts, which come before them."""
    newest_first = dictionaries.c.published_at.desc().nulls_first()
    query = _in_states(drafts).order_by(dictionaries.c.name, newest_first, dictionaries.c.id.desc())
    return [_dictionary(row) for row in connection.execute(query)]


def versions_and_aliases(connection: Connection, name: str) -> list[str]:
    """Everything that may stand behind `name@`; empty where no dictionary has the name."""
    versions = select(dictionaries.c.version.label("word")).where(
        dictionaries.c.name == name, dictionaries.c.state == "published"
    )
    movable = select(aliases.c.alias).where(aliases.c.name == name)
    return list(connection.execute(versions.union(movable).order_by("word")).scalars())


def aliases_of(connection: Connection, ids: Iterable[int]) -> dict[int, list[str]]:
    """Aliases by dictionary id, in alphabetical order."""
    query = (
        select(aliases.c.dictionary_id, func.array_agg(aliases.c.alias.op("ORDER BY")(aliases.c.alias)))
        .where(aliases.c.dictionary_id == func.any(list(ids)))
        .group_by(aliases.c.dictionary_id)
    )
    return {row[0]: list(row[1]) for row in connection.execute(query)}


def find_lexicon_by_id(connection: Connection, lexicon_id: int) -> Lexicon | None:
    """The lexicon of that id."""
    query = select(lexicons.c.name, lexicons.c.version, lexicons.c.state).where(lexicons.c.id == lexicon_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Lexicon(f"{row.name}@{row.version}", row.state == "published")


def list_sources(connection: Connection, lexicon_id: int) -> list[Source]:
    """Sources of a lexicon with the number of their relations, derived ones counted with what they come from."""
    counted = (
        select(relations.c.source_id, func.count().label("relations"))
        .where(relations.c.lexicon_id == lexicon_id)
        .group_by(relations.c.source_id)
        .subquery()
    )
    query = (
        select(
            relation_sources.c.name,
            relation_sources.c.licence,
            relation_sources.c.version,
            func.coalesce(counted.c.relations, 0).label("relations"),
        )
        .outerjoin(counted, counted.c.source_id == relation_sources.c.id)
        .where(relation_sources.c.lexicon_id == lexicon_id)
        .order_by(relation_sources.c.name)
    )
    return [Source(**row._mapping) for row in connection.execute(query)]


def count_published(connection: Connection) -> int:
    """The number of published dictionaries."""
    query = select(func.count()).select_from(dictionaries).where(dictionaries.c.state == "published")
    return int(connection.execute(query).scalar_one())


def _in_states(drafts: bool) -> Select[Any]:
    states = ("draft", "published") if drafts else ("published",)
    lexicon = (lexicons.c.name + "@" + lexicons.c.version).label("lexicon")
    return (
        select(dictionaries, lexicon)
        .join(lexicons, lexicons.c.id == dictionaries.c.lexicon_id)
        .where(dictionaries.c.state.in_(states))
    )


def _dictionary(row: Row[Any]) -> Dictionary:
    return Dictionary(**{name: row._mapping[name] for name in Dictionary.__dataclass_fields__})
