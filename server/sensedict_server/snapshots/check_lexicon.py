"""What the files of a lexicon must hold: relations between words that are there, from sources that are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from sensedict.errors import InvalidSnapshot
from sensedict.fileset import Record
from sensedict_server.row_hash import Ids, numbers, places
from sensedict_server.snapshots.parquet import batches

Spelt = dict[int, tuple[str, str]]  # id of a word to its language and text
_SOURCE = {"name": str, "licence": str, "version": str, "skipped": dict, "counted": dict}


def check_lexicon(folder: Path, record: Record) -> tuple[Spelt, Ids]:
    """Let pass the files of a lexicon; gives its words, and the ids of those that stand in relations.

    Raises:
        InvalidSnapshot: naming the file and what is wrong in it.
    """
    licences = _licences(record)
    spelt = _words(folder)
    word_ids = np.fromiter(spelt, np.int64, len(spelt))
    relation_ids, related = _relations(folder, word_ids, spelt, licences)
    gloss_ids = _glosses(folder, word_ids, set(licences))
    for batch in batches(folder / "relation_glosses.parquet"):
        places(relation_ids, numbers(batch["relation_id"]), "relation_glosses.parquet: the relation")
        places(gloss_ids, numbers(batch["gloss_id"]), "relation_glosses.parquet: the gloss")
    for batch in batches(folder / "forms.parquet"):
        form, lemma = (_known(batch, name, word_ids, "forms.parquet") for name in ("form_id", "lemma_id"))
        _known_sources(batch, "source", set(licences), "forms.parquet")
        if (form == lemma).any():
            raise InvalidSnapshot("forms.parquet has a word that is a form of itself")
    for batch in batches(folder / "segmentations.parquet"):
        _known(batch, "word_id", word_ids, "segmentations.parquet")
        _known_sources(batch, "source", set(licences), "segmentations.parquet")
    _judgements(folder, record)
    return spelt, related


def _licences(record: Record) -> dict[str, str]:
    """Name to licence of the lexicon's sources."""
    for source in record.lexicon_sources:
        if {name: type(value) for name, value in source.items()} != _SOURCE:
            raise InvalidSnapshot("the manifest describes a source otherwise than export does")
    licences = {source["name"]: source["licence"] for source in record.lexicon_sources}
    if len(licences) != len(record.lexicon_sources):
        raise InvalidSnapshot("the manifest names a source twice")
    return licences


def _words(folder: Path) -> Spelt:
    spelt: Spelt = {}
    before = 0
    for batch in batches(folder / "lexicon_words.parquet"):
        ids = numbers(batch["word_id"])
        before = _rising(ids, before, "lexicon_words.parquet")
        texts = zip(batch["language"].to_pylist(), batch["word"].to_pylist(), strict=True)
        spelt.update(zip(ids.tolist(), texts, strict=True))
    if len(set(spelt.values())) != len(spelt):
        raise InvalidSnapshot("lexicon_words.parquet has a word twice")
    return spelt


def _relations(folder: Path, word_ids: Ids, spelt: Spelt, licences: dict[str, str]) -> tuple[Ids, Ids]:
    """The ids of the relations, and those of their words."""
    name, before, found = "relations.parquet", 0, [np.empty(0, np.int64)]
    related = np.empty(0, np.int64)
    for batch in batches(folder / name):
        ids = numbers(batch["relation_id"])
        before = _rising(ids, before, name)
        found.append(ids)
        word, other = (_known(batch, end, word_ids, name) for end in ("word_id", "other_id"))
        related = np.union1d(related, np.concatenate([word, other]))
        if ((word >= other) & ((numbers(batch["directed"]) == 0) | (word == other))).any():
            raise InvalidSnapshot(f"{name} has a relation whose ends are not in order, or are one word")
        parent = numbers(batch["parent_id"])
        if ((parent != -1) & (parent >= ids)).any():
            raise InvalidSnapshot(f"{name} has a relation that comes from itself or a later one")
        _known_sources(batch, "via", {*licences, None}, name)
        pairs = {tuple(row.values()) for row in batch.select(["source", "licence"]).to_pylist()}
        if not pairs <= set(licences.items()):
            raise InvalidSnapshot(f"{name} names {sorted(pairs - set(licences.items()))[0]}, no source of the manifest")
        for end in ("word", "other"):
            texts = batch[end].to_pylist()
            if any(spelt[i][1] != text for i, text in zip(batch[f"{end}_id"].to_pylist(), texts, strict=True)):
                raise InvalidSnapshot(f"{name} spells a word otherwise than lexicon_words.parquet")
    relation_ids = np.concatenate(found)
    for batch in batches(folder / name):
        places(relation_ids, numbers(batch["parent_id"]), f"{name}: the relation", null=True)
    return relation_ids, related


def _glosses(folder: Path, word_ids: Ids, sources: set[str]) -> Ids:
    """The ids of the glosses."""
    name, before, found = "glosses.parquet", 0, [np.empty(0, np.int64)]
    for batch in batches(folder / name):
        ids = numbers(batch["gloss_id"])
        before = _rising(ids, before, name)
        found.append(ids)
        _known(batch, "word_id", word_ids, name)
        _known_sources(batch, "source", sources, name)
    return np.concatenate(found)


def _judgements(folder: Path, record: Record) -> None:
    """Those of the lexicon's settings, and no others."""
    try:
        stated = {int(judged["id"]) for judged in record.lexicon_settings.get("judgements", [])}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InvalidSnapshot("the manifest lists the lexicon's judgements otherwise than export does") from error
    found: set[int] = set()
    for batch in batches(folder / "judgements.parquet"):
        if not set(batch["verdict"].to_pylist()) <= {"add", "reject"}:
            raise InvalidSnapshot("judgements.parquet has a verdict that is neither add nor reject")
        found |= set(batch["judgement_id"].to_pylist())
    if not found <= stated:
        raise InvalidSnapshot(f"judgements.parquet has {min(found - stated)}, which the lexicon does not name")


def _rising(ids: Ids, before: int, name: str) -> int:
    if (np.diff(ids, prepend=before) <= 0).any():
        raise InvalidSnapshot(f"{name} is not in the order of its ids, or has one twice")
    return int(ids[-1]) if len(ids) else before


def _known(batch: pa.RecordBatch, column: str, word_ids: Ids, name: str) -> Ids:
    ids = numbers(batch[column])
    places(word_ids, ids, f"{name}: the word")
    return ids


def _known_sources(batch: pa.RecordBatch, column: str, sources: set[str] | set[str | None], name: str) -> None:
    unknown = set(batch[column].unique().to_pylist()) - sources
    if unknown:
        raise InvalidSnapshot(f"{name} names the source {unknown.pop()!r}, which the manifest has not")
