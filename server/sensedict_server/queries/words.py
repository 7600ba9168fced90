"""Words: as they are spelt, and the tokens and senses that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import normalize

from sqlalchemy import ColumnElement, Connection, func, select

from sensedict_server.tables import dictionary_words, tokens, words


@dataclass(frozen=True)
class Word:
    """A word under a dictionary's tokenizer.

    Attributes:
        word_id: row of `words`; None where the word stands in no relation and is known as a token alone.
        text: as the dictionary spells it.
        token_ids: its tokens as it stands inside a sentence.
        first_sense, sense_count: the range of its senses.
        reason: why it has no senses.
    """

    word_id: int | None
    text: str
    token_ids: tuple[int, ...]
    first_sense: int
    sense_count: int
    reason: str | None


def find_word(connection: Connection, dictionary_id: int, word: str) -> Word | None:
    """The word whose senses are wanted: as spelt, else as its case folds (DSKD §3.3).

    In each a word of relations comes before a bare token, but a token spelt exactly so comes before a word of relations
    that only folds to it: its senses are those of this very spelling. `find_related_word` decides otherwise.

    A token stands for a word when its text is a space and the word, as inside a sentence, or else the word itself.
    A word typed with combining accents that is not found is looked up with whole letters (NFC), as text has them.
    """
    found = None
    for spelling in _spellings(word):
        found = (
            found
            or _in_relations(connection, dictionary_id, spelling, _spelt(spelling))
            or _as_token(connection, dictionary_id, spelling, folded=False)
            or _in_relations(connection, dictionary_id, spelling, _folded(spelling))
            or _as_token(connection, dictionary_id, spelling, folded=True)
        )
    return found


def find_related_word(connection: Connection, dictionary_id: int, word: str) -> Word | None:
    """The word whose relations are wanted: a word of relations, as spelt, else as its case folds; else a bare token.

    A token spelt exactly so has no relations, so it does not hide the word of relations that folds to it.
    """
    found = None
    for spelling in _spellings(word):
        found = (
            found
            or _in_relations(connection, dictionary_id, spelling, _spelt(spelling))
            or _in_relations(connection, dictionary_id, spelling, _folded(spelling))
        )
    for spelling in _spellings(word):
        found = (
            found
            or _as_token(connection, dictionary_id, spelling, folded=False)
            or _as_token(connection, dictionary_id, spelling, folded=True)
        )
    return found


def _spellings(word: str) -> Sequence[str]:
    return list(dict.fromkeys((word, normalize("NFC", word))))


def _spelt(word: str) -> ColumnElement[bool]:
    return words.c.text == word


def _folded(word: str) -> ColumnElement[bool]:
    return func.lower(words.c.text) == func.lower(word)


def _in_relations(connection: Connection, dictionary_id: int, word: str, spelt: ColumnElement[bool]) -> Word | None:
    query = (
        select(
            words.c.id.label("word_id"),
            words.c.text,
            dictionary_words.c.token_ids,
            dictionary_words.c.first_sense,
            dictionary_words.c.sense_count,
            dictionary_words.c.reason,
        )
        .join(dictionary_words, dictionary_words.c.word_id == words.c.id)
        .where(dictionary_words.c.dictionary_id == dictionary_id)
        .where(spelt)
        # "MAY" may mean "may" or "May": the plain spelling first, the rest in a fixed order
        .order_by((words.c.text == func.lower(word)).desc(), words.c.id)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Word(row.word_id, row.text, tuple(row.token_ids), row.first_sense, row.sense_count, row.reason)


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
