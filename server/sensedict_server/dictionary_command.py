"""`sensedict dictionary`: the versions of the database: look at them, publish, name, deprecate and delete them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, Engine

from sensedict import wire
from sensedict.asking import json_option, print_json, print_table, printable
from sensedict.errors import DictionaryGone, InvalidInput
from sensedict_server import lifecycle, removal, search_index
from sensedict_server.build.publish_draft import publish_draft
from sensedict_server.catalogue import Catalogue
from sensedict_server.lifecycle import Because
from sensedict_server.queries import versions
from sensedict_server.queries.dictionaries import list_dictionaries
from sensedict_server.queries.search import Progress
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings

_REF = click.argument("ref", metavar="NAME@VERSION")
_ALIAS = click.argument("alias", metavar="NAME@ALIAS")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def because_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--reason` and `--by`, for the log."""
    command = click.option("--by", default=lifecycle.user_name, show_default="your user name", help="Who does it.")(
        command
    )
    return click.option("--reason", required=True, help="Why, for those who come after.")(command)


@click.group()
def dictionary() -> None:
    """List, publish, alias, deprecate or delete versions of dictionaries."""


@dictionary.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the versions, drafts too, by name and then newest first."""
    with _opened() as (catalogue, connection):
        found = catalogue.infos(connection, list_dictionaries(connection, drafts=True))
        asked = [versions.uses_of(connection, info.name, info.version) for info in found]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("there is no dictionary yet: `sensedict build` makes one")
        return
    print_table(
        ["version", "state", "aliases", "senses", "published", "last asked for"],
        [
            (
                f"{info.name}@{info.version}",
                _state(info),
                " ".join(info.aliases),
                info.senses,
                _day(info.published_at),
                _day(max((use.last_at for use in uses), default=None)),
            )
            for info, uses in zip(found, asked, strict=True)
        ],
    )


@dictionary.command()
@_REF
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show a version, by its name or an alias: what it is made of, its sources, and who asked for it when last."""
    with _opened() as (catalogue, connection):
        info = catalogue.infos(connection, [catalogue.resolve(ref, drafts=True)])[0]
        uses = versions.uses_of(connection, info.name, info.version)
    if as_json:
        print_json(info)
        return
    click.echo(f"{info.name}@{info.version}  {_state(info)}  {' '.join(info.aliases)}".rstrip())
    rows = [
        (name.replace("_", " "), value) for name, value in info.model_dump().items() if isinstance(value, str | int)
    ]
    print_table(["", ""], [row for row in rows if row[0] not in ("name", "version", "state")])
    for source in info.sources:
        click.echo(f"source {source.name} ({source.version}), {source.licence}: {source.relations:,} relations")
    if uses:
        click.echo("")
        print_table(
            ["key", "requests", "first", "last"],
            [
                (use.key_name or "without a key", use.requests, _minute(use.first_at), _minute(use.last_at))
                for use in uses
            ],
        )


@dictionary.command()
@_REF
@because_options
def publish(ref: str, reason: str, by: str) -> None:
    """Publish a draft: it never changes from then on, and `latest` names it."""
    with _changing() as (engine, files):
        found = publish_draft(engine, files, ref, Because(by, reason))
    click.echo(f"published {found.ref}: {found.senses:,} senses, {files / found.ref}")


@dictionary.command()
@_ALIAS
@click.argument("version")
@because_options
def alias(alias: str, version: str, reason: str, by: str) -> None:
    """Let an alias name VERSION of the same dictionary: `alias mine@prod 2`."""
    name, word = _split_alias(alias)
    with _changing() as (engine, _):
        before = lifecycle.set_alias(engine, name, word, version, Because(by, reason))
    click.echo(f"{alias} is {name}@{version} now" + (f", was {name}@{before}" if before else ""))


@dictionary.command()
@_ALIAS
@because_options
def unalias(alias: str, reason: str, by: str) -> None:
    """Remove an alias; the version that it names stays."""
    name, word = _split_alias(alias)
    with _changing() as (engine, _):
        before = lifecycle.remove_alias(engine, name, word, Because(by, reason))
    click.echo(f"{alias} is no more, was {name}@{before}")


@dictionary.command()
@_REF
@click.option("--sunset", type=click.DateTime(["%Y-%m-%d"]), help="The day from which on it may be gone, UTC.")
@click.option("--undo", is_flag=True, help="It is not deprecated after all.")
@because_options
def deprecate(ref: str, sunset: datetime | None, undo: bool, reason: str, by: str) -> None:
    """Say in every answer of a version that it is not to be begun with."""
    if undo and sunset is not None:
        raise click.UsageError("--undo takes the sunset away too: leave --sunset out")
    with _changing() as (engine, _):
        if undo:
            lifecycle.undo_deprecation(engine, ref, Because(by, reason))
        else:
            until = None if sunset is None else sunset.replace(tzinfo=UTC)
            lifecycle.deprecate(engine, ref, Because(by, reason), until)
    click.echo(
        f"{ref} is {'not deprecated any more' if undo else 'deprecated'}"
        + (f", until {sunset:%Y-%m-%d}" if sunset else "")
    )


@dictionary.command()
@_REF
@yes_option
@because_options
def delete(ref: str, yes: bool, reason: str, by: str) -> None:
    """Delete a version that no alias names; its name, version and hash stay, and are never given again.

    Nobody finds it from that moment on; a running service needs two seconds to notice. Its rows are removed when no
    answer is being read from them any more; stopped meanwhile, a service or the same command goes on.
    """
    because = Because(by, reason)
    with _changing() as (engine, files):
        if not yes:
            lifecycle.check_removable(engine, "dictionary", ref, because)
            click.confirm(f"Delete {ref} for good?", abort=True)
        tombstone = lifecycle.withdraw(engine, "dictionary", ref, because)
        click.echo(
            f"{ref} is deleted" + ("" if tombstone is None else f"; its content hash was {tombstone.content_hash}")
        )
        _clear(engine, files, tombstone is not None)


@dictionary.command()
@click.argument("name")
@click.option("--keep", required=True, type=click.IntRange(1), help="Of the newest versions, so many stay.")
@click.option(
    "--unused-days",
    default=0,
    show_default=True,
    type=click.IntRange(0, 36_500),
    help="Nobody asked for it in so many days.",
)
@click.option("--dry-run", is_flag=True, help="Say which, and delete nothing.")
@yes_option
@because_options
def prune(name: str, keep: int, unused_days: int, dry_run: bool, yes: bool, reason: str, by: str) -> None:
    """Delete the versions of NAME that no alias names, but for the newest ones, and those that somebody asks for."""
    because = Because(by, reason)
    with _changing() as (engine, files):
        with engine.connect() as connection:
            found = versions.prunable(connection, name, keep, unused_days)
        for version in found:
            click.echo(f"{name}@{version}")
        if dry_run or not found:
            click.echo(f"{len(found)} would be deleted" if found else "there is nothing to delete")
            return
        if not yes:
            click.confirm(f"Delete these {len(found)} for good?", abort=True)
        lifecycle.prune(engine, name, keep, unused_days, found, because)
        click.echo(f"{len(found)} are deleted")
        _clear(engine, files, True)


@dictionary.command()
@_REF
def index(ref: str) -> None:
    """Make the index that approximate search over a whole dictionary needs, as the owner of the database's tables.

    The service answers meanwhile. Stopped, it is begun anew by the same command; it goes when the dictionary is
    deleted.
    """
    with _changing() as (engine, files):
        found = Catalogue(engine, files).resolve(ref)
        wanted, allowed = search_index.graph_bytes(found), search_index.memory_allowed(engine)
        if wanted > allowed:
            click.echo(
                f"the graph takes about {wanted >> 20:,} MB and maintenance_work_mem is {allowed >> 20:,} MB, which is "
                f"slow; where the server has the memory: PGOPTIONS='-c maintenance_work_mem={(wanted >> 20) + 1}MB'",
                err=True,
            )
        made = search_index.make(engine, found, _tell_index)
    click.echo(f"{found.ref} has its index" + ("" if made else " already"))


def _tell_index(progress: Progress) -> None:
    share = progress.blocks / progress.blocks_total if progress.blocks_total else 0.0
    click.echo(f"{progress.phase}: {share:.0%} of the table, {progress.rows:,} senses", err=True)


@dictionary.command()
@_REF
@json_option
def history(ref: str, as_json: bool) -> None:
    """Show who did what with a version, when and why; of a deleted one too."""
    with _opened() as (catalogue, connection):
        try:
            found = catalogue.resolve(ref, drafts=True)
            name, version = found.name, found.version
        except DictionaryGone:
            name, version = lifecycle.split_version(ref)
        events = versions.history_of(connection, "dictionary", name, version)
    if as_json:
        print_json([wire.HistoryEvent(**asdict(event)) for event in events])
        return
    print_table(
        ["when", "what", "who", "why"],
        [(_minute(event.at), _told(event), event.actor, event.reason) for event in events],
    )


def _clear(engine: Engine, files: Path, wait: bool) -> None:
    """Remove what deleted versions leave; the rows of a published one when nobody reads them any more."""
    with engine.connect() as connection:
        for gone in versions.withdrawn(connection, "dictionary"):
            removal.remove_file_set(files, gone.ref, gone.content_hash)
    if wait:
        click.echo(f"its rows are removed in {removal.GRACE:.0f} s; a running service does so too", err=True)
        time.sleep(removal.GRACE + 1.0)
    rows = sum(removal.remove_withdrawn(engine, "dictionary"))
    click.echo(f"removed {rows:,} rows")


@contextmanager
def _opened() -> Iterator[tuple[Catalogue, Connection]]:
    settings = Settings.from_environment()
    with migrated(settings) as engine, engine.connect() as connection:
        yield Catalogue(engine, settings.files), connection


@contextmanager
def _changing() -> Iterator[tuple[Engine, Path]]:
    settings = Settings.from_environment()
    with migrated(settings) as engine:
        yield engine, settings.files


def _split_alias(text: str) -> tuple[str, str]:
    name, at, alias = text.partition("@")
    if not (name and at and alias):
        raise InvalidInput(f"alias {text!r}: write name@alias, as in mine@prod")
    return name, alias


def _state(info: wire.DictionaryInfo) -> str:
    if info.deprecated_at is None:
        return info.state
    return "deprecated" + (f", until {_day(info.sunset_at)}" if info.sunset_at else "")


def _told(event: versions.Event) -> str:
    alias = event.details.get("alias")
    return f"{event.action} {printable(alias)}" if alias else event.action


def _day(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%d}"


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"
