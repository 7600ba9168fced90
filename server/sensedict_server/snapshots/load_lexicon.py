"""The rows of a checked file set's lexicon."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, func, insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from sensedict.errors import Conflict
from sensedict.fileset import Record
from sensedict_server.build.copying import copy_rows
from sensedict_server.build.lexicon_rows import FORMS, GLOSSES, RELATION_GLOSSES, RELATIONS, SEGMENTATIONS
from sensedict_server.lifecycle import split_version
from sensedict_server.queries.imports import (
    claim_ids,
    ids_of_words,
    judged_in_force,
    new_words,
    span_of_new_words,
    take_ids,
)
from sensedict_server.row_hash import column_of, numbers
from sensedict_server.snapshots.load import Advance, Numbering
from sensedict_server.snapshots.parquet import batches
from sensedict_server.snapshots.staging import Staged
from sensedict_server.tables import (
    forms,
    glosses,
    judgements,
    lexicons,
    relation_glosses,
    relation_sources,
    relations,
    segmentations,
    words,
)

_OF_WORDS = {"word_id", "other_id", "form_id", "lemma_id"}


def number_words(connection: Connection, folder: Path) -> Numbering:
    """The lexicon's words by the database's ids; those that are new keep theirs where nobody has had them, else get
    others in the same order.
    """
    incoming = Table(
        "incoming",
        MetaData(),
        Column("id", BigInteger),
        Column("language", Text),
        Column("text", Text),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    incoming.create(connection)
    rows = (
        (row["word_id"], row["language"], row["word"])
        for batch in batches(folder / "lexicon_words.parquet")
        for row in batch.to_pylist()
    )
    copy_rows(connection, incoming, {"id": "int8", "language": "text", "text": "text"}, rows)
    connection.execute(text("ANALYZE incoming"))
    span = span_of_new_words(connection, incoming)
    if span is not None:
        kept = claim_ids(connection, words, *span)
        names = ["id"] * kept + ["language", "text"]
        new = upsert(words).from_select(names, new_words(incoming, with_ids=kept))
        connection.execute(new.on_conflict_do_nothing())  # another load may add the same words meanwhile
        connection.execute(text("ANALYZE words"))
    old = column_of(folder / "lexicon_words.parquet", "word_id")
    found = ids_of_words(connection, incoming)
    if len(old) != len(found):
        raise Conflict("another load takes ids of words at this moment: import again")
    return Numbering(old, found)


def load_lexicon(connection: Connection, staged: Staged, numbering: Numbering, advance: Advance) -> int:
    """Add the lexicon and publish it; gives its id."""
    folder, record = staged.folder, staged.record
    name, version = split_version(staged.manifest.lexicon)
    settings = _with_judgements(connection, folder, name, record)
    row = insert(lexicons).values(
        name=name, version=version, settings=settings, created_at=datetime.fromisoformat(record.lexicon_created_at)
    )
    lexicon_id = int(connection.execute(row.returning(lexicons.c.id)).scalar_one())
    sources = {source["name"]: _add_source(connection, lexicon_id, source) for source in record.lexicon_sources}
    load = _Load(connection, folder, lexicon_id, sources, numbering, advance)
    relation_ids, gloss_ids = load.relations(), load.glosses()
    load.copy(
        relation_glosses,
        RELATION_GLOSSES,
        lambda row: (lexicon_id, relation_ids[row["relation_id"]], gloss_ids[row["gloss_id"]]),
    )
    load.copy(
        forms, FORMS, lambda row: (lexicon_id, row["form_id"], row["lemma_id"], sources[row["source"]], row["pos"])
    )
    load.copy(
        segmentations,
        SEGMENTATIONS,
        lambda row: (lexicon_id, sources[row["source"]], row["word_id"], row["text"], row["pos"]),
    )
    connection.execute(text("ANALYZE relations, relation_glosses, forms, glosses"))
    connection.execute(update(lexicons).where(lexicons.c.id == lexicon_id).values(state="published"))
    return lexicon_id


@dataclass(frozen=True)
class _Load:
    """Where rows of a lexicon go, and what their ids and sources become there."""

    connection: Connection
    folder: Path
    lexicon_id: int
    sources: Mapping[str, int]
    numbering: Numbering
    advance: Advance

    def relations(self) -> dict[int, int]:
        """Add the relations; gives the database's id of each."""
        ids = self._take(relations, "relations.parquet", "relation_id")
        self.copy(relations, RELATIONS, lambda row: self._relation(row, ids))
        return ids

    def _relation(self, row: Mapping[str, Any], ids: Mapping[int, int]) -> tuple[Any, ...]:
        ends = [row["word_id"], row["other_id"]]
        if not row["directed"]:
            ends.sort()  # by the ids of this database
        parent, via = row["parent_id"], row["via"]
        return (
            ids[row["relation_id"]],
            self.lexicon_id,
            *ends,
            row["type"],
            self.sources[row["source"]],
            row["rule"],
            None if parent is None else ids[parent],
            row["conflict"],
            row["directed"],
            row["pos"],
            None if via is None else self.sources[via],
        )

    def glosses(self) -> dict[int, int]:
        """Add the glosses; gives the database's id of each."""
        ids = self._take(glosses, "glosses.parquet", "gloss_id")
        self.copy(
            glosses,
            GLOSSES,
            lambda row: (
                ids[row["gloss_id"]],
                self.lexicon_id,
                self.sources[row["source"]],
                row["word_id"],
                row["pos"],
                row["text"],
            ),
        )
        return ids

    def copy(
        self, table: Table, types: Mapping[str, str], made: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    ) -> None:
        """Add the rows of the table's file, each as `made` makes it, ids of words being the database's already."""

        def rows() -> Iterator[tuple[Any, ...]]:
            for batch in batches(self.folder / f"{table.name}.parquet"):
                columns = {name: batch[name].to_pylist() for name in batch.schema.names}
                columns |= {name: self.numbering(numbers(batch[name])).tolist() for name in _OF_WORDS & set(columns)}
                for values in zip(*columns.values(), strict=True):
                    yield made(dict(zip(columns, values, strict=True)))
                self.advance(len(batch))

        copy_rows(self.connection, table, types, rows())

    def _take(self, table: Table, file: str, column: str) -> dict[int, int]:
        old = column_of(self.folder / file, column)
        return dict(zip(old.tolist(), take_ids(self.connection, table, old).tolist(), strict=True))


def _add_source(connection: Connection, lexicon_id: int, source: Mapping[str, Any]) -> int:
    row = insert(relation_sources).values(**source, lexicon_id=lexicon_id)
    return int(connection.execute(row.returning(relation_sources.c.id)).scalar_one())


def _with_judgements(connection: Connection, folder: Path, name: str, record: Record) -> dict[str, Any]:
    """The lexicon's settings, once its judgements are there, under the ids that they have here.

    A judgement is in force for later versions of the lexicon, unless one on the same relation is already.
    """
    rows = [row for batch in batches(folder / "judgements.parquet") for row in batch.to_pylist()]
    old = np.array([row["judgement_id"] for row in rows], np.int64)
    ids = dict(zip(old.tolist(), take_ids(connection, judgements, old).tolist(), strict=True))
    in_force = judged_in_force(connection, name)
    for row in rows:
        judgement_id = ids[row.pop("judgement_id")]
        over = (row["word"], row["other"], row["type"]) in in_force
        values = {**row, "id": judgement_id, "lexicon": name, "withdrawn_at": func.now() if over else None}
        connection.execute(insert(judgements).values(values))
    settings = dict(record.lexicon_settings)
    if "judgements" in settings:
        settings["judgements"] = [
            {**judged, "id": ids.get(judged["id"], judged["id"])} for judged in settings["judgements"]
        ]
    return settings
