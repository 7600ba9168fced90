"""What a lexicon's sources said, read back: to make a new version of it without their files (DSKD §3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from sensedict_server.lexicon.relations import SYMMETRIC, Entry, Form, Gloss, Relation, Segmentation
from sensedict_server.tables import (
    forms,
    glosses,
    judgements,
    lexicons,
    relation_glosses,
    relations,
    segmentations,
    words,
)

_ROWS = 10_000  # in memory at once


@dataclass(frozen=True)
class Judgement:
    """What a lexicographer says of a relation, whatever the sources say.

    Attributes:
        lexicon: name of the lexicon; all versions that are made later obey.
        verdict: `add` or `reject`.
        withdrawn_at: since when it counts no more.
    """

    id: int
    lexicon: str
    verdict: str
    word: str
    other: str
    type: str
    reason: str
    author: str
    created_at: datetime
    withdrawn_at: datetime | None


def source_entries(connection: Connection, source_id: int) -> Iterator[Entry]:
    """All that a source said, without what was derived from it, a few thousand rows in memory at once.

    Relations whose direction is lost are left out; `undirected_relations` counts them.
    """
    # Glosses first, so that they come in the order they had: that of the relations' first ones may be another.
    meanings = (
        select(words.c.text, glosses.c.text, glosses.c.pos)
        .join(words, words.c.id == glosses.c.word_id)
        .where(glosses.c.source_id == source_id)
        .order_by(glosses.c.id)
    )
    for text, gloss, pos in _streamed(connection, meanings):
        yield Gloss(text, gloss, pos)
    word, other = words.alias("word"), words.alias("other")
    query: Select[Any] = (
        select(word.c.text, other.c.text, relations.c.type, relations.c.pos, glosses.c.text, glosses.c.word_id)
        .add_columns(relations.c.other_id)
        .join(word, word.c.id == relations.c.word_id)
        .join(other, other.c.id == relations.c.other_id)
        .outerjoin(relation_glosses, relation_glosses.c.relation_id == relations.c.id)
        .outerjoin(glosses, glosses.c.id == relation_glosses.c.gloss_id)
        .where(relations.c.source_id == source_id, relations.c.rule.is_(None), ~_direction_lost())
        .order_by(relations.c.id, relation_glosses.c.gloss_id)
    )
    for text, other_text, type_, pos, gloss, of, other_id in _streamed(connection, query):
        ends = (other_text, text) if of == other_id else (text, other_text)  # a gloss is of the first
        yield Relation(*ends, type_, pos=pos, gloss=gloss)
    inflected = (
        select(word.c.text, other.c.text, forms.c.pos)
        .join(word, word.c.id == forms.c.form_id)
        .join(other, other.c.id == forms.c.lemma_id)
        .where(forms.c.source_id == source_id)
        .order_by(forms.c.form_id, forms.c.lemma_id)
    )
    for form, lemma, pos in _streamed(connection, inflected):
        yield Form(form, lemma, pos)
    segmented = (
        select(words.c.text, segmentations.c.text, segmentations.c.pos)
        .join(words, words.c.id == segmentations.c.word_id)
        .where(segmentations.c.source_id == source_id)
        .order_by(segmentations.c.word_id)
    )
    for text, segmentation, pos in _streamed(connection, segmented):
        yield Segmentation(text, segmentation, frozenset(pos))


def undirected_relations(connection: Connection, source_id: int) -> int:
    """How many relations of a source run from one word to the other, and nobody knows from which.

    Schema 0001 stored the ends of all relations in order; only the source itself can tell what a hypernym was of.
    """
    query = select(func.count()).select_from(relations)
    query = query.where(relations.c.source_id == source_id, relations.c.rule.is_(None), _direction_lost())
    return connection.execute(query).scalar_one()


def judgements_on(connection: Connection, lexicon: str, *, in_force: bool) -> list[Judgement]:
    """Judgements on the lexicon of that name, oldest first; all of them, or those in force."""
    query = select(judgements).where(judgements.c.lexicon == lexicon).order_by(judgements.c.id)
    if in_force:
        query = query.where(judgements.c.withdrawn_at.is_(None))
    return [Judgement(**row._mapping) for row in connection.execute(query)]


def find_judgement(connection: Connection, judgement_id: int) -> Judgement | None:
    """The judgement with that id."""
    row = connection.execute(select(judgements).where(judgements.c.id == judgement_id)).one_or_none()
    return None if row is None else Judgement(**row._mapping)


def has_relation(connection: Connection, lexicon_name: str, word: str, other: str, type: str) -> bool:
    """Whether a version of the lexicon holds the relation, in the direction given or, where symmetric, in either."""
    ends = select(words.c.id).where(words.c.text.in_([word, other]))
    query = (
        select(relations.c.id, relations.c.directed, relations.c.word_id)
        .join(lexicons, lexicons.c.id == relations.c.lexicon_id)
        .where(lexicons.c.name == lexicon_name, lexicons.c.state == "published", relations.c.type == type)
        .where(relations.c.word_id.in_(ends), relations.c.other_id.in_(ends))
    )
    first = select(words.c.id).where(words.c.text == word)
    query = query.where(~relations.c.directed | relations.c.word_id.in_(first)).limit(1)
    return connection.execute(query).first() is not None


def _direction_lost() -> ColumnElement[bool]:
    return ~relations.c.directed & relations.c.type.not_in(sorted(SYMMETRIC))


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    yield from connection.execute(query, execution_options={"yield_per": _ROWS})
