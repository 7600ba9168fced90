"""Lexical relations of a word, and the neighbours that relations make of words (DSKD §3.2, §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Subquery,
    Text,
    bindparam,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from sensedict import lexical
from sensedict.lexical import Relation
from sensedict.wire import Direction
from sensedict_server.tables import dictionary_words, glosses, relation_glosses, relation_sources, relations, words

HEAD_LETTERS = 3  # heads are single-token words of three letters or more (METHOD: Word senses)


@dataclass(frozen=True)
class Shape:
    """What a filter asks about, whatever the values. Building a statement takes as long as running it: once a shape."""

    asked: frozenset[str]
    direction: Direction


@dataclass(frozen=True)
class Filter(lexical.Filter):
    """Which relations are wanted, and the statement that asks for them."""

    @property
    def shape(self) -> Shape:
        """Of the statement that asks for them."""
        return Shape(frozenset(self._given()), self.direction)

    def values(self, lexicon_id: int) -> dict[str, Any]:
        """Of the statement's parameters."""
        return {"lexicon_id": lexicon_id, **self._given()}

    def _given(self) -> dict[str, Any]:
        given = {"types": list(self.types) or None, "source": self.source, "rule": self.rule, "pos": self.pos}
        return {name: value for name, value in given.items() if value is not None}


def page_of_relations(
    connection: Connection, lexicon_id: int, word_id: int, filter: Filter, *, after: int, limit: int
) -> list[Relation]:
    """At most `limit` relations of a word with ids above `after`, in rising id, whichever end the word stands at."""
    values = {**filter.values(lexicon_id), "node": word_id, "after": after, "most": limit}
    return [Relation(*row) for row in connection.execute(_page(filter.shape), values)]


def relations_by_id(connection: Connection, lexicon_id: int, ids: Sequence[int]) -> list[Relation]:
    """The relations with those ids, in that order; ids that the lexicon does not hold are passed over."""
    if not ids:
        return []
    rows = connection.execute(_by_id(), {"lexicon_id": lexicon_id, "ids": list(ids)})
    found = {row.id: Relation(*row) for row in rows}
    return [found[id] for id in ids if id in found]


def leading_from(
    shape: Shape, stands: Callable[[ColumnElement[int]], ColumnElement[bool]]
) -> tuple[Select[tuple[int, int]], Select[tuple[int, int]]]:
    """(id, far end) of the wanted relations whose first end passes `stands`, and of those whose second one does.

    The parameters are those of `Filter.values`.
    """
    wanted = list(_wanted(shape))
    first = select(relations.c.id, relations.c.other_id.label("far")).where(*wanted, stands(relations.c.word_id))
    second = select(relations.c.id, relations.c.word_id.label("far")).where(*wanted, stands(relations.c.other_id))
    if shape.direction == "out":
        second = second.where(~relations.c.directed)
    if shape.direction == "in":
        first = first.where(~relations.c.directed)
    return first, second


def _wanted(shape: Shape) -> Iterator[ColumnElement[bool]]:
    lexicon_id: BindParameter[int] = bindparam("lexicon_id", type_=BigInteger)
    yield relations.c.lexicon_id == lexicon_id
    if "types" in shape.asked:
        yield relations.c.type == func.any(bindparam("types", type_=ARRAY(Text)))
    if "source" in shape.asked:
        source = select(relation_sources.c.id).where(
            relation_sources.c.lexicon_id == lexicon_id, relation_sources.c.name == bindparam("source")
        )
        yield relations.c.source_id == source.scalar_subquery()
    if "rule" in shape.asked:
        rule: BindParameter[str] = bindparam("rule", type_=Text)
        yield or_(relations.c.rule == rule, func.split_part(relations.c.rule, ":", 1) == rule)
    if "pos" in shape.asked:
        yield relations.c.pos == bindparam("pos")


@cache
def _page(shape: Shape) -> Select[Any]:
    # Each end has an index in order of the id: two short scans in place of all relations of a word and a sort.
    most: BindParameter[int] = bindparam("most", type_=BigInteger)
    ends = [
        half.where(relations.c.id > bindparam("after")).order_by(relations.c.id).limit(most).subquery()
        for half in leading_from(shape, lambda end: end == bindparam("node", type_=BigInteger))
    ]
    both = union_all(*(select(end.c.id) for end in ends)).subquery()
    page = select(both.c.id).order_by(both.c.id).limit(most).subquery()
    return _whole().join(page, page.c.id == relations.c.id).order_by(relations.c.id)


@cache
def _by_id() -> Select[Any]:
    return _whole().where(
        relations.c.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))),
        relations.c.lexicon_id == bindparam("lexicon_id"),
    )


def _whole() -> Select[Any]:
    """The columns of `Relation`, in its order."""
    word, other = words.alias("word"), words.alias("other")
    via = relation_sources.alias("via")
    return (
        select(
            relations.c.id,
            relations.c.word_id,
            relations.c.other_id,
            word.c.text.label("word"),
            other.c.text.label("other"),
            relations.c.type,
            relations.c.directed,
            relation_sources.c.name.label("source"),
            relation_sources.c.licence,
            relation_sources.c.version,
            via.c.name.label("via"),
            via.c.licence.label("via_licence"),
            relations.c.rule,
            relations.c.parent_id,
            relations.c.conflict,
            relations.c.pos,
            _glosses().label("glosses"),
        )
        .join(word, word.c.id == relations.c.word_id)
        .join(other, other.c.id == relations.c.other_id)
        .join(relation_sources, relation_sources.c.id == relations.c.source_id)
        .outerjoin(via, via.c.id == relations.c.via_id)
    )


def _glosses() -> ScalarSelect[Any]:
    """An array of [word_id, text], in order of the gloss; a look-up by the key of each relation of the page.

    NULL where there are none: most have none, and reading an empty array takes as long as the rest of a row.
    """
    pair = func.json_build_array(glosses.c.word_id, glosses.c.text)
    return (
        select(func.json_agg(aggregate_order_by(pair, glosses.c.id), type_=JSON))
        .select_from(relation_glosses.join(glosses, glosses.c.id == relation_glosses.c.gloss_id))
        .where(relation_glosses.c.relation_id == relations.c.id)
        .correlate(relations)
        .scalar_subquery()
    )


def is_head(word: str) -> bool:
    """Whether a word is long enough for a head: dots, digits and the like are no letters.

    Not a part of the query: what PostgreSQL takes for a letter depends on the locale of the database.
    """
    return sum(character.isalpha() for character in word) >= HEAD_LETTERS


def neighbours(
    dictionary_id: int, lexicon_id: int, types: Sequence[str], contrary: Sequence[str]
) -> Select[tuple[int, int, int, int, Sequence[str]]]:
    """(token, neighbour's word, its first sense, its count, the token's words) a row, by token and neighbour's word.

    The token is one that makes a whole word and has senses; whether one of its words `is_head` is left to the caller.
    Words are in the order in which the dictionary numbers them. Neighbours are the distinct other words of their
    relations of the given types that have senses; along a directed relation only the word that it leads to. Left out
    are relations in conflict, pairs that are in a relation of a `contrary` type too, whichever way it runs and whatever
    its source, and the head's own token.
    """
    chosen = _of_types(lexicon_id, types) & ~relations.c.conflict
    edges = _edges(chosen, chosen & ~relations.c.directed)
    # stored conflicts are those of the usual types; a dictionary may choose others
    opposed = _edges(_of_types(lexicon_id, contrary), _of_types(lexicon_id, contrary))
    contradicted = select(opposed.c.head).where(
        opposed.c.head == edges.c.head, opposed.c.neighbour == edges.c.neighbour
    )
    head, other = dictionary_words.alias("head"), dictionary_words.alias("other")
    token = head.c.token_ids[1]  # PostgreSQL counts from 1
    return (
        select(
            token.label("token"),
            other.c.word_id,
            other.c.first_sense,
            other.c.sense_count,
            func.array_agg(words.c.text).label("heads"),
        )
        .select_from(edges)
        .join(head, (head.c.dictionary_id == dictionary_id) & (head.c.word_id == edges.c.head))
        .join(words, words.c.id == head.c.word_id)
        .join(other, (other.c.dictionary_id == dictionary_id) & (other.c.word_id == edges.c.neighbour))
        .where(func.cardinality(head.c.token_ids) == 1, head.c.sense_count > 0, other.c.sense_count > 0)
        .where(other.c.token_ids != head.c.token_ids, ~contradicted.exists())
        .group_by(token, other.c.word_id, other.c.place, other.c.first_sense, other.c.sense_count)
        .order_by(token, func.coalesce(other.c.place, other.c.word_id))
    )


def _of_types(lexicon_id: int, types: Sequence[str]) -> ColumnElement[bool]:
    return (relations.c.lexicon_id == lexicon_id) & (relations.c.type == func.any(list(types)))


def _edges(along: ColumnElement[bool], back: ColumnElement[bool]) -> Subquery:
    """(head, neighbour) of the relations that pass `along`, and of those that pass `back` turned round."""
    first, second = relations.c.word_id, relations.c.other_id
    return union_all(
        select(first.label("head"), second.label("neighbour")).where(along), select(second, first).where(back)
    ).subquery()
