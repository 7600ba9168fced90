"""The rows of a lexicon, its sources and its words: the last step of loading one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Connection, MetaData, Table, Text, insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from tqdm import tqdm

from sensedict_server.build.copying import copy_rows
from sensedict_server.lexicon.collection import Collection
from sensedict_server.queries.lexicons import absent_words, reserve_ids, word_ids
from sensedict_server.tables import (
    forms,
    glosses,
    lexicons,
    relation_glosses,
    relation_sources,
    relations,
    segmentations,
    words,
)

LANGUAGE = "en"

RELATIONS = {
    "id": "int8",
    "lexicon_id": "int8",
    "word_id": "int8",
    "other_id": "int8",
    "type": "text",
    "source_id": "int8",
    "rule": "text",
    "parent_id": "int8",
    "conflict": "bool",
    "directed": "bool",
    "pos": "text",
    "via_id": "int8",
}
GLOSSES = {"id": "int8", "lexicon_id": "int8", "source_id": "int8", "word_id": "int8", "pos": "text", "text": "text"}
RELATION_GLOSSES = {"lexicon_id": "int8", "relation_id": "int8", "gloss_id": "int8"}
FORMS = {"lexicon_id": "int8", "form_id": "int8", "lemma_id": "int8", "source_id": "int8", "pos": "text"}
SEGMENTATIONS = {"lexicon_id": "int8", "source_id": "int8", "word_id": "int8", "text": "text", "pos": "text[]"}


@dataclass(frozen=True)
class SourceRow:
    """A row of `relation_sources`; what was skipped is in the collection."""

    name: str
    licence: str
    version: str
    counted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ids:
    lexicon: int
    sources: Mapping[str, int]
    words: Mapping[str, int]


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
    ids = _Ids(lexicon_id, source_ids, _store_words(connection, collection.all_words()))
    gloss_ids = _store_glosses(connection, ids, collection)
    _store_forms(connection, ids, collection)
    _store_segmentations(connection, ids, collection)
    _store_relations(connection, ids, gloss_ids, collection)
    # Statistics for the planner: an embedded server may stop before its autovacuum comes by.
    connection.execute(text("ANALYZE words, relations, relation_glosses, forms, glosses"))
    connection.execute(update(lexicons).where(lexicons.c.id == lexicon_id).values(state="published"))


def _store_source(connection: Connection, lexicon_id: int, source: SourceRow, collection: Collection) -> int:
    row = insert(relation_sources).values(
        lexicon_id=lexicon_id,
        name=source.name,
        licence=source.licence,
        version=source.version,
        skipped=dict(sorted(collection.skipped.get(source.name, {}).items())),
        counted=dict(sorted(source.counted.items())),
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


def _store_glosses(connection: Connection, ids: _Ids, collection: Collection) -> NDArray[np.int64]:
    """Id of each gloss, by its place."""
    gloss_ids = reserve_ids(connection, glosses, len(collection.glosses))
    rows = (
        (int(gloss_id), ids.lexicon, ids.sources[source], ids.words[word], pos, text)
        for gloss_id, (source, word, text, pos) in zip(gloss_ids, collection.glosses, strict=True)
    )
    copy_rows(connection, glosses, GLOSSES, _shown(rows, "glosses", len(gloss_ids)))
    return gloss_ids


def _store_forms(connection: Connection, ids: _Ids, collection: Collection) -> None:
    rows = (
        (ids.lexicon, ids.words[form.form], ids.words[form.lemma], ids.sources[source], form.pos)
        for source, form in collection.forms
    )
    copy_rows(connection, forms, FORMS, _shown(rows, "forms", len(collection.forms)))


def _store_segmentations(connection: Connection, ids: _Ids, collection: Collection) -> None:
    rows = (
        (ids.lexicon, ids.sources[source], ids.words[word], segmentation.text, sorted(segmentation.pos))
        for source, segmented in collection.segmentations.items()
        for word, segmentation in segmented.items()
    )
    copy_rows(connection, segmentations, SEGMENTATIONS, rows)


def _store_relations(connection: Connection, ids: _Ids, gloss_ids: NDArray[np.int64], collection: Collection) -> None:
    relation_ids = reserve_ids(connection, relations, len(collection.relations))
    conflicts = collection.conflicts()

    def rows() -> Iterator[tuple[Any, ...]]:
        places = zip(relation_ids, collection.relations, collection.sources, strict=True)
        for place, (relation_id, relation, source) in enumerate(places):
            first, second = ids.words[relation.word], ids.words[relation.other]
            directed = relation.directed
            if second < first and not directed:
                first, second = second, first
            yield (
                int(relation_id),
                ids.lexicon,
                first,
                second,
                relation.type,
                ids.sources[source],
                relation.rule,
                None if relation.parent is None else int(relation_ids[relation.parent]),
                collection.in_conflict(place, conflicts),
                directed,
                relation.pos,
                None if relation.via is None else ids.sources[relation.via],
            )

    copy_rows(connection, relations, RELATIONS, _shown(rows(), "relations", len(relation_ids)))
    links = (
        (ids.lexicon, int(relation_id), int(gloss_ids[gloss]))
        for place, relation_id in enumerate(relation_ids)
        for gloss in collection.glosses_of(place)
    )
    copy_rows(connection, relation_glosses, RELATION_GLOSSES, links)


def _shown(rows: Iterable[tuple[Any, ...]], what: str, total: int) -> Iterable[tuple[Any, ...]]:
    """The rows, under a progress bar on a terminal."""
    bar: Iterable[tuple[Any, ...]] = tqdm(
        rows, total=total, desc="store", unit=f" {what}", unit_scale=True, disable=None, leave=False
    )
    return bar
