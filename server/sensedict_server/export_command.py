"""`sensedict export`: the analysts' views of a lexicon or dictionary as Parquet files, for DuckDB and its kin."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, Engine
from tqdm import tqdm

from sensedict.errors import Conflict, DictionaryNotFound, InvalidInput, LexiconNotFound
from sensedict.fileset import MANIFEST, hash_file
from sensedict_server import files
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import driver
from sensedict_server.fileset_tables import sync
from sensedict_server.queries.analytics import OF_DICTIONARY, OF_LEXICON, View, view_columns, view_rows
from sensedict_server.queries.dictionaries import Dictionary, list_sources
from sensedict_server.queries.lexicons import Lexicon, find_lexicon, list_lexicons
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings

FORMAT = 1
_KIND = "sensedict analytics"  # tells an export from any other folder
_ROWS = 10_000  # rows held at once
_TYPES = {
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "double precision": pa.float64(),
    "halfvec": pa.list_(pa.float16()),
    "integer": pa.int32(),
    "integer[]": pa.list_(pa.int32()),
    "jsonb": pa.string(),
    "real": pa.float32(),
    "smallint": pa.int16(),
    "text": pa.string(),
    "text[]": pa.list_(pa.string()),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Subject:
    """What is exported: a lexicon, with a dictionary over it or without."""

    lexicon: Lexicon
    dictionary: Dictionary | None


@click.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--as", "kind", type=click.Choice(["lexicon", "dictionary"]), help="What it is, where there are both.")
@click.option("--force", is_flag=True, help="Replace an earlier export in FOLDER.")
def export(ref: str, folder: Path, kind: str | None, force: bool) -> None:
    """Write the analysts' views of a lexicon, or of a dictionary and its lexicon, as Parquet files.

    FOLDER is new or empty, unless --force is given.
    """
    settings = Settings.from_environment()
    with migrated(settings) as engine:
        subject = find_subject(engine, settings.files, ref, kind)
        export_views(engine, subject, folder.resolve(), force, partial(click.echo, err=True))
    click.echo(folder)


def find_subject(engine: Engine, files_root: Path, ref: str, kind: str | None) -> Subject:
    """The published lexicon or dictionary that `ref` names; `kind` tells which where both have the name.

    Raises:
        DictionaryNotFound, LexiconNotFound: there is none of the kind, or none of either; says what there is.
        InvalidInput: there are both.
    """
    with engine.connect() as connection:
        known = {lexicon.ref: lexicon for lexicon in list_lexicons(connection)}
    lexicon = known.get(ref) if kind != "dictionary" else None
    if kind == "lexicon":
        with engine.connect() as connection:
            return Subject(find_lexicon(connection, ref), None)
    try:
        dictionary = Catalogue(engine, files_root).resolve(ref)
    except DictionaryNotFound as missing:
        if lexicon is not None:
            return Subject(lexicon, None)
        if kind is None:
            names = ", ".join(list(known)[:10]) or "none"
            raise LexiconNotFound(f"{missing.detail}; and no such lexicon, there are {names}") from missing
        raise
    if lexicon is not None:
        raise InvalidInput(f"{ref} is a lexicon and a dictionary: say --as lexicon or --as dictionary")
    return Subject(known[dictionary.lexicon], dictionary)


def export_views(
    engine: Engine,
    subject: Subject,
    folder: Path,
    force: bool = False,
    say: Callable[[str], object] = lambda _line: None,
) -> None:
    """Write one Parquet file a view and the manifest; `folder` is whole when it is there.

    Args:
        force: replace an earlier export that stands in `folder`.
        say: told of each file that is written.

    Raises:
        Conflict: something else stands there, or `force` was not given.
    """
    _refuse_to_replace(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(folder) as new:
        # one snapshot for all of it: judgements may be added meanwhile
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            written = {}
            for name, described in _write_views(connection, subject, new):
                written[name] = described
                say(f"{name}: {described['rows']:,} rows")
            sources = [asdict(source) for source in list_sources(connection, subject.lexicon.id)]
        manifest = {
            "kind": _KIND,
            "format": FORMAT,
            "lexicon": subject.lexicon.ref,
            "dictionary": subject.dictionary and subject.dictionary.ref,
            "sources": sources,
            "files": written,
        }
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False), "utf-8")
        sync(new / MANIFEST)
        _refuse_to_replace(folder, force)
        files.put_in_place(new, folder)


def _write_views(connection: Connection, subject: Subject, new: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, what the manifest says of it) of each file, as it is written."""
    views: list[tuple[View, str]] = [
        (view, subject.lexicon.name if view.key == "name" else subject.lexicon.ref) for view in OF_LEXICON
    ]
    if subject.dictionary is not None:
        views += [(view, subject.dictionary.ref) for view in OF_DICTIONARY]
    with tqdm(unit=" rows", unit_scale=True, disable=None, leave=False) as bar:
        for view, value in views:
            bar.set_description(view.name)
            name = f"{view.name}.parquet"
            rows = _write_view(connection, view, value, new / name, bar)
            yield name, {"rows": rows, **asdict(hash_file(new / name))}


def _write_view(connection: Connection, view: View, value: str, file: Path, bar: Any) -> int:
    """The number of rows written."""
    columns = view_columns(connection, view)
    schema = pa.schema({name: _TYPES[type_] for name, type_ in columns.items()})
    rows = 0
    # named: the server keeps the rows, not we
    with (
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
        driver(connection) as own,
        own.cursor(name=view.name, binary=True) as cursor,
    ):
        cursor.itersize = _ROWS
        cursor.execute(view_rows(view).encode(), (value,))
        while part := cursor.fetchmany(_ROWS):
            writer.write_batch(_batch(part, tuple(columns.values()), schema))
            rows += len(part)
            bar.update(len(part))
    sync(file)
    return rows


def _batch(rows: Sequence[tuple[Any, ...]], types: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
    columns: list[Any] = []
    for values, type_, field in zip(zip(*rows, strict=True), types, schema, strict=True):
        found: Sequence[Any] = values
        if type_ == "jsonb":
            found = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        elif type_ == "halfvec":
            found = [value.to_numpy() for value in values]
        columns.append(pa.array(found, type=field.type))
    return pa.record_batch(columns, schema=schema)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write in; gone afterwards unless it was put in place.

    It is locked while it is written in: what a killed export left is not, and goes when the next one starts.
    """
    with ExitStack() as writing:
        with _locked(folder.parent):  # nobody takes a new one for a dead one's before it is locked
            _remove_left(folder)
            new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
            writing.enter_context(_locked(new))
        new.chmod(0o755)
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _remove_left(folder: Path) -> None:
    left = re.compile(rf"\.{re.escape(folder.name)}\.new-[a-z0-9_]{{8}}(-old)?")
    for path in [path for path in folder.parent.iterdir() if left.fullmatch(path.name) and path.is_dir()]:
        with suppress(OSError), _locked(path, fcntl.LOCK_NB) as dead:  # one that is put in place now, or another user's
            if dead:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(folder: Path, flags: int = 0) -> Iterator[bool]:
    """Whether the folder is ours alone until the end, or the process's; a file system without locks says no."""
    file = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | flags)
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(file)


def _refuse_to_replace(folder: Path, force: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        kind = json.loads((folder / MANIFEST).read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        kind = None
    if kind != _KIND:
        raise Conflict(f"{folder} is there, is no export of sensedict, and is left as it is: name another folder")
    if not force:
        raise Conflict(f"{folder} is there already: name another folder, or replace that export with --force")
