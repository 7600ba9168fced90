"""Lexical relations of a word, and the neighbours that relations make of words (DSKD §3.2, §4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, case, func, select, union_all

from sensedict_server.tables import dictionary_words, relation_sources, relations, words

HEAD_LETTERS = 3  # heads are single-token words of three letters or more (METHOD: Word senses)


@dataclass(frozen=True)
class Relation:
    """A relation seen from one of its words; `other` is the other one."""

    id: int
    other: str
    type: str
    source: str
    licence: str
    rule: str | None
    parent_id: int | None
    conflict: bool


def page_of_relations(
    connection: Connection,
    lexicon_id: int,
    word_id: int,
    *,
    type: str | None,
    source: str | None,
    after: int,
    limit: int,
) -> list[Relation]:
    """At most `limit` relations of a word with ids above `after`, in rising id, whichever end the word stands at."""
    other_id = case((relations.c.word_id == word_id, relations.c.other_id), else_=relations.c.word_id)
    query = (
        select(
            relations.c.id,
            words.c.text.label("other"),
            relations.c.type,
            relation_sources.c.name.label("source"),
            relation_sources.c.licence,
            relations.c.rule,
            relations.c.parent_id,
            relations.c.conflict,
        )
        .join(relation_sources, relation_sources.c.id == relations.c.source_id)
        .join(words, words.c.id == other_id)
        .where(relations.c.lexicon_id == lexicon_id)
        .where((relations.c.word_id == word_id) | (relations.c.other_id == word_id))
        .where(relations.c.id > after)
        .order_by(relations.c.id)
        .limit(limit)
    )
    if type is not None:
        query = query.where(relations.c.type == type)
    if source is not None:
        query = query.where(relation_sources.c.name == source)
    return [Relation(**row._mapping) for row in connection.execute(query)]


def is_head(word: str) -> bool:
    """Whether a word is long enough for a head: dots, digits and the like are no letters.

    Not a part of the query: what PostgreSQL takes for a letter depends on the locale of the database.
    """
    return sum(character.isalpha() for character in word) >= HEAD_LETTERS


def neighbours(
    dictionary_id: int, lexicon_id: int, types: Sequence[str]
) -> Select[tuple[int, int, int, int, Sequence[str]]]:
    """(token, neighbour's word, its first sense, its count, the token's words) a row, by token and neighbour's word.

    The token is one that makes a whole word and has senses; whether one of its words `is_head` is left to the caller.
    Neighbours are the distinct other words of their relations of the given types that have senses, relations in
    conflict left out, and the head's own token too.
    """
    usable = (
        (relations.c.lexicon_id == lexicon_id) & (relations.c.type == func.any(list(types))) & ~relations.c.conflict
    )
    edges = union_all(
        select(relations.c.word_id.label("head"), relations.c.other_id.label("neighbour")).where(usable),
        select(relations.c.other_id, relations.c.word_id).where(usable),
    ).subquery()
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
        .where(other.c.token_ids != head.c.token_ids)
        .group_by(token, other.c.word_id, other.c.first_sense, other.c.sense_count)
        .order_by(token, other.c.word_id)
    )
