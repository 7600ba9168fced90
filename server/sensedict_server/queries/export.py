"""Whole tables of one dictionary, in order, for its file set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Select, any_, func, literal, select, union

from sensedict_server.tables import (
    contexts,
    dictionaries,
    dictionary_words,
    forms,
    glosses,
    judgements,
    lexicons,
    relation_glosses,
    relation_sources,
    relations,
    segmentations,
    senses,
    tokens,
    words,
)


@dataclass(frozen=True)
class DictionaryRow:
    """What a dictionary's row says beside its identity; `published_at` of one in the middle of publishing is now."""

    published_at: datetime
    tokens_with_senses: int
    words_with_senses: int


@dataclass(frozen=True)
class LexiconRow:
    """What a lexicon's row says, and how its sources came by what they hold."""

    settings: dict[str, Any]
    created_at: datetime


def dictionary_row(connection: Connection, dictionary_id: int) -> DictionaryRow:
    """The row of a dictionary that is there."""
    query = select(
        func.coalesce(dictionaries.c.published_at, func.now()),
        dictionaries.c.tokens_with_senses,
        dictionaries.c.words_with_senses,
    ).where(dictionaries.c.id == dictionary_id)
    return DictionaryRow(*connection.execute(query).one())


def lexicon_row(connection: Connection, lexicon_id: int) -> LexiconRow:
    """The row of a lexicon that is there."""
    query = select(lexicons.c.settings, lexicons.c.created_at).where(lexicons.c.id == lexicon_id)
    return LexiconRow(*connection.execute(query).one())


def all_tokens(dictionary_id: int) -> Select[Any]:
    """The vocabulary by token id."""
    return (
        select(tokens.c.token_id, tokens.c.text, tokens.c.occurrences, tokens.c.first_sense, tokens.c.sense_count)
        .where(tokens.c.dictionary_id == dictionary_id)
        .order_by(tokens.c.token_id)
    )


def all_words(dictionary_id: int) -> Select[Any]:
    """Words of the lexicon under the dictionary's tokenizer, in the order in which the dictionary numbers them."""
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
        .order_by(func.coalesce(dictionary_words.c.place, words.c.id))
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
    word, other, via = words.alias("word"), words.alias("other"), relation_sources.alias("via")
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
            via.c.name.label("via"),
        )
        .join(word, word.c.id == relations.c.word_id)
        .join(other, other.c.id == relations.c.other_id)
        .join(relation_sources, relation_sources.c.id == relations.c.source_id)
        .outerjoin(via, via.c.id == relations.c.via_id)
        .where(relations.c.lexicon_id == lexicon_id)
        .order_by(relations.c.id)
    )


def lexicon_words(lexicon_id: int) -> Select[Any]:
    """Every word that the lexicon names, by id."""
    places = (
        (relations, relations.c.word_id),
        (relations, relations.c.other_id),
        (glosses, glosses.c.word_id),
        (forms, forms.c.form_id),
        (forms, forms.c.lemma_id),
        (segmentations, segmentations.c.word_id),
    )
    named = union(*(select(column).where(table.c.lexicon_id == lexicon_id) for table, column in places)).subquery()
    return select(words.c.id, words.c.text, words.c.language).join(named, named.c[0] == words.c.id).order_by(words.c.id)


def all_glosses(lexicon_id: int) -> Select[Any]:
    """Glosses of the lexicon by id."""
    return (
        select(glosses.c.id, glosses.c.word_id, words.c.text, relation_sources.c.name, glosses.c.pos, glosses.c.text)
        .join(words, words.c.id == glosses.c.word_id)
        .join(relation_sources, relation_sources.c.id == glosses.c.source_id)
        .where(glosses.c.lexicon_id == lexicon_id)
        .order_by(glosses.c.id)
    )


def all_relation_glosses(lexicon_id: int) -> Select[Any]:
    """Which glosses a source lists relations under."""
    return (
        select(relation_glosses.c.relation_id, relation_glosses.c.gloss_id)
        .where(relation_glosses.c.lexicon_id == lexicon_id)
        .order_by(relation_glosses.c.relation_id, relation_glosses.c.gloss_id)
    )


def all_forms(lexicon_id: int) -> Select[Any]:
    """Inflected forms and their lemmas."""
    form, lemma = words.alias("form"), words.alias("lemma")
    return (
        select(
            forms.c.form_id,
            form.c.text.label("form"),
            forms.c.lemma_id,
            lemma.c.text.label("lemma"),
            relation_sources.c.name,
            forms.c.pos,
        )
        .join(form, form.c.id == forms.c.form_id)
        .join(lemma, lemma.c.id == forms.c.lemma_id)
        .join(relation_sources, relation_sources.c.id == forms.c.source_id)
        .where(forms.c.lexicon_id == lexicon_id)
        .order_by(forms.c.form_id, forms.c.lemma_id, relation_sources.c.name.collate("C"), forms.c.pos.collate("C"))
    )


def all_segmentations(lexicon_id: int) -> Select[Any]:
    """How sources build words."""
    return (
        select(
            segmentations.c.word_id, words.c.text, relation_sources.c.name, segmentations.c.text, segmentations.c.pos
        )
        .join(words, words.c.id == segmentations.c.word_id)
        .join(relation_sources, relation_sources.c.id == segmentations.c.source_id)
        .where(segmentations.c.lexicon_id == lexicon_id)
        .order_by(segmentations.c.word_id, relation_sources.c.name.collate("C"))
    )


def judgements_by_id(ids: list[int]) -> Select[Any]:
    """The judgements with those ids, withdrawn later or not."""
    columns = ("id", "verdict", "word", "other", "type", "reason", "author", "created_at")
    chosen = judgements.c.id == any_(literal(ids, ARRAY(BigInteger)))
    return select(*(judgements.c[name] for name in columns)).where(chosen).order_by(judgements.c.id)


def all_contexts(dictionary_id: int) -> Select[Any]:
    """Contexts by sense id and ordinal."""
    return (
        select(contexts.c.sense_id, contexts.c.ordinal, contexts.c.text, contexts.c.start, contexts.c.end)
        .where(contexts.c.dictionary_id == dictionary_id)
        .order_by(contexts.c.sense_id, contexts.c.ordinal)
    )


# Read with the driver itself, in binary and without a Python object a row.
VECTORS = "COPY (SELECT vector FROM senses WHERE dictionary_id = {} ORDER BY sense_id) TO STDOUT (FORMAT BINARY)"
