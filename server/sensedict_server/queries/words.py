"""Words: as they are spelt, the tokens and senses that stand for them, and what sources say that they mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal
from unicodedata import normalize

from sqlalchemy import BigInteger, BindParameter, Connection, Select, Text, bindparam, func, or_, select, union

from sensedict_server.lexicon.lemmas import lemma_candidates
from sensedict_server.tables import dictionary_words, forms, glosses, relation_sources, relations, tokens, words

Match = Literal["exact", "case", "form", "lemma"]
_MOST_FORMS = 20  # of one word that are tried


@dataclass(frozen=True)
class Scope:
    """Where words are looked up: a dictionary, and the lexicon that it names."""

    dictionary_id: int
    lexicon_id: int


@dataclass(frozen=True)
class Word:
    """A word under a dictionary's tokenizer.

    Attributes:
        word_id: row of `words`; None where the word stands in no relation and is known as a token alone.
        text: as the dictionary spells it.
        token_ids: its tokens as it stands inside a sentence.
        first_sense, sense_count: the range of its senses.
        reason: why it has no senses.
        matched: how it was found: as spelt, as its case folds, by a form that a source lists, by a rule of inflection.
    """

    word_id: int | None
    text: str
    token_ids: tuple[int, ...]
    first_sense: int
    sense_count: int
    reason: str | None
    matched: Match = "exact"


@dataclass(frozen=True)
class Gloss:
    """What a source says that a word means."""

    text: str
    pos: str | None
    source: str
    licence: str


def find_word(connection: Connection, scope: Scope, word: str, pos: str | None = None) -> Word | None:
    """The word whose senses are wanted: as spelt, else as its case folds, else by a form or a lemma (DSKD §3.3).

    In each a word of relations comes before a bare token, but a token spelt exactly so comes before a word of relations
    that only folds to it: its senses are those of this very spelling. `find_related_word` decides otherwise.

    A token stands for a word when its text is a space and the word, as inside a sentence, or else the word itself.
    A word typed with combining accents that is not found is looked up with whole letters (NFC), as text has them.

    Where `pos` is given, what the sources know as other parts of speech only is passed over.
    """
    dictionary_id = scope.dictionary_id

    def ways() -> Iterator[Word | None]:
        for spelling in _spellings(word):
            yield _in_relations(connection, dictionary_id, spelling, folded=False)
            yield _as_token(connection, dictionary_id, spelling, folded=False)
            yield _matched("case", _in_relations(connection, dictionary_id, spelling, folded=True))
            yield _matched("case", _as_token(connection, dictionary_id, spelling, folded=True))
        for match, text in _inflections(connection, scope, word, pos):
            yield _matched(match, _in_relations(connection, dictionary_id, text, folded=False))
            yield _matched(match, _as_token(connection, dictionary_id, text, folded=False))

    return _first_of(connection, scope, ways(), pos)


def find_related_word(connection: Connection, scope: Scope, word: str) -> Word | None:
    """The word whose relations are wanted: a word of relations, matches in the same order; else a bare token.

    A token spelt exactly so has no relations, so it does not hide the word of relations that folds to it.
    """
    dictionary_id = scope.dictionary_id

    def ways() -> Iterator[Word | None]:
        for spelling in _spellings(word):
            yield _in_relations(connection, dictionary_id, spelling, folded=False)
            yield _matched("case", _in_relations(connection, dictionary_id, spelling, folded=True))
        for match, text in _inflections(connection, scope, word, None):
            yield _matched(match, _in_relations(connection, dictionary_id, text, folded=False))
        for spelling in _spellings(word):
            yield _as_token(connection, dictionary_id, spelling, folded=False)
            yield _matched("case", _as_token(connection, dictionary_id, spelling, folded=True))

    return _first_of(connection, scope, ways(), None)


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


def _first_of(connection: Connection, scope: Scope, found: Iterable[Word | None], pos: str | None) -> Word | None:
    for word in found:
        if word is None:
            continue
        known = [] if pos is None else parts_of_speech(connection, scope.lexicon_id, word.text)
        if not known or pos in known:
            return word
    return None


def _matched(match: Match, found: Word | None) -> Word | None:
    return None if found is None else replace(found, matched=match)


def _inflections(connection: Connection, scope: Scope, word: str, pos: str | None) -> Iterator[tuple[Match, str]]:
    """What the word may be a form of, or have as a form: first as sources list it, then by the rules."""
    spelling = normalize("NFC", word)
    yield from (("form", text) for text in _listed_forms(connection, scope.lexicon_id, spelling, pos))
    folded = [spelling, *([spelling.lower()] if spelling.lower() != spelling else [])]
    guesses = (guess for text in folded for guess in lemma_candidates(text))
    yield from (("lemma", lemma) for lemma in dict.fromkeys(lemma for lemma, of in guesses if pos in (None, of)))


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
            .limit(_MOST_FORMS)
        )
        if pos is not None:
            query = query.where(or_(forms.c.pos == pos, forms.c.pos.is_(None)))
        listed += connection.execute(query).scalars()
    return list(dict.fromkeys(listed))


def _spellings(word: str) -> Sequence[str]:
    return list(dict.fromkeys((word, normalize("NFC", word))))


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
    reason = None if row.sense_count else f"token without senses: {row.text!r}"
    return Word(None, row.text.removeprefix(" "), (row.token_id,), row.first_sense, row.sense_count, reason)
