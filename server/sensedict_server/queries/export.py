"""Whole tables of one dictionary, in order, for its file set."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from sensedict_server.tables import contexts, dictionary_words, relation_sources, relations, senses, tokens, words


def all_tokens(dictionary_id: int) -> Select[Any]:
    """The vocabulary by token id."""
    return (
        select(tokens.c.token_id, tokens.c.text, tokens.c.occurrences, tokens.c.first_sense, tokens.c.sense_count)
        .where(tokens.c.dictionary_id == dictionary_id)
        .order_by(tokens.c.token_id)
    )


def all_words(dictionary_id: int) -> Select[Any]:
    """Words of the lexicon under the dictionary's tokenizer, by word id."""
    return (
        select(
            words.c.id.label("word_id"),
            words.c.text.label("word"),
            words.c.language,
            dictionary_words.c.token_ids,
            dictionary_words.c.first_sense,
            dictionary_words.c.sense_count,
            dictionary_words.c.reason,
        )
        .join(dictionary_words, dictionary_words.c.word_id == words.c.id)
        .where(dictionary_words.c.dictionary_id == dictionary_id)
        .order_by(words.c.id)
    )


def all_senses(dictionary_id: int) -> Select[Any]:
    """Senses by id, without their vectors."""
    return (
        select(
            senses.c.sense_id,
            senses.c.token_id,
            senses.c.word_id,
            senses.c.ordinal,
            senses.c["count"],
            senses.c.inertia,
        )
        .where(senses.c.dictionary_id == dictionary_id)
        .order_by(senses.c.sense_id)
    )


def all_relations(lexicon_id: int) -> Select[Any]:
    """Relations of the lexicon by id, with source and licence."""
    word, other = words.alias("word"), words.alias("other")
    return (
        select(
            relations.c.id.label("relation_id"),
            relations.c.word_id,
            word.c.text.label("word"),
            relations.c.other_id,
            other.c.text.label("other"),
            relations.c.type,
            relation_sources.c.name.label("source"),
            relation_sources.c.licence,
            relations.c.rule,
            relations.c.parent_id,
            relations.c.conflict,
            relations.c.directed,
            relations.c.pos,
        )
        .join(word, word.c.id == relations.c.word_id)
        .join(other, other.c.id == relations.c.other_id)
        .join(relation_sources, relation_sources.c.id == relations.c.source_id)
        .where(relations.c.lexicon_id == lexicon_id)
        .order_by(relations.c.id)
    )


def all_contexts(dictionary_id: int) -> Select[Any]:
    """Contexts by sense id and ordinal."""
    return (
        select(contexts.c.sense_id, contexts.c.ordinal, contexts.c.text, contexts.c.start, contexts.c.end)
        .where(contexts.c.dictionary_id == dictionary_id)
        .order_by(contexts.c.sense_id, contexts.c.ordinal)
    )


# Read with the driver itself, in binary: as text a vector is five times as long, and SQLAlchemy would make it a list.
VECTORS = "SELECT vector FROM senses WHERE dictionary_id = %s ORDER BY sense_id"
