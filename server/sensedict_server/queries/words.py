"""Words: as they are spelt, the tokens and senses that stand for them, and what sources say that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, BindParameter, Connection, Select, Text, bindparam, func, or_, select, union

from sensedict import lookup
from sensedict.lookup import MOST_FORMS, Word, token_word
from sensedict_server.tables import dictionary_words, forms, glosses, relation_sources, relations, tokens, words


@dataclass(frozen=True)
class Scope:
    """Where words are looked up: a dictionary, and the lexicon that it names."""

    dictionary_id: int
    lexicon_id: int


@dataclass(frozen=True)
class Gloss:
    """What a source says that a word means."""

    text: str
    pos: str | None
    source: str
    licence: str


def find_word(connection: Connection, scope: Scope, word: str, pos: str | None = None) -> Word | None:
    """The word whose senses are wanted; see `sensedict.lookup.find_word`."""
    return lookup.find_word(_Index(connection, scope), word, pos)


def find_related_word(connection: Connection, scope: Scope, word: str) -> Word | None:
    """The word whose relations are wanted; see `sensedict.lookup.find_related_word`."""
    return lookup.find_related_word(_Index(connection, scope), word)


def parts_of_speech(connection: Connection, lexicon_id: int, text: str) -> list[str]:
    """What the sources know the word as, in alphabetical order; empty where they do not say."""
    word_id = select(words.c.id).where(words.c.text == text).scalar_subquery()
    places = (
        (glosses, glosses.c.word_id),
        (relations, relations.c.word_id),
        (relations, relations.c.other_id),
        (forms, forms.c.form_id),
        (forms, forms.c.lemma_id),
    )
    known = union(
        *(
            select(table.c.pos).where(table.c.lexicon_id == lexicon_id, column == word_id, table.c.pos.is_not(None))
            for table, column in places
        )
    ).subquery()
    return list(connection.execute(select(known.c.pos).order_by(known.c.pos.collate("C"))).scalars())


def glosses_of(connection: Connection, lexicon_id: int, text: str, pos: str | None = None) -> list[Gloss]:
    """What the sources say that the word means, in the order they were loaded in; as that part of speech if given."""
    query = (
        select(glosses.c.text, glosses.c.pos, relation_sources.c.name.label("source"), relation_sources.c.licence)
        .join(relation_sources, relation_sources.c.id == glosses.c.source_id)
        .join(words, words.c.id == glosses.c.word_id)
        .where(glosses.c.lexicon_id == lexicon_id, words.c.text == text)
        .order_by(glosses.c.id)
    )
    if pos is not None:
        query = query.where(glosses.c.pos == pos)
    return [Gloss(**row._mapping) for row in connection.execute(query)]


@dataclass(frozen=True)
class _Index:
    """The `WordIndex` of a dictionary in the database."""

    connection: Connection
    scope: Scope

    def in_relations(self, word: str, *, folded: bool) -> Word | None:
        return _in_relations(self.connection, self.scope.dictionary_id, word, folded=folded)

    def as_token(self, word: str, *, folded: bool) -> Word | None:
        return _as_token(self.connection, self.scope.dictionary_id, word, folded=folded)

    def listed_forms(self, word: str, pos: str | None) -> Sequence[str]:
        return _listed_forms(self.connection, self.scope.lexicon_id, word, pos)

    def parts_of_speech(self, text: str) -> list[str]:
        return parts_of_speech(self.connection, self.scope.lexicon_id, text)


def _listed_forms(connection: Connection, lexicon_id: int, word: str, pos: str | None) -> Sequence[str]:
    """Lemmas of the word, then its forms; those of this spelling before those of its folded one."""
    listed: list[str] = []
    for asked_id, other_id in ((forms.c.form_id, forms.c.lemma_id), (forms.c.lemma_id, forms.c.form_id)):
        asked, other = words.alias("asked"), words.alias("other")
        query = (
            select(other.c.text)
            .join(asked, asked.c.id == asked_id)
            .join(other, other.c.id == other_id)
            .where(forms.c.lexicon_id == lexicon_id, func.lower(asked.c.text) == func.lower(word))
            .order_by((asked.c.text == word).desc(), other.c.id)
            .limit(MOST_FORMS)
        )
        if pos is not None:
            query = query.where(or_(forms.c.pos == pos, forms.c.pos.is_(None)))
        listed += connection.execute(query).scalars()
    return list(dict.fromkeys(listed))


def _in_relations(connection: Connection, dictionary_id: int, word: str, *, folded: bool) -> Word | None:
    values = {"dictionary_id": dictionary_id, "word": word}
    row = connection.execute(_word_of_relations(folded), values).one_or_none()
    if row is None:
        return None
    return Word(row.word_id, row.text, tuple(row.token_ids), row.first_sense, row.sense_count, row.reason)


@cache  # building a statement takes as long as running it
def _word_of_relations(folded: bool) -> Select[Any]:
    word: BindParameter[str] = bindparam("word", type_=Text)
    return (
        select(
            words.c.id.label("word_id"),
            words.c.text,
            dictionary_words.c.token_ids,
            dictionary_words.c.first_sense,
            dictionary_words.c.sense_count,
            dictionary_words.c.reason,
        )
        .join(dictionary_words, dictionary_words.c.word_id == words.c.id)
        .where(dictionary_words.c.dictionary_id == bindparam("dictionary_id", type_=BigInteger))
        .where(func.lower(words.c.text) == func.lower(word) if folded else words.c.text == word)
        # "MAY" may mean "may" or "May": the plain spelling first, the rest in a fixed order
        .order_by((words.c.text == func.lower(word)).desc(), words.c.id)
        .limit(1)
    )


def _as_token(connection: Connection, dictionary_id: int, word: str, *, folded: bool) -> Word | None:
    inside = [f" {word}", word]
    if folded:
        spelt = func.lower(tokens.c.text).in_([func.lower(text) for text in inside])
    else:
        spelt = tokens.c.text.in_(inside)
    query = (
        select(tokens.c.token_id, tokens.c.text, tokens.c.first_sense, tokens.c.sense_count)
        .where(tokens.c.dictionary_id == dictionary_id)
        .where(spelt)
        .order_by(
            tokens.c.text.startswith(" ").desc(),
            tokens.c.text.in_(inside).desc(),
            (tokens.c.text == func.lower(tokens.c.text)).desc(),
            tokens.c.token_id,
        )
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return token_word(*row)
