"""Senses of the words that stand in a relation to a word: what a map shows around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, union

from sensedict_server.tables import contexts, dictionary_words, relations, senses, tokens, words


@dataclass(frozen=True)
class RelatedWord:
    """A word with senses, `first_sense .. first_sense + sense_count`; `token_id` where it is a single token."""

    text: str
    token_id: int | None
    first_sense: int
    sense_count: int


@dataclass(frozen=True)
class Placed:
    """What a map tells of a sense; `context` is (text, start, end) of its first passage."""

    ordinal: int
    count: int
    context: tuple[str, int, int] | None


def related_words(
    connection: Connection, dictionary_id: int, lexicon_id: int, word_id: int, types: Sequence[str], limit: int
) -> list[RelatedWord]:
    """At most `limit` words with senses that are in a relation of these types to the word, those used most first."""
    of_types = (relations.c.lexicon_id == lexicon_id) & (relations.c.type == func.any(list(types)))
    others = union(
        select(relations.c.other_id.label("id")).where(of_types, relations.c.word_id == word_id),
        select(relations.c.word_id).where(of_types, relations.c.other_id == word_id),
    ).subquery()
    single = func.cardinality(dictionary_words.c.token_ids) == 1
    query = (
        select(
            words.c.text,
            tokens.c.token_id,
            dictionary_words.c.first_sense,
            dictionary_words.c.sense_count,
        )
        .join(others, others.c.id == words.c.id)
        .join(dictionary_words, dictionary_words.c.word_id == words.c.id)
        .outerjoin(
            tokens,
            single
            & (tokens.c.dictionary_id == dictionary_id)
            & (tokens.c.token_id == dictionary_words.c.token_ids[1]),  # PostgreSQL counts from 1
        )
        .where(dictionary_words.c.dictionary_id == dictionary_id, dictionary_words.c.sense_count > 0)
        .order_by(tokens.c.occurrences.desc().nulls_last(), words.c.id)
        .limit(limit)
    )
    return [RelatedWord(*row) for row in connection.execute(query)]


def placed_senses(connection: Connection, dictionary_id: int, ids: Sequence[int]) -> dict[int, Placed]:
    """What a map tells of each of the senses."""
    first = contexts.c.ordinal == 0
    query = (
        select(
            senses.c.sense_id,
            senses.c.ordinal,
            senses.c["count"].label("uses"),
            contexts.c.text,
            contexts.c.start,
            contexts.c.end,
        )
        .outerjoin(
            contexts,
            first & (contexts.c.dictionary_id == senses.c.dictionary_id) & (contexts.c.sense_id == senses.c.sense_id),
        )
        .where(senses.c.dictionary_id == dictionary_id, senses.c.sense_id == func.any(list(ids)))
    )
    return {
        row.sense_id: Placed(row.ordinal, row.uses, None if row.text is None else (row.text, row.start, row.end))
        for row in connection.execute(query)
    }
