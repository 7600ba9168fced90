"""Pairs of words of a lexicon, counted as the paper counts them: distinct, unordered, over all sources (DSKD §3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, Subquery, case, func, select

from sensedict_server.lexicon.relations import ANTONYM, ANTONYM_TYPES, SYNONYM, SYNONYM_TYPES
from sensedict_server.tables import relation_sources, relations, words


@dataclass(frozen=True)
class SourcePairs:
    """Distinct pairs of one source; `kind` is synonym or antonym, or the type itself where it is neither."""

    source: str
    kind: str
    derived: bool
    pairs: int


@dataclass(frozen=True)
class RulePairs:
    """What a rule derived.

    Attributes:
        edges: relations, each once a parent.
        pairs: distinct pairs among them.
        new: those of the pairs that no source lists as of this kind.
    """

    rule: str
    kind: str
    edges: int
    pairs: int
    new: int


@dataclass(frozen=True)
class ConflictingPair:
    """A pair that one source makes synonyms and one antonyms; in a lexicon it may stand several times."""

    word: str
    other: str
    synonym_source: str
    synonym_rule: str | None
    antonym_source: str
    antonym_rule: str | None


def count_all_pairs(connection: Connection, lexicon_id: int) -> dict[str, tuple[int, int]]:
    """Kind to (distinct pairs, those of them that no source lists and negation derived)."""
    once = _once(lexicon_id)
    derived = func.count().filter(~once.c.listed)
    query = select(once.c.kind, func.count().label("pairs"), derived.label("derived")).group_by(once.c.kind)
    return {row.kind: (row.pairs, row.derived) for row in connection.execute(query.order_by(once.c.kind))}


def count_pairs_by_source(connection: Connection, lexicon_id: int) -> list[SourcePairs]:
    """Distinct pairs inside each source, listed there and derived from what is listed there."""
    rows = _pairs(lexicon_id).add_columns(relations.c.source_id).distinct().subquery()
    query = (
        select(relation_sources.c.name.label("source"), rows.c.kind, rows.c.derived, func.count().label("pairs"))
        .join(relation_sources, relation_sources.c.id == rows.c.source_id)
        .group_by(relation_sources.c.id, relation_sources.c.name, rows.c.kind, rows.c.derived)
        .order_by(relation_sources.c.id, rows.c.kind, rows.c.derived)
    )
    return [SourcePairs(**row._mapping) for row in connection.execute(query)]


def count_pairs_by_rule(connection: Connection, lexicon_id: int) -> list[RulePairs]:
    """What each rule derived, the commonest first."""
    once = _once(lexicon_id)
    edges_of = _pairs(lexicon_id).add_columns(relations.c.rule).where(_derived()).subquery()
    columns = (edges_of.c.first, edges_of.c.second, edges_of.c.kind, edges_of.c.rule)
    rows = select(*columns, func.count().label("edges")).group_by(*columns).subquery()
    same = (once.c.first == rows.c.first) & (once.c.second == rows.c.second) & (once.c.kind == rows.c.kind)
    edges = func.sum(rows.c.edges)
    query = (
        select(
            rows.c.rule,
            rows.c.kind,
            edges.label("edges"),
            func.count().label("pairs"),
            func.count().filter(~once.c.listed).label("new"),
        )
        .join(once, same)
        .group_by(rows.c.rule, rows.c.kind)
        .order_by(edges.desc(), rows.c.rule, rows.c.kind)
    )
    return [RulePairs(row.rule, row.kind, int(row.edges), row.pairs, row.new) for row in connection.execute(query)]


def conflicting_pairs(connection: Connection, lexicon_id: int) -> list[ConflictingPair]:
    """Every pair that is both, once for each source and rule that makes it synonyms and each that makes it antonyms."""

    def of(kind: str) -> Subquery:
        rows = _pairs(lexicon_id).add_columns(relations.c.rule, relation_sources.c.name.label("source"))
        rows = rows.join(relation_sources, relation_sources.c.id == relations.c.source_id)
        return rows.where(relations.c.conflict, _kind() == kind).distinct().subquery()

    synonyms, antonyms = of(SYNONYM), of(ANTONYM)
    word, other = words.alias("word"), words.alias("other")
    query = (
        select(
            word.c.text.label("word"),
            other.c.text.label("other"),
            synonyms.c.source.label("synonym_source"),
            synonyms.c.rule.label("synonym_rule"),
            antonyms.c.source.label("antonym_source"),
            antonyms.c.rule.label("antonym_rule"),
        )
        .join(antonyms, (antonyms.c.first == synonyms.c.first) & (antonyms.c.second == synonyms.c.second))
        .join(word, word.c.id == synonyms.c.first)
        .join(other, other.c.id == synonyms.c.second)
        .order_by(
            synonyms.c.source,
            antonyms.c.source,
            word.c.text.collate("C"),
            other.c.text.collate("C"),
            synonyms.c.rule,
            antonyms.c.rule,
        )
    )
    return [ConflictingPair(**row._mapping) for row in connection.execute(query)]


def pairs_of_kind(connection: Connection, lexicon_id: int, kind: str) -> NDArray[np.int64]:
    """Word ids (n, 2) of the distinct pairs of a kind, the smaller id first, in order."""
    rows = _pairs(lexicon_id).where(_kind() == kind).distinct().subquery()
    query = select(rows.c.first, rows.c.second).order_by(rows.c.first, rows.c.second)
    found = connection.execution_options(yield_per=10_000).execute(query)
    pairs: NDArray[np.int64] = np.fromiter(((row.first, row.second) for row in found), dtype=np.dtype((np.int64, 2)))
    return pairs


def _once(lexicon_id: int) -> Subquery:
    """Each pair of a kind once, and whether any source lists it."""
    rows = _pairs(lexicon_id).subquery()
    listed = func.bool_or(~rows.c.derived).label("listed")
    return (
        select(rows.c.first, rows.c.second, rows.c.kind, listed).group_by(rows.c.first, rows.c.second, rows.c.kind)
    ).subquery()


def _pairs(lexicon_id: int) -> Select[int, int, str, bool]:
    return select(
        _first().label("first"), _second().label("second"), _kind().label("kind"), _derived().label("derived")
    ).where(relations.c.lexicon_id == lexicon_id)


def _first() -> ColumnElement[int]:
    return func.least(relations.c.word_id, relations.c.other_id)


def _second() -> ColumnElement[int]:
    return func.greatest(relations.c.word_id, relations.c.other_id)


def _kind() -> ColumnElement[str]:
    return case(
        (relations.c.type.in_(SYNONYM_TYPES), SYNONYM),
        (relations.c.type.in_(ANTONYM_TYPES), ANTONYM),
        else_=relations.c.type,
    )


def _derived() -> ColumnElement[bool]:
    return relations.c.rule.is_not(None)  # where derived ones take the place of their parents, they have none
