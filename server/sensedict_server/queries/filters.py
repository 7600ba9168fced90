"""What filters of relations can find in a lexicon, and how many relations of a word pass one."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, bindparam, func, select, union_all

from sensedict.lexical import FilterValues
from sensedict_server.queries.relations import Filter, Shape, leading_from
from sensedict_server.tables import forms, glosses, relation_sources, relations


def filter_values(connection: Connection, lexicon_id: int) -> FilterValues:
    """The values of the lexicon; one pass over its relations, some tenths of a second for a million."""
    columns = (relations.c.type, relations.c.source_id, relations.c.rule, relations.c.pos)
    combined = select(*columns).where(relations.c.lexicon_id == lexicon_id).distinct().subquery()
    query = select(combined.c.type, relation_sources.c.name, combined.c.rule, combined.c.pos).join(
        relation_sources, relation_sources.c.id == combined.c.source_id
    )
    rows = connection.execute(query).all()
    rules = {row.rule for row in rows if row.rule is not None}
    pos = {row.pos for row in rows if row.pos is not None}
    told = union_all(
        *(select(table.c.pos).where(table.c.lexicon_id == lexicon_id).distinct() for table in (glosses, forms))
    )
    others = {value for value in connection.execute(told).scalars() if value is not None}
    return FilterValues(
        types=_sorted({row.type for row in rows}),
        sources=_sorted({row.name for row in rows}),
        rules=_sorted(rules),
        kinds=_sorted({rule.partition(":")[0] for rule in rules}),
        pos=_sorted(pos),
        word_pos=_sorted(pos | others),
    )


def count_relations_of(connection: Connection, lexicon_id: int, word_id: int, filter: Filter) -> int:
    """How many relations of the word pass the filter."""
    values = {**filter.values(lexicon_id), "node": word_id}
    return int(connection.execute(_count(filter.shape), values).scalar_one())


@cache
def _count(shape: Shape) -> Select[Any]:
    # a relation has two different words, so it stands in one of the halves only
    both = union_all(*leading_from(shape, lambda end: end == bindparam("node", type_=BigInteger))).subquery()
    return select(func.count()).select_from(both)


def _sorted(values: set[str]) -> tuple[str, ...]:
    return tuple(sorted(values))
