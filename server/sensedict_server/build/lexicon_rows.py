"""The rows of a lexicon, its sources and its words: the last step of loading one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Table, Text, insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from tqdm import tqdm

from sensedict_server.build.copying import copy_rows
from sensedict_server.lexicon.relations import Collection
from sensedict_server.queries.lexicons import absent_words, reserve_relation_ids, word_ids
from sensedict_server.tables import lexicons, relation_sources, relations, words

LANGUAGE = "en"

_COLUMNS = {
    "id": "int8",
    "lexicon_id": "int8",
    "word_id": "int8",
    "other_id": "int8",
    "type": "text",
    "source_id": "int8",
    "rule": "text",
    "parent_id": "int8",
    "conflict": "bool",
}


@dataclass(frozen=True)
class SourceRow:
    """A row of `relation_sources`."""

    name: str
    licence: str
    version: str


def store_lexicon(
    connection: Connection,
    name: str,
    version: str,
    settings: Mapping[str, Any],
    sources: Sequence[SourceRow],
    collection: Collection,
) -> None:
    """Write and publish the lexicon in the connection's transaction."""
    row = insert(lexicons).values(name=name, version=version, settings=settings).returning(lexicons.c.id)
    lexicon_id = connection.execute(row).scalar_one()
    source_ids = {source.name: _store_source(connection, lexicon_id, source, collection) for source in sources}
    ids = _store_words(connection, collection.words())
    relation_ids = reserve_relation_ids(connection, len(collection.relations)).tolist()
    conflicts = collection.conflicts()

    def rows() -> Iterator[tuple[Any, ...]]:
        for place, relation in enumerate(collection.relations):
            low, high = sorted((ids[relation.word], ids[relation.other]))
            parent = None if relation.parent is None else relation_ids[relation.parent]
            source_id = source_ids[collection.sources[place]]
            conflict = collection.in_conflict(place, conflicts)
            yield relation_ids[place], lexicon_id, low, high, relation.type, source_id, relation.rule, parent, conflict

    bar = tqdm(
        rows(), total=len(relation_ids), desc="store", unit=" relations", unit_scale=True, disable=None, leave=False
    )
    copy_rows(connection, relations, _COLUMNS, bar)
    # Statistics for the planner: an embedded server may stop before its autovacuum comes by.
    connection.execute(text("ANALYZE words, relations"))
    connection.execute(update(lexicons).where(lexicons.c.id == lexicon_id).values(state="published"))


def _store_source(connection: Connection, lexicon_id: int, source: SourceRow, collection: Collection) -> int:
    row = insert(relation_sources).values(
        lexicon_id=lexicon_id,
        name=source.name,
        licence=source.licence,
        version=source.version,
        skipped=dict(sorted(collection.skipped[source.name].items())),
    )
    return int(connection.execute(row.returning(relation_sources.c.id)).scalar_one())


def _store_words(connection: Connection, spelt: set[str]) -> dict[str, int]:
    """Ids of the words; those that are new are added, in order, so that ids do not depend on the order of sources."""
    table = Table("spelt", MetaData(), Column("text", Text), prefixes=["TEMPORARY"], postgresql_on_commit="DROP")
    table.create(connection)
    copy_rows(connection, table, {"text": "text"}, ((word,) for word in sorted(spelt)))
    connection.execute(text("ANALYZE spelt"))
    new = upsert(words).from_select(["language", "text"], absent_words(table, LANGUAGE))
    connection.execute(new.on_conflict_do_nothing())  # another load may add the same words meanwhile
    return word_ids(connection, table, LANGUAGE)
