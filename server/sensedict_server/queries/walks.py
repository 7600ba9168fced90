"""Walks along the relations of the database; how they go is `sensedict.walks`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, Connection, Select, bindparam, func, select, union_all

from sensedict import walks
from sensedict.walks import Expand, Path, Walk
from sensedict.wire import Direction
from sensedict_server.queries.relations import Filter, Shape, leading_from, relations_by_id

# What `array_send` gives: a header of five 32-bit numbers, then length and value of each element, most significant
# byte first (PostgreSQL: array_userfuncs). Tens of thousands of rows come so in a tenth of the time.
_ARRAY_HEADER = 20
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i8")])


def walk(connection: Connection, lexicon_id: int, word_id: int, filter: Filter, *, depth: int, most: int) -> Walk:
    """Follow the wanted relations from the word for `depth` steps, to at most `most` words."""
    expand = _expanding(connection, lexicon_id, filter)
    return walks.walk(expand, word_id, filter.direction, depth=depth, most=most)


def shortest_path(
    connection: Connection, lexicon_id: int, word_id: int, other_id: int, filter: Filter, *, longest: int, most: int
) -> Path:
    """A shortest way along the wanted relations, of at most `longest` of them; at most `most` words are looked at."""
    return walks.shortest_path(
        _expanding(connection, lexicon_id, filter),
        lambda ids: relations_by_id(connection, lexicon_id, ids),
        word_id,
        other_id,
        filter.direction,
        longest=longest,
        most=most,
    )


def _expanding(connection: Connection, lexicon_id: int, filter: Filter) -> Expand:
    def expand(nodes: list[int], direction: Direction) -> tuple[list[int], list[int]]:
        turned = replace(filter, direction=direction)
        values = {**turned.values(lexicon_id), "nodes": nodes}
        sent = connection.execute(_statement(turned.shape), values).one()
        ids, far = _numbers(sent[0]), _numbers(sent[1])
        order = np.argsort(ids)
        return ids[order].tolist(), far[order].tolist()

    return expand


@cache
def _statement(shape: Shape) -> Select[Any]:
    edges = union_all(*leading_from(shape, lambda end: end == func.any(bindparam("nodes", type_=ARRAY(BigInteger)))))
    both = edges.subquery()
    return select(func.array_send(func.array_agg(both.c.id)), func.array_send(func.array_agg(both.c.far)))


def _numbers(sent: bytes | None) -> NDArray[np.int64]:
    if sent is None:  # no rows
        return np.empty(0, dtype=np.int64)
    return np.frombuffer(sent, _ELEMENT, offset=_ARRAY_HEADER)["value"].astype(np.int64)
