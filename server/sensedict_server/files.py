"""A dictionary's file set: written from the database, which stays the record, and verified by hash.

A set is written to a temporary folder and renamed, so a folder `<root>/<name>@<version>` is whole whenever it exists.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, Engine, Select

from sensedict import arrays
from sensedict.errors import Corrupt
from sensedict.fileset import INDEX, MANIFEST, VECTORS, FileEntry, Index, Manifest, content_hash, hash_file
from sensedict.snapshot import Snapshot
from sensedict.source import Identity, Ranges
from sensedict_server.database import driver
from sensedict_server.lexicon.relations import ANTONYM_TYPES, SYNONYM_TYPES
from sensedict_server.queries import export
from sensedict_server.queries.dictionaries import Dictionary, list_sources
from sensedict_server.queries.relations import is_head, neighbours

IDENTITY_FIELDS = tuple(name for name in Identity.__dataclass_fields__ if name != "content_hash")
_ROWS = 10_000  # rows held at once while a table is written

_SCHEMAS = {
    "tokens.parquet": pa.schema(
        {
            "token_id": pa.int32(),
            "text": pa.string(),
            "occurrences": pa.int64(),
            "first_sense": pa.int64(),
            "sense_count": pa.int16(),
        }
    ),
    "words.parquet": pa.schema(
        {
            "word_id": pa.int64(),
            "word": pa.string(),
            "language": pa.string(),
            "token_ids": pa.list_(pa.int32()),
            "first_sense": pa.int64(),
            "sense_count": pa.int16(),
            "reason": pa.string(),
        }
    ),
    "senses.parquet": pa.schema(
        {
            "sense_id": pa.int64(),
            "token_id": pa.int32(),
            "word_id": pa.int64(),
            "ordinal": pa.int16(),
            "count": pa.int64(),
            "inertia": pa.float32(),
        }
    ),
    "relations.parquet": pa.schema(
        {
            "relation_id": pa.int64(),
            "word_id": pa.int64(),
            "word": pa.string(),
            "other_id": pa.int64(),
            "other": pa.string(),
            "type": pa.string(),
            "source": pa.string(),
            "licence": pa.string(),
            "rule": pa.string(),
            "parent_id": pa.int64(),
            "conflict": pa.bool_(),
            "directed": pa.bool_(),
            "pos": pa.string(),
        }
    ),
    "contexts.parquet": pa.schema(
        {
            "sense_id": pa.int64(),
            "ordinal": pa.int16(),
            "text": pa.string(),
            "start": pa.int32(),
            "end": pa.int32(),
        }
    ),
}


@dataclass(frozen=True)
class Content:
    """What a file set is written about: a published dictionary, or one in the middle of being published.

    Attributes:
        identity: the fields of `sensedict.source.Identity` but the content hash, which comes of the writing.
        lexicon: name@version.
    """

    dictionary_id: int
    lexicon_id: int
    identity: dict[str, Any]
    lexicon: str
    settings: dict[str, Any]

    @staticmethod
    def of(dictionary: Dictionary) -> Content:
        """The content of a published dictionary."""
        identity = {name: getattr(dictionary, name) for name in IDENTITY_FIELDS}
        return Content(dictionary.id, dictionary.lexicon_id, identity, dictionary.lexicon, dict(dictionary.settings))


def folder(root: Path, ref: str) -> Path:
    """Where the file set of `name@version` stands."""
    return root / ref


def ensure(engine: Engine, root: Path, dictionary: Dictionary) -> Path:
    """Give the folder of a published dictionary's file set, written anew from the database where it is missing.

    A set of another dictionary that had the same name and version (in a database that is no more) is replaced.

    Raises:
        Corrupt: what was written has another hash than what was published.
        Unavailable: the database is needed and cannot be reached.
    """
    place = folder(root, dictionary.ref)
    if _content_hash_of(place) == dictionary.content_hash:
        return place
    with locked(root, dictionary.ref):
        if _content_hash_of(place) == dictionary.content_hash:  # another process was quicker
            return place
        with temporary(root, dictionary.ref) as new, engine.begin() as connection:
            found = write(connection, Content.of(dictionary), new)
            if found != dictionary.content_hash:
                raise Corrupt(
                    f"the database gives {dictionary.ref} the content hash {found}, published was "
                    f"{dictionary.content_hash}: restore the database from a backup"
                )
            put_in_place(new, place)
    return place


def write(
    connection: Connection, content: Content, target: Path, advance: Callable[[int], object] = lambda rows: None
) -> str:
    """Write the file set into the empty folder `target` and give its content hash.

    The manifest comes last and names the bytes and sha256 of every other file.

    Args:
        advance: told numbers of rows written, often; what it raises ends the work.
    """
    index = arrays.encode(_index(connection, content).to_tensors())
    entries = {
        VECTORS: _write_vectors(connection, content, target / VECTORS, advance),
        INDEX: _write_bytes(target / INDEX, index),
    }
    of_dictionary, of_lexicon = content.dictionary_id, content.lexicon_id
    for name, query in (
        ("tokens.parquet", export.all_tokens(of_dictionary)),
        ("words.parquet", export.all_words(of_dictionary)),
        ("senses.parquet", export.all_senses(of_dictionary)),
        ("relations.parquet", export.all_relations(of_lexicon)),
        ("contexts.parquet", export.all_contexts(of_dictionary)),
    ):
        entries[name] = _write_table(connection, query, target / name, _SCHEMAS[name], advance)
    manifest = Manifest(
        identity=Identity(**content.identity, content_hash=content_hash(entries)),
        lexicon=content.lexicon,
        sources=[asdict(source) for source in list_sources(connection, of_lexicon)],
        settings=content.settings,
        files=entries,
    )
    _write_bytes(target / MANIFEST, manifest.to_json().encode())
    return manifest.identity.content_hash


def open_whole(place: Path) -> Snapshot:
    """The file set mapped into memory, once every file of it was read and compared with the manifest.

    Raises:
        ConfigurationError: there is no file set.
        Corrupt: naming the first file that differs, and the way to a whole set.
    """
    try:
        return Snapshot.open(place, verify=True)
    except Corrupt as error:
        raise Corrupt(
            f"{error.detail}; remove {place}, and `sensedict files write {place.name}` makes it anew"
        ) from error


def verify(place: Path) -> None:
    """Let pass a file set that `open_whole` opens."""
    open_whole(place).close()


@contextmanager
def locked(root: Path, ref: str) -> Iterator[None]:
    """Let one process at a time write the file set of `ref`; a killed one's lock ends with it."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f".{ref}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def temporary(root: Path, ref: str) -> Iterator[Path]:
    """A folder to write the set of `ref` in; gone afterwards unless it was put in place. Only under `locked`."""
    for left in root.glob(f".{ref}.new-*"):  # of a killed process: nobody else writes while we hold the lock
        shutil.rmtree(left)
    new = Path(tempfile.mkdtemp(prefix=f".{ref}.new-", dir=root))
    new.chmod(0o755)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def put_in_place(new: Path, place: Path) -> None:
    """Rename the finished folder to its name, in place of what stands there."""
    if place.exists():
        place.rename(new.with_name(f"{new.name}-old"))
    new.rename(place)
    shutil.rmtree(new.with_name(f"{new.name}-old"), ignore_errors=True)
    sync(place.parent)


def _write_vectors(connection: Connection, content: Content, file: Path, advance: Callable[[int], object]) -> FileEntry:
    """The senses' vectors, (N, D) float16, row i is sense i; as they come, so that memory does not grow with them."""
    shape = (content.identity["senses"], content.identity["dim"])
    rows = 0
    # named: the server keeps the rows, not we
    with driver(connection) as psycopg_connection, psycopg_connection.cursor(name="vectors", binary=True) as cursor:
        cursor.itersize = _ROWS
        cursor.execute(export.VECTORS, (content.dictionary_id,))
        with file.open("wb") as stream:
            stream.write(arrays.head({"vectors": (np.dtype("<f2"), shape)}))
            for (vector,) in cursor:
                stream.write(vector.to_numpy().astype("<f2").data)
                rows += 1
                if rows % _ROWS == 0:
                    advance(_ROWS)
    if rows != shape[0]:
        raise Corrupt(f"the database holds {rows} senses of a dictionary of {shape[0]}")
    sync(file)
    return hash_file(file)


def _index(connection: Connection, content: Content) -> Index:
    """Each token's senses, and the senses of its neighbours."""
    size = content.identity["vocabulary_size"]
    first, count = np.zeros(size, dtype=np.uint32), np.zeros(size, dtype=np.uint16)
    for part in _partitions(connection, export.all_tokens(content.dictionary_id)):
        ids = [row.token_id for row in part]
        first[ids] = [row.first_sense for row in part]
        count[ids] = [row.sense_count for row in part]
    synonymy = content.settings.get("synonym_types", SYNONYM_TYPES)
    antonymy = content.settings.get("antonym_types", ANTONYM_TYPES)
    return Index(
        token_first=first,
        token_count=count,
        synonyms=_neighbours(connection, content, synonymy, antonymy),
        antonyms=_neighbours(connection, content, antonymy, synonymy),
    )


def _neighbours(connection: Connection, content: Content, types: Any, contrary: Any) -> Ranges:
    """One row a token of the vocabulary, one range a neighbour word."""
    query = neighbours(content.dictionary_id, content.lexicon_id, types, contrary)
    parts = [
        np.array(
            [(row.token, row.first_sense, row.sense_count) for row in part if any(map(is_head, row.heads))],
            dtype=np.int64,
        ).reshape(-1, 3)
        for part in _partitions(connection, query)
    ]
    found = np.concatenate([np.empty((0, 3), dtype=np.int64), *parts])
    offsets = np.zeros(content.identity["vocabulary_size"] + 1, dtype=np.uint32)
    offsets[1:] = np.cumsum(np.bincount(found[:, 0], minlength=len(offsets) - 1))
    return Ranges(offsets, found[:, 1].astype(np.uint32), found[:, 2].astype(np.uint16))


def _write_table(
    connection: Connection, query: Select[Any], file: Path, schema: pa.Schema, advance: Callable[[int], object]
) -> FileEntry:
    # Closed when it is stopped: a cursor that outlives its transaction says so.
    parts = closing(_partitions(connection, query))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer, parts as found:
        for part in found:
            columns = zip(*part, strict=True)
            typed = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(typed, schema=schema))
            advance(len(part))
    sync(file)
    return hash_file(file)


def _partitions(connection: Connection, query: Select[Any]) -> Generator[Any]:
    """The rows of `query`, a few thousand at a time; the server keeps the rest."""
    with connection.execute(query, execution_options={"yield_per": _ROWS}) as result:
        yield from result.partitions()


def _write_bytes(file: Path, data: bytes) -> FileEntry:
    file.write_bytes(data)
    sync(file)
    return hash_file(file)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk: a rename must not come there before the data."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _content_hash_of(place: Path) -> str | None:
    """Content hash that the manifest states; None where there is no manifest, or none that can be read."""
    try:
        return Manifest.from_json((place / MANIFEST).read_bytes()).identity.content_hash
    except (FileNotFoundError, Corrupt):
        return None
