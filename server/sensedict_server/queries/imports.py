"""What an import looks up: which words are there, which ids are free, which judgements are in force."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, Table, cast, func, select
from sqlalchemy.dialects.postgresql import REGCLASS

from sensedict_server.queries.lexicons import reserve_ids
from sensedict_server.tables import judgements, lexicons, words

Ids = NDArray[np.int64]
# ids that are drawn and not used, at most: so many, and so many times those that are used
_MOST_DRAWN, _MOST_SPREAD = 1_000_000, 10


def claim_ids(connection: Connection, table: Table, lowest: int, highest: int) -> bool:
    """Whether the ids from `lowest` to `highest` are the caller's now: nobody was ever given one of them.

    They are drawn from the sequence one by one, as anybody draws them, so two who claim the same do not both get them.
    """
    sequence = cast(func.pg_get_serial_sequence(table.name, table.c.id.name), REGCLASS)
    last = connection.execute(select(func.coalesce(func.pg_sequence_last_value(sequence), 0))).scalar_one()
    count = highest - last
    if lowest <= last or count > _MOST_DRAWN + _MOST_SPREAD * (highest - lowest):
        return False
    drawn = select(func.nextval(sequence).label("id")).select_from(func.generate_series(1, count)).subquery()
    bounds = connection.execute(select(func.min(drawn.c.id), func.max(drawn.c.id))).one()
    return tuple(bounds) == (last + 1, highest)


def take_ids(connection: Connection, table: Table, wanted: Ids) -> Ids:
    """Ids for new rows: those wanted, which rise, where they can be claimed, else as many new ones, rising too."""
    if not len(wanted) or claim_ids(connection, table, int(wanted[0]), int(wanted[-1])):
        return wanted
    return reserve_ids(connection, table, len(wanted))


def new_words(incoming: Table, with_ids: bool) -> Select[Any]:
    """(id, language, text), or without the id, of the rows of `incoming` that are no words yet, in order of the id."""
    known = select(words.c.id).where(words.c.language == incoming.c.language, words.c.text == incoming.c.text).exists()
    columns = [incoming.c.language, incoming.c.text]
    return select(*([incoming.c.id] if with_ids else []), *columns).where(~known).order_by(incoming.c.id)


def span_of_new_words(connection: Connection, incoming: Table) -> tuple[int, int] | None:
    """The smallest and the largest id of those rows."""
    new = new_words(incoming, with_ids=True).subquery()
    lowest, highest = connection.execute(select(func.min(new.c.id), func.max(new.c.id))).one()
    return None if lowest is None else (lowest, highest)


def ids_of_words(connection: Connection, incoming: Table) -> Ids:
    """The id of each row of `incoming`, all of them words, in the order of the ids that they had."""
    query = (
        select(words.c.id)
        .join(incoming, (words.c.language == incoming.c.language) & (words.c.text == incoming.c.text))
        .order_by(incoming.c.id)
    )
    return np.fromiter(connection.execute(query).scalars(), np.int64)


def lexicon_state(connection: Connection, name: str, version: str) -> tuple[int, str] | None:
    """(id, state) of the lexicon of that name and version, in whatever state."""
    query = select(lexicons.c.id, lexicons.c.state).where(lexicons.c.name == name, lexicons.c.version == version)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.id, row.state)


def judged_in_force(connection: Connection, lexicon: str) -> set[tuple[str, str, str]]:
    """(word, other, type) of each judgement in force on the lexicon of that name."""
    query = select(judgements.c.word, judgements.c.other, judgements.c.type).where(
        judgements.c.lexicon == lexicon, judgements.c.withdrawn_at.is_(None)
    )
    return {(row.word, row.other, row.type) for row in connection.execute(query)}
