"""A dictionary's file set: written from the database, which stays the record, and verified by hash.

A set is written to a temporary folder and renamed, so a folder `<root>/<name>@<version>` is whole whenever it exists.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, Engine

from sensedict import arrays
from sensedict.errors import Corrupt
from sensedict.fileset import (
    FORMATS,
    INDEX,
    MANIFEST,
    VECTORS,
    FileEntry,
    Index,
    Manifest,
    Record,
    content_hash,
    hash_file,
)
from sensedict.snapshot import Snapshot
from sensedict.source import Identity, Ranges
from sensedict_server.database import driver
from sensedict_server.fileset_tables import of_dictionary, of_lexicon, partitions, sync, write_table
from sensedict_server.lexicon.relations import ANTONYM_TYPES, SYNONYM_TYPES
from sensedict_server.queries import export
from sensedict_server.queries.dictionaries import Dictionary, list_sources
from sensedict_server.queries.lexicons import list_lexicon_sources
from sensedict_server.queries.relations import is_head, neighbours
from sensedict_server.roles import unhurried
from sensedict_server.row_hash import lexicon_hash, rows_hash

IDENTITY_FIELDS = tuple(name for name in Identity.__dataclass_fields__ if name != "content_hash")
_COPY_HEAD = 19  # bytes before the first row of a binary COPY
_COPIED = 4 * 2**20  # bytes of vectors held at once


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


def ensure(engine: Engine, root: Path, dictionary: Dictionary, oldest: int = FORMATS[0]) -> Path:
    """Give the folder of a published dictionary's file set, written anew from the database where it is missing.

    A set of another dictionary that had the same name and version (in a database that is no more) is replaced, and so
    is one of a format before `oldest`.

    Raises:
        Corrupt: what was written has another hash than what was published.
        Unavailable: the database is needed and cannot be reached.
    """
    place = folder(root, dictionary.ref)
    if _serves(place, dictionary, oldest):
        return place
    with locked(root, dictionary.ref):
        if _serves(place, dictionary, oldest):  # another process was quicker
            return place
        with temporary(root, dictionary.ref) as new, engine.begin() as connection:
            unhurried(connection)
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
    index = arrays.encode(index_of(connection, content).to_tensors())
    entries = {
        VECTORS: _write_vectors(connection, content, target / VECTORS, advance),
        INDEX: _write_bytes(target / INDEX, index),
    }
    for name, query in of_dictionary(content.dictionary_id).items():
        entries[name] = write_table(connection, query, target / name, advance)
    written, lexicon = write_lexicon(connection, content.lexicon_id, target, advance)
    row = export.dictionary_row(connection, content.dictionary_id)
    manifest = Manifest(
        identity=Identity(**content.identity, content_hash=content_hash(entries)),
        lexicon=content.lexicon,
        sources=[asdict(source) for source in list_sources(connection, content.lexicon_id)],
        settings=content.settings,
        files=entries | written,
        record=Record(
            published_at=in_utc(row.published_at),
            tokens_with_senses=row.tokens_with_senses,
            words_with_senses=row.words_with_senses,
            rows_hash=rows_hash(target),
            **lexicon,
        ),
    )
    _write_bytes(target / MANIFEST, manifest.to_json().encode())
    return manifest.identity.content_hash


def write_lexicon(
    connection: Connection, lexicon_id: int, target: Path, advance: Callable[[int], object] = lambda rows: None
) -> tuple[dict[str, FileEntry], dict[str, Any]]:
    """Write the files of a lexicon into `target`; gives them, and what `Record` says of it."""
    row = export.lexicon_row(connection, lexicon_id)
    judged = [judgement["id"] for judgement in row.settings.get("judgements", [])]
    written = {
        name: write_table(connection, query, target / name, advance)
        for name, query in of_lexicon(lexicon_id, judged).items()
    }
    sources = [asdict(source) for source in list_lexicon_sources(connection, lexicon_id)]
    for source in sources:
        del source["id"]
    return written, {
        "lexicon_hash": lexicon_hash(target, sources),
        "lexicon_created_at": in_utc(row.created_at),
        "lexicon_settings": row.settings,
        "lexicon_sources": sources,
    }


def in_utc(moment: datetime) -> str:
    """ISO 8601, to the microsecond, whatever the time zone of the database."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


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
    path = root / f".{ref}.lock"
    while True:
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):  # who held it before removed it: others wait for a new one
                continue
            yield
            return


def unlock_for_good(root: Path, ref: str) -> None:
    """Remove the file of the lock, which the caller holds."""
    (root / f".{ref}.lock").unlink(missing_ok=True)


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


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
    with file.open("wb") as stream:
        stream.write(arrays.head({"vectors": (np.dtype("<f2"), shape)}))
        for vectors in _copied_vectors(connection, content):
            stream.write(vectors.astype("<f2").data)
            rows += len(vectors)
            advance(len(vectors))
    if rows != shape[0]:
        raise Corrupt(f"the database holds {rows} senses of a dictionary of {shape[0]}")
    sync(file)
    return hash_file(file)


def _copied_vectors(connection: Connection, content: Content) -> Iterator[NDArray[np.float16]]:
    """Vectors (n, D) in the order of their senses, some thousand at a time, as COPY sends them: big-endian."""
    dim = content.identity["dim"]
    # columns, bytes of the first, its dimensions and two unused bytes, then the numbers
    row = np.dtype([("columns", ">i2"), ("bytes", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("vector", ">f2", (dim,))])
    statement = sql.SQL(export.VECTORS).format(content.dictionary_id)
    with driver(connection) as own, own.cursor() as cursor, cursor.copy(statement) as copy:
        held = bytearray()
        skip = _COPY_HEAD
        for piece in copy:
            held += piece[skip:]  # the head comes in the first piece, which PostgreSQL sends alone or before a row
            skip = 0
            if len(held) >= _COPIED:
                whole = len(held) // row.itemsize
                yield _vectors_of(held, row, whole)
                del held[: whole * row.itemsize]
        yield _vectors_of(held, row, len(held) // row.itemsize)


def _vectors_of(held: bytearray, row: np.dtype[Any], count: int) -> NDArray[np.float16]:
    rows = np.frombuffer(bytes(held[: count * row.itemsize]), row)
    if (rows["columns"] != 1).any() or (rows["dim"] != row["vector"].shape[0]).any():
        raise Corrupt("the database holds vectors of another width than the dictionary's")
    vectors: NDArray[np.float16] = rows["vector"]
    return vectors


def index_of(connection: Connection, content: Content) -> Index:
    """Each token's senses, and the senses of its neighbours."""
    size = content.identity["vocabulary_size"]
    first, count = np.zeros(size, dtype=np.uint32), np.zeros(size, dtype=np.uint16)
    for part in partitions(connection, export.all_tokens(content.dictionary_id)):
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
        for part in partitions(connection, query)
    ]
    found = np.concatenate([np.empty((0, 3), dtype=np.int64), *parts])
    offsets = np.zeros(content.identity["vocabulary_size"] + 1, dtype=np.uint32)
    offsets[1:] = np.cumsum(np.bincount(found[:, 0], minlength=len(offsets) - 1))
    return Ranges(offsets, found[:, 1].astype(np.uint32), found[:, 2].astype(np.uint16))


def _write_bytes(file: Path, data: bytes) -> FileEntry:
    file.write_bytes(data)
    sync(file)
    return hash_file(file)


def _serves(place: Path, dictionary: Dictionary, oldest: int) -> bool:
    """Whether the manifest in the folder states the dictionary's content hash, and a format that will do."""
    try:
        found = Manifest.from_json((place / MANIFEST).read_bytes())
    except (FileNotFoundError, Corrupt):
        return False
    return found.identity.content_hash == dictionary.content_hash and found.format >= oldest
