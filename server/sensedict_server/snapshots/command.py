"""`sensedict snapshot`: a dictionary as one file, out of a database and into another."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click
from tqdm import tqdm

from sensedict.archive import Archive, Head
from sensedict.download import download_snapshot
from sensedict.errors import Conflict, InvalidInput
from sensedict.fileset import FORMAT, Manifest
from sensedict.receiver import Receiver
from sensedict.snapshot import Snapshot
from sensedict_server import files
from sensedict_server.catalogue import Catalogue
from sensedict_server.lifecycle import Because, user_name
from sensedict_server.queries.dictionaries import aliases_of
from sensedict_server.queries.id_maps import pairs_mapped
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings
from sensedict_server.snapshots.check import check
from sensedict_server.snapshots.importing import Imported, Names, import_staged
from sensedict_server.snapshots.staging import PIECE, Staged, pieces_of, receive, staging


@click.group()
def snapshot() -> None:
    """Export, import or verify a dictionary as one file."""


@snapshot.command()
@click.argument("ref")
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Replace FILE.")
def export(ref: str, file: str, force: bool) -> None:
    """Write REF (name@version or name@alias) with its lexicon to FILE, or to stdout."""
    settings = Settings.from_environment()
    with migrated(settings) as engine:
        dictionary = Catalogue(engine, settings.files).resolve(ref)
        place = files.ensure(engine, settings.files, dictionary, oldest=FORMAT)
        with engine.connect() as connection:
            aliases = aliases_of(connection, [dictionary.id]).get(dictionary.id, [])
            maps = pairs_mapped(connection, dictionary.id)
    with Archive(place, aliases) as archive, _target(file, force) as stream, _bar(archive.size) as bar:
        receiver = Receiver(None)  # what is written is what was published, or the export fails
        for piece in archive.read():
            receiver.feed(piece)
            stream.write(piece)
            bar.update(len(piece))
        receiver.finish()
    if file != "-":
        click.echo(f"{file}: {dictionary.ref}, {archive.size:,} bytes")
    for old, new in maps:
        again = f"`sensedict diff {old} {new} --publish` makes one where both are"
        click.echo(f"The id map from {old} to {new} is left behind: {again}", err=True)


@snapshot.command("import")
@click.argument("source", metavar="FILE|FOLDER|-|URL")
@click.option("--dictionary", "ref", help="Which one, where SOURCE is the URL of a service.")
@click.option("--as", "renamed", metavar="NAME@VERSION", help="What the dictionary is to be called here.")
@click.option("--lexicon-as", metavar="NAME@VERSION", help="What its lexicon is to be called here.")
@click.option("--reason", default="imported from a snapshot", show_default=True, help="Why, for the log.")
def import_(source: str, ref: str | None, renamed: str | None, lexicon_as: str | None, reason: str) -> None:
    """Import a snapshot: a file, a file set's folder, stdin, or a dictionary of another service.

    All of it or nothing: it is checked first, and one that is here already changes nothing.
    """
    settings, because = Settings.from_environment(), Because(user_name(), reason)
    names = Names(renamed, lexicon_as) if renamed or lexicon_as else None
    with migrated(settings) as engine, staging(settings.files) as folder:
        staged = receive(_shown(_pieces(source, ref), "receive"), folder)
        with tqdm(desc="load", unit=" rows", unit_scale=True, disable=None, leave=False) as bar:
            done = import_staged(engine, settings.files, staged, because, names, bar.update)
    _tell(done)


@snapshot.command()
@click.argument("source", metavar="FILE|FOLDER|-")
def verify(source: str) -> None:
    """Compare a snapshot with its hashes, and look at every row as an import does; no database is needed."""
    with tempfile.TemporaryDirectory(prefix="sensedict-") as folder:
        if source != "-" and Path(source).is_dir():
            with Snapshot.open(source, verify=True) as opened:
                staged = Staged(Path(source), opened.manifest, ())
        else:
            staged = receive(_shown(_pieces(source, None), "verify"), Path(folder))
        check(staged)
    click.echo(f"{source} is whole: {staged.manifest.ref}")


@snapshot.command()
@click.argument("source", metavar="FILE|FOLDER|-")
def inspect(source: str) -> None:
    """Say what a snapshot holds; only its beginning is read."""
    head, manifest = _begin(source)
    for name, value in _described(head, manifest):
        click.echo(f"{name:<12}{value}")


def _begin(source: str) -> tuple[Head | None, Manifest]:
    if source != "-" and Path(source).is_dir():
        with Snapshot.open(source) as opened:
            return None, opened.manifest
    receiver = Receiver(None)
    for piece in _pieces(source, None):
        receiver.feed(piece)
        if receiver.begun is not None:
            return receiver.begun
    return receiver.finish()


def _described(head: Head | None, manifest: Manifest) -> Iterator[tuple[str, Any]]:
    identity = asdict(manifest.identity)
    yield "dictionary", manifest.ref
    if head is not None:
        yield "aliases", ", ".join(head.aliases) or "none"
    yield "lexicon", manifest.lexicon
    for name in ("teacher", "key_policy", "state_point", "dim", "k", "senses", "vocabulary_size", "content_hash"):
        yield name.removesuffix("_size").replace("content_", "").replace("_", " "), identity[name]
    if manifest.record is not None:
        yield "published", manifest.record.published_at
    yield "format", manifest.format
    yield "bytes", f"{sum(entry.bytes for entry in manifest.files.values()):,}"
    for source in manifest.sources:
        yield "source", f"{source['name']} {source['version']}, {source['licence']}, {source['relations']:,} relations"


def _pieces(source: str, ref: str | None) -> Iterator[bytes]:
    """The archive that the argument names."""
    if source.startswith(("http://", "https://")):
        if ref is None:
            raise InvalidInput(f"{source} may have many dictionaries: say which with --dictionary")
        yield from download_snapshot(source, ref)
        return
    if ref is not None:
        raise InvalidInput(f"--dictionary goes with the URL of a service, and {source} is none")
    if source == "-":
        while piece := sys.stdin.buffer.read(PIECE):
            yield piece
        return
    yield from pieces_of(Path(source))


@contextmanager
def _target(file: str, force: bool) -> Iterator[BinaryIO]:
    """Where the archive goes: stdout, or a file that is whole when it is there."""
    if file == "-":
        if sys.stdout.isatty():
            raise InvalidInput("an archive is not for a terminal: name a file, or pipe it on")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists() and not force:
        raise Conflict(f"{path} is there already: name another file, or replace it with --force")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _shown(pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
    with _bar(None, what) as bar:
        for piece in pieces:
            yield piece
            bar.update(len(piece))


def _bar(size: int | None, what: str = "export") -> Any:
    return tqdm(total=size, desc=what, unit="B", unit_scale=True, disable=None, leave=False)


def _tell(done: Imported) -> None:
    ref = done.dictionary.ref
    if done.state == "present":
        click.echo(f"{ref} is here already, with the same content.")
        return
    click.echo(f"{ref} is imported; its lexicon {done.dictionary.lexicon} is {done.lexicon}.")
    if done.aliases:
        click.echo(f"It is {', '.join(done.aliases)} now.")
    for alias in done.left:
        click.echo(f"{done.dictionary.name}@{alias} names another version and is left so: `sensedict dictionary alias`")
