"""Hashes of the rows of a dictionary and of a lexicon: one content has one hash, whatever ids a database gave to words,
relations and glosses, and whichever release of Parquet holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sensedict.errors import InvalidSnapshot
from sensedict_server.fileset_tables import ROWS

Ids = NDArray[np.int64]
_NONE = -1  # in place of an id or a length that is null


class RowHash:
    """A hash that columns are added to, a piece at a time; where the pieces are cut makes no difference."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def add(self, name: str, values: Any) -> None:
        """Add to the column: numbers (n,) of numpy, or an Arrow array of texts, numbers or lists."""
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if isinstance(values, np.ndarray):
            self._feed(name, values.astype("<f4" if values.dtype.kind == "f" else "<i8").tobytes())
        elif pa.types.is_list(values.type):
            self.add(f"{name} lengths", pc.list_value_length(values).to_numpy(zero_copy_only=False))
            self.add(f"{name} items", values.flatten())
        elif pa.types.is_string(values.type):
            self.add(f"{name} lengths", numbers(pc.binary_length(values)))
            self._feed(f"{name} text", b"".join(values.drop_null().cast(pa.binary()).to_pylist()))
        elif pa.types.is_floating(values.type):
            self.add(name, values.to_numpy(zero_copy_only=False))
        else:
            self.add(name, numbers(values))

    def hexdigest(self) -> str:
        """The sha256 over all columns by name."""
        lines = "".join(f"{name} {column.hexdigest()}\n" for name, column in sorted(self._columns.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def _feed(self, name: str, data: bytes) -> None:
        self._columns.setdefault(name, hashlib.sha256()).update(data)


def numbers(values: Any) -> Ids:
    """An Arrow column of whole numbers, booleans or times as (n,) int64; null becomes -1."""
    if pa.types.is_timestamp(values.type) or pa.types.is_boolean(values.type):
        values = values.cast(pa.int64())
    found: Ids = values.cast(pa.int64()).fill_null(_NONE).to_numpy(zero_copy_only=False)
    return found


def places(known: Ids, asked: Ids, what: str, *, null: bool = False) -> Ids:
    """The place in `known`, which rises, of each id that is asked for; where there may be null, -1 stays as it is.

    Raises:
        InvalidSnapshot: an id is not known; names it and `what`.
    """
    found = np.searchsorted(known, asked)
    none = (asked == _NONE) & null
    absent = ~none
    if len(known):
        absent &= known[np.minimum(found, len(known) - 1)] != asked
    if absent.any():
        raise InvalidSnapshot(f"{what} {asked[absent.argmax()]} is named and is not there")
    return np.where(none, _NONE, found)


@dataclass(frozen=True)
class Vocabulary:
    """Words by rising id, and the rank of each by language and spelling, which no database decides."""

    ids: Ids
    ranks: Ids = field(repr=False)

    @staticmethod
    def of(table: pa.Table) -> Vocabulary:
        """The words of a table with the columns `word_id`, `word` and `language`, in any order."""
        order = pc.sort_indices(table, sort_keys=[("language", "ascending"), ("word", "ascending")]).to_numpy()
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        ids = numbers(table["word_id"].combine_chunks())
        rising = np.argsort(ids)
        return Vocabulary(ids[rising], ranks[rising])

    def rank(self, asked: Ids, *, null: bool = False) -> Ids:
        """The rank of each id; where there may be null, -1 stays as it is."""
        found = places(self.ids, asked, "the word", null=null)
        return np.where(found == _NONE, _NONE, self.ranks[found]) if len(self.ranks) else found


def spelling_order(table: pa.Table) -> pa.Table:
    """The words of such a table by language and spelling, without their ids."""
    return table.sort_by([("language", "ascending"), ("word", "ascending")]).drop_columns("word_id")


def rows_hash(folder: Path) -> str:
    """The hash of a dictionary's rows beside its vectors: tokens, words, senses and contexts."""
    hashed = RowHash()
    words = pq.read_table(folder / "words.parquet")
    vocabulary = Vocabulary.of(words)
    _add(hashed, "words", spelling_order(words))
    for name in ("tokens", "senses", "contexts"):
        for batch in _batches(folder / f"{name}.parquet"):
            _add(hashed, name, batch, except_for=("word_id",))
            if name == "senses":
                hashed.add("senses.word", vocabulary.rank(numbers(batch["word_id"]), null=True))
    return hashed.hexdigest()


def lexicon_hash(folder: Path, sources: Sequence[Mapping[str, Any]]) -> str:
    """The hash of a lexicon: its sources in order, its words, relations, glosses, forms, segmentations, judgements."""
    hashed = RowHash()
    hashed.add("sources", pa.array([json.dumps(source, sort_keys=True) for source in sources], pa.string()))
    words = pq.read_table(folder / "lexicon_words.parquet")
    vocabulary = Vocabulary.of(words)
    _add(hashed, "words", spelling_order(words))
    relation_ids = column_of(folder / "relations.parquet", "relation_id")
    _add_relations(hashed, folder, vocabulary, relation_ids)
    gloss_ids = column_of(folder / "glosses.parquet", "gloss_id")
    for batch in _batches(folder / "glosses.parquet"):
        _add(hashed, "glosses", batch, except_for=("gloss_id", "word_id", "word"))
        hashed.add("glosses.of", vocabulary.rank(numbers(batch["word_id"])))
    for batch in _batches(folder / "relation_glosses.parquet"):
        hashed.add("listed.relation", places(relation_ids, numbers(batch["relation_id"]), "the relation"))
        hashed.add("listed.gloss", places(gloss_ids, numbers(batch["gloss_id"]), "the gloss"))
    # in no order of their own
    for name, ends in (("forms", ("form", "lemma")), ("segmentations", ("word",))):
        table = pq.read_table(folder / f"{name}.parquet")
        sort = [(column, "ascending") for column in (*ends, "source", "pos") if table[column].type == pa.string()]
        _add(hashed, name, table.sort_by(sort), except_for=tuple(f"{end}_id" for end in ends))
    for batch in _batches(folder / "judgements.parquet"):
        _add(hashed, "judgements", batch, except_for=("judgement_id",))
    return hashed.hexdigest()


def column_of(file: Path, column: str) -> Ids:
    """A whole column of numbers."""
    return numbers(pq.read_table(file, columns=[column])[column].combine_chunks())


def _add_relations(hashed: RowHash, folder: Path, vocabulary: Vocabulary, relation_ids: Ids) -> None:
    ids = ("relation_id", "word_id", "word", "other_id", "other", "parent_id")
    for batch in _batches(folder / "relations.parquet"):
        _add(hashed, "relations", batch, except_for=ids)
        word, other = (vocabulary.rank(numbers(batch[end])) for end in ("word_id", "other_id"))
        # a symmetric one is stored with the smaller id first, so which word that is depends on the database
        turned = (other < word) & ~numbers(batch["directed"]).astype(bool)
        hashed.add("relations.first", np.where(turned, other, word))
        hashed.add("relations.second", np.where(turned, word, other))
        hashed.add("relations.parent", places(relation_ids, numbers(batch["parent_id"]), "the relation", null=True))


def _add(hashed: RowHash, prefix: str, rows: Any, except_for: Sequence[str] = ()) -> None:
    for name in rows.schema.names:
        if name not in except_for:
            hashed.add(f"{prefix}.{name}", rows[name])


def _batches(file: Path) -> Iterator[Any]:
    with pq.ParquetFile(file) as opened:
        yield from opened.iter_batches(ROWS)
