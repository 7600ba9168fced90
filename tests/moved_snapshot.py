"""Archives in tests: made of a file set, spoilt on purpose, and sent."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from sensedict.archive import MEDIA, Archive
from sensedict.errors import InvalidSnapshot
from sensedict.fileset import MANIFEST, Manifest, Record, content_hash, hash_file
from sensedict_server.fileset_tables import SCHEMAS
from sensedict_server.lifecycle import Because
from sensedict_server.row_hash import lexicon_hash, rows_hash
from sensedict_server.settings import Settings
from sensedict_server.snapshots.importing import Imported, Names, import_staged
from sensedict_server.snapshots.staging import Staged, pieces_of, receive, staging

BECAUSE = Because("a test", "to see")


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, without what is of this request alone."""
        found = json.loads(self.body)
        if isinstance(found, dict):
            found.pop("request_id", None)
        return found


def ask(url: str, data: bytes | None = None, **headers: str) -> Answer:
    """GET, or POST of an archive; errors are answers too."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        sent.setdefault("Content-Type", MEDIA)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, sent), timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def archive_of(folder: Path, aliases: tuple[str, ...] = ("latest",)) -> bytes:
    """The archive of a file set."""
    with Archive(folder, aliases) as archive:
        return b"".join(archive.read())


def import_from(source: Path, engine: Engine, settings: Settings, names: Names | None = None) -> Imported:
    """Import an archive or a file set."""
    with staging(settings.files) as folder:
        return import_staged(engine, settings.files, receive(pieces_of(source), folder), BECAUSE, names)


def staged(folder: Path) -> Staged:
    """A file set as if it had been received."""
    return Staged(folder, Manifest.from_json((folder / MANIFEST).read_bytes()), ())


def spoilt(folder: Path, target: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> Path:
    """A copy with one table changed, and every hash put right: what is wrong is in the rows alone."""
    shutil.copytree(folder, target)
    table = change(pq.read_table(target / name))
    pq.write_table(table.cast(SCHEMAS[name]) if table.schema.names == SCHEMAS[name].names else table, target / name)
    return put_right(target)


def put_right(folder: Path) -> Path:
    """The manifest with the sizes, the hashes and the hashes of rows that the files have."""
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    record = manifest.record
    assert isinstance(record, Record)
    with suppress(InvalidSnapshot, KeyError, pa.ArrowException):  # too far gone to be hashed
        lexicon = lexicon_hash(folder, record.lexicon_sources)
        record = replace(record, rows_hash=rows_hash(folder), lexicon_hash=lexicon)
    (folder / MANIFEST).write_text(replace(manifest, record=record).to_json())
    return resized(folder)


def resized(folder: Path) -> Path:
    """The manifest with the sizes and hashes that the files have."""
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    files = {name: hash_file(folder / name) for name in manifest.files}
    identity = replace(manifest.identity, content_hash=content_hash(files))
    (folder / MANIFEST).write_text(replace(manifest, identity=identity, files=files).to_json())
    return folder


def column(name: str, change: Callable[[list[object]], list[object]]) -> Callable[[pa.Table], pa.Table]:
    """A change of one column."""

    def changed(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        return table.set_column(place, field, pa.array(change(table[name].to_pylist()), field.type))

    return changed
