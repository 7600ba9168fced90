"""Words by how they begin: what to offer while one is typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Connection, Select, Text, bindparam, func, select

from sensedict_server.tables import dictionary_words, tokens, words

_AHEAD = 5  # times the words wanted are looked at for some with senses; all that begin with a letter would take long


@dataclass(frozen=True)
class FoundWord:
    """A word that can be asked for; see `wire.FoundWord`."""

    word: str
    senses: int
    occurrences: int | None


def words_beginning(connection: Connection, dictionary_id: int, prefix: str, limit: int) -> list[FoundWord]:
    """At most `limit` words that begin so, whatever their case: the word itself, tokens by use, other words by letters.

    Tokens have senses; a word of relations may have none, and of the next few those with senses come first. Tokens that
    begin no word come last: most are pieces of one.
    The prefix is searched for in the indexes of folded texts in the order of their characters, whatever the database's
    collation.
    """
    values = {"dictionary_id": dictionary_id, "prefix": prefix, "most": limit}

    def found() -> Iterator[FoundWord]:
        inside = [
            FoundWord(text.removeprefix(" "), senses, occurrences)
            for text, senses, occurrences in connection.execute(_tokens(), {**values, "prefix": f" {prefix}"})
        ]
        listed = [FoundWord(*row) for row in connection.execute(_words(), {**values, "most": _AHEAD * limit})]
        listed.sort(key=lambda word: word.senses == 0)
        folded = prefix.casefold()
        yield from (word for word in (*inside, *listed) if word.word == prefix)
        yield from (word for word in (*inside, *listed) if word.word.casefold() == folded)
        yield from inside
        yield from listed
        yield from (FoundWord(*row) for row in connection.execute(_tokens(), values))

    unlike: dict[str, FoundWord] = {}
    for word in found():
        unlike.setdefault(word.word, word)
        if len(unlike) == limit:
            break
    return list(unlike.values())


@cache
def _tokens() -> Select[Any]:
    whole = func.lower(tokens.c.text) == func.lower(_prefix())
    return (
        select(tokens.c.text, tokens.c.sense_count, tokens.c.occurrences)
        .where(tokens.c.dictionary_id == _dictionary(), tokens.c.sense_count > 0, _begins(tokens.c.text))
        .order_by(whole.desc(), tokens.c.occurrences.desc(), tokens.c.token_id)
        .limit(_most())
    )


@cache
def _words() -> Select[Any]:
    of_one = (tokens.c.dictionary_id == dictionary_words.c.dictionary_id) & (
        tokens.c.token_id == dictionary_words.c.token_ids[1]  # PostgreSQL counts from 1
    )
    return (
        select(words.c.text, dictionary_words.c.sense_count, tokens.c.occurrences)
        .join(dictionary_words, dictionary_words.c.word_id == words.c.id)
        .outerjoin(tokens, of_one & (func.cardinality(dictionary_words.c.token_ids) == 1))
        .where(dictionary_words.c.dictionary_id == _dictionary(), _begins(words.c.text))
        .order_by(func.lower(words.c.text), words.c.id)
        .limit(_most())
    )


def _begins(text: ColumnElement[str]) -> ColumnElement[bool]:
    # not LIKE: a prefix may hold its wildcards
    return func.lower(text).bool_op("^@")(func.lower(_prefix()))


def _prefix() -> BindParameter[str]:
    return bindparam("prefix", type_=Text)


def _dictionary() -> BindParameter[int]:
    return bindparam("dictionary_id", type_=BigInteger)


def _most() -> BindParameter[int]:
    return bindparam("most", type_=BigInteger)
