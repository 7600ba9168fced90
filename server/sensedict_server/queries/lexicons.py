"""Lexicons: which there are, what they hold, and samples of their relations (DSKD §3.2)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, literal, select

from sensedict.errors import InvalidInput, LexiconNotFound
from sensedict_server.queries.versions import find_tombstone
from sensedict_server.tables import lexicons, relation_sources, relations, words

_NAMED = 10  # lexicons in an error


@dataclass(frozen=True)
class Lexicon:
    """A published lexicon; nothing of it ever changes.

    Attributes:
        id: row of `lexicons`.
        settings: what it was loaded from, with the hash of each file.
    """

    id: int
    name: str
    version: str
    settings: dict[str, Any]

    @property
    def ref(self) -> str:
        """Its address, name@version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class LexiconSource:
    """One source of a lexicon; `skipped` is reason to count of what was not taken, `counted` what else was noted."""

    id: int
    name: str
    licence: str
    version: str
    skipped: dict[str, int]
    counted: dict[str, int]


@dataclass(frozen=True)
class TypeCount:
    """How many relations of a type come from a source, as listed there or derived."""

    source: str
    type: str
    derived: bool
    relations: int


@dataclass(frozen=True)
class Edge:
    """A relation as a person reads it."""

    word: str
    type: str
    other: str
    source: str
    rule: str | None


def split_ref(ref: str) -> tuple[str, str]:
    """Name and version of `name@version`.

    Raises:
        InvalidInput: it is not of that form.
    """
    name, at, version = ref.partition("@")
    if not name or not at or not version:
        raise InvalidInput(f"lexicon {ref!r}: write name@version, as in english@1")
    return name, version


def find_lexicon(connection: Connection, ref: str) -> Lexicon:
    """The published lexicon at `name@version`.

    Raises:
        InvalidInput: the address is not of that form.
        LexiconNotFound: there is none; names those that are.
    """
    name, version = split_ref(ref)
    found = get_lexicon(connection, name, version)
    if found is None:
        tombstone = find_tombstone(connection, "lexicon", name, version)
        if tombstone is not None:
            raise LexiconNotFound(f"the lexicon {tombstone.told()}")
        there = [lexicon.ref for lexicon in list_lexicons(connection)]
        more = f" and {len(there) - _NAMED} more, see `sensedict lexicon list`" if len(there) > _NAMED else ""
        known = f"there are {', '.join(there[:_NAMED])}{more}" if there else "there are none"
        raise LexiconNotFound(f"there is no lexicon {ref} ({known}): load one with `sensedict lexicon load`")
    return found


def get_lexicon(connection: Connection, name: str, version: str) -> Lexicon | None:
    """The published lexicon of that name and version, if there is one."""
    row = connection.execute(_published().where(lexicons.c.name == name, lexicons.c.version == version)).one_or_none()
    return None if row is None else _lexicon(row)


def list_lexicons(connection: Connection) -> list[Lexicon]:
    """All published lexicons, by name and age."""
    return [_lexicon(row) for row in connection.execute(_published().order_by(lexicons.c.name, lexicons.c.id))]


def list_lexicon_sources(connection: Connection, lexicon_id: int) -> list[LexiconSource]:
    """Sources of a lexicon in the order they were loaded in, those without relations too."""
    columns = (getattr(relation_sources.c, name) for name in LexiconSource.__dataclass_fields__)
    query = select(*columns).where(relation_sources.c.lexicon_id == lexicon_id).order_by(relation_sources.c.id)
    return [LexiconSource(**row._mapping) for row in connection.execute(query)]


def count_relations(connection: Connection, lexicon_id: int) -> list[TypeCount]:
    """Relations of a lexicon by source, type and whether they are derived."""
    derived = _derived().label("derived")
    query = (
        select(relation_sources.c.name.label("source"), relations.c.type, derived, func.count().label("relations"))
        .join(relation_sources, relation_sources.c.id == relations.c.source_id)
        .where(relations.c.lexicon_id == lexicon_id)
        .group_by(relation_sources.c.name, relations.c.type, derived)
        .order_by(relation_sources.c.name, relations.c.type, derived)
    )
    return [TypeCount(**row._mapping) for row in connection.execute(query)]


def count_conflicts(connection: Connection, lexicon_id: int) -> int:
    """Pairs of words that are synonyms and antonyms at once."""
    pairs = (
        select(relations.c.word_id, relations.c.other_id)
        .where(relations.c.lexicon_id == lexicon_id, relations.c.conflict)
        .distinct()
        .subquery()
    )
    return int(connection.execute(select(func.count()).select_from(pairs)).scalar_one())


def sample_relations(connection: Connection, lexicon_id: int, count: int, seed: int) -> list[Edge]:
    """At most `count` relations, drawn by seed, the same ones every time; in alphabetical order of type and word.

    Half are drawn evenly over the kinds (source, type, derived or not), the others as often as the kinds occur: a large
    source does not hide the small ones.
    """
    kinds = count_relations(connection, lexicon_id)
    draw = random.Random(seed)
    edges: list[Edge] = []
    for kind, share in zip(kinds, _shares([kind.relations for kind in kinds], count), strict=True):
        places = sorted(place + 1 for place in draw.sample(range(kind.relations), share))  # rows count from 1
        edges += _edges_at(connection, lexicon_id, kind, places)
    return sorted(edges, key=lambda edge: (edge.type, edge.source, edge.word, edge.other))


def relation_words(connection: Connection, lexicon_id: int) -> list[tuple[int, str]]:
    """(id, text) of every word of the lexicon's relations, in rising id."""
    ends = (
        select(relations.c.word_id.label("id"))
        .where(relations.c.lexicon_id == lexicon_id)
        .union(select(relations.c.other_id).where(relations.c.lexicon_id == lexicon_id))
        .subquery()
    )
    query = select(words.c.id, words.c.text).join(ends, ends.c.id == words.c.id).order_by(words.c.id)
    return [(row.id, row.text) for row in connection.execute(query)]


def absent_words(spelt: Table, language: str) -> Select[tuple[str, str]]:
    """(language, text) of the rows of `spelt` that are no words yet, in order."""
    known = select(words.c.id).where(words.c.language == language, words.c.text == spelt.c.text).exists()
    return select(_constant(language), spelt.c.text).where(~known).order_by(spelt.c.text.collate("C"))


def word_ids(connection: Connection, spelt: Table, language: str) -> dict[str, int]:
    """Text to id of the rows of `spelt`, all of them words."""
    query = select(words.c.text, words.c.id).join(
        spelt, (words.c.text == spelt.c.text) & (words.c.language == language)
    )
    return {row.text: row.id for row in connection.execute(query)}


def reserve_ids(connection: Connection, table: Table, count: int) -> NDArray[np.int64]:
    """So many ids for new rows of the table, rising."""
    sequence = func.pg_get_serial_sequence(table.name, table.c.id.name)
    query = select(func.nextval(sequence)).select_from(func.generate_series(1, count))
    return np.sort(np.fromiter(connection.execute(query).scalars(), dtype=np.int64, count=count))


def totals(counts: Iterable[TypeCount]) -> Mapping[str, int]:
    """Relations by type, over all sources."""
    by_type: dict[str, int] = {}
    for count in counts:
        by_type[count.type] = by_type.get(count.type, 0) + count.relations
    return dict(sorted(by_type.items()))


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many to draw of each: half evenly, half by size, none more than there are, `count` together if there are."""
    shares = [0] * len(sizes)
    even = count // 2
    while even > 0 and any(share < size for share, size in zip(shares, sizes, strict=True)):
        for i, size in enumerate(sizes):
            if even > 0 and shares[i] < size:
                shares[i] += 1
                even -= 1
    left = min(count, sum(sizes)) - sum(shares)
    rest = [size - share for size, share in zip(sizes, shares, strict=True)]
    exact = [left * part / max(1, sum(rest)) for part in rest]
    for i, part in enumerate(exact):
        shares[i] += int(part)
    by_remainder = sorted(range(len(sizes)), key=lambda i: (int(exact[i]) - exact[i], i))
    for i in by_remainder[: min(count, sum(sizes)) - sum(shares)]:
        shares[i] += 1
    return shares


def _edges_at(connection: Connection, lexicon_id: int, kind: TypeCount, places: Sequence[int]) -> list[Edge]:
    if not places:
        return []
    ranked = (
        select(
            relations.c.word_id,
            relations.c.other_id,
            relations.c.rule,
            func.row_number().over(order_by=relations.c.id).label("place"),
        )
        .join(relation_sources, relation_sources.c.id == relations.c.source_id)
        .where(relations.c.lexicon_id == lexicon_id, relations.c.type == kind.type)
        .where(relation_sources.c.name == kind.source, _derived() == kind.derived)
        .subquery()
    )
    word, other = words.alias("word"), words.alias("other")
    query = (
        select(word.c.text.label("word"), other.c.text.label("other"), ranked.c.rule)
        .join(word, word.c.id == ranked.c.word_id)
        .join(other, other.c.id == ranked.c.other_id)
        .where(ranked.c.place == func.any(list(places)))
    )
    return [Edge(row.word, kind.type, row.other, kind.source, row.rule) for row in connection.execute(query)]


def _derived() -> ColumnElement[bool]:
    return relations.c.rule.is_not(None)


def _constant(value: str) -> ColumnElement[str]:
    return literal(value, words.c.language.type)


def _published() -> Select[Any]:
    columns = (lexicons.c.id, lexicons.c.name, lexicons.c.version, lexicons.c.settings)
    return select(*columns).where(lexicons.c.state == "published")


def _lexicon(row: Row[Any]) -> Lexicon:
    return Lexicon(**row._mapping)
