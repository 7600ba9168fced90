"""Tokens, their senses, and one sense with its vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from sensedict.nearby import Owner
from sensedict_server.tables import contexts, senses, tokens, words


@dataclass(frozen=True)
class Token:
    """A token of the teacher's vocabulary and the range of its senses."""

    token_id: int
    text: str
    occurrences: int
    first_sense: int
    sense_count: int


@dataclass(frozen=True)
class Context:
    """A passage; `text[start:end]` is the token."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Sense:
    """A sense without its vector."""

    sense_id: int
    ordinal: int
    count: int
    inertia: float
    contexts: tuple[Context, ...]


@dataclass(frozen=True)
class OwnedSense:
    """A sense with its owner, a token or a composed word, and its vector of D numbers."""

    sense: Sense
    token_id: int | None
    text: str
    vector: list[float]


def find_token(connection: Connection, dictionary_id: int, token_id: int) -> Token | None:
    """The token of that id."""
    query = select(
        tokens.c.token_id, tokens.c.text, tokens.c.occurrences, tokens.c.first_sense, tokens.c.sense_count
    ).where(tokens.c.dictionary_id == dictionary_id, tokens.c.token_id == token_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Token(**row._mapping)


def token_texts(connection: Connection, dictionary_id: int, token_ids: Sequence[int]) -> list[str]:
    """Texts of the tokens, in the order given, repeats included."""
    query = select(tokens.c.token_id, tokens.c.text).where(
        tokens.c.dictionary_id == dictionary_id, tokens.c.token_id == func.any(list(token_ids))
    )
    texts = {row.token_id: row.text for row in connection.execute(query)}
    return [texts[token_id] for token_id in token_ids]


def senses_in_range(connection: Connection, dictionary_id: int, first: int, count: int) -> list[Sense]:
    """The senses `first .. first + count` with their contexts, in order: the senses of one owner."""
    query = (
        select(senses.c.sense_id, senses.c.ordinal, senses.c["count"].label("uses"), senses.c.inertia)
        .where(senses.c.dictionary_id == dictionary_id)
        .where(senses.c.sense_id.between(first, first + count - 1))
        .order_by(senses.c.sense_id)
    )
    passages = _contexts(connection, dictionary_id, first, count)
    return [
        Sense(row.sense_id, row.ordinal, row.uses, row.inertia, tuple(passages.get(row.sense_id, ())))
        for row in connection.execute(query)
    ]


def find_sense(connection: Connection, dictionary_id: int, sense_id: int) -> OwnedSense | None:
    """The sense of that id with its vector."""
    query = (
        select(senses.c.token_id, senses.c.vector, func.coalesce(tokens.c.text, words.c.text).label("text"))
        .outerjoin(
            tokens,
            (tokens.c.dictionary_id == senses.c.dictionary_id) & (tokens.c.token_id == senses.c.token_id),
        )
        .outerjoin(words, words.c.id == senses.c.word_id)
        .where(senses.c.dictionary_id == dictionary_id, senses.c.sense_id == sense_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    (sense,) = senses_in_range(connection, dictionary_id, sense_id, 1)
    return OwnedSense(sense=sense, token_id=row.token_id, text=row.text, vector=row.vector)


def owners_of(connection: Connection, dictionary_id: int, sense_ids: Sequence[int]) -> dict[int, Owner]:
    """The owner of each of the senses."""
    query = (
        select(senses.c.sense_id, senses.c.token_id, func.coalesce(tokens.c.text, words.c.text).label("text"))
        .outerjoin(
            tokens,
            (tokens.c.dictionary_id == senses.c.dictionary_id) & (tokens.c.token_id == senses.c.token_id),
        )
        .outerjoin(words, words.c.id == senses.c.word_id)
        .where(senses.c.dictionary_id == dictionary_id, senses.c.sense_id == func.any(list(sense_ids)))
    )
    return {row.sense_id: Owner(row.token_id, row.text) for row in connection.execute(query)}


def _contexts(connection: Connection, dictionary_id: int, first: int, count: int) -> dict[int, list[Context]]:
    query = (
        select(contexts.c.sense_id, contexts.c.text, contexts.c.start, contexts.c.end)
        .where(contexts.c.dictionary_id == dictionary_id)
        .where(contexts.c.sense_id.between(first, first + count - 1))
        .order_by(contexts.c.sense_id, contexts.c.ordinal)
    )
    found: dict[int, list[Context]] = {}
    for row in connection.execute(query):
        found.setdefault(row.sense_id, []).append(Context(row.text, row.start, row.end))
    return found
