"""Words by how they begin: what to offer while one is typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Connection, Select, Text, bindparam, func, select

from sensedict import beginnings
from sensedict.beginnings import FoundWord
from sensedict_server.tables import dictionary_words, tokens, words


def words_beginning(connection: Connection, dictionary_id: int, prefix: str, limit: int) -> list[FoundWord]:
    """At most `limit` words that begin so; see `sensedict.beginnings.words_beginning`."""
    return beginnings.words_beginning(_Beginnings(connection, dictionary_id), prefix, limit)


@dataclass(frozen=True)
class _Beginnings:
    """The `Beginnings` of a dictionary in the database.

    The prefix is searched for in the indexes of folded texts in the order of their characters, whatever the database's
    collation.
    """

    connection: Connection
    dictionary_id: int

    def tokens_beginning(self, prefix: str, most: int) -> list[FoundWord]:
        return self._found(_tokens(), prefix, most)

    def words_beginning(self, prefix: str, most: int) -> list[FoundWord]:
        return self._found(_words(), prefix, most)

    def _found(self, query: Select[Any], prefix: str, most: int) -> list[FoundWord]:
        values = {"dictionary_id": self.dictionary_id, "prefix": prefix, "most": most}
        return [FoundWord(*row) for row in self.connection.execute(query, values)]


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
        .order_by(func.lower(words.c.text).collate("C"), words.c.id)
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
