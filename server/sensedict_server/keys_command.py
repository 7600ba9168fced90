"""`sensedict keys`: who may call the service."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from sensedict.errors import Conflict, InvalidInput
from sensedict_server.keys import OPERATOR, REFRESH, SHOWN, hash_key, make_key
from sensedict_server.queries.keys import SCOPES, Key, Scope, add_key, find_key, list_keys, revoke_key
from sensedict_server.schema import connected, migrated
from sensedict_server.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TIME = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def keys() -> None:
    """Make, list or revoke the keys that callers of the service send."""


@keys.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(SCOPES), default="read", show_default=True, help="What its holder may do.")
@click.option("--expires", metavar="TIME", help="How long it holds, e.g. 12h, 90d or 52w.  [default: until revoked]")
@as_json_option
def create(name: str, scope: Scope, expires: str | None, as_json: bool) -> None:
    """Make a key, and show it: this once, since only its hash is kept."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} can name no key: use up to 64 letters, digits, '.', '_' and '-'")
    if name == OPERATOR:
        raise InvalidInput(f"{name!r} is what logs call the holder of SENSEDICT_ADMIN_KEY_FILE: choose another name")
    until = None if expires is None else datetime.now(UTC) + _time(expires)
    key = make_key()
    with migrated(Settings.from_environment()) as database, database.begin() as connection:
        if find_key(connection, name) is not None:
            raise Conflict(f"there is a key {name!r}: revoke it first, or choose another name")
        made = add_key(connection, name, scope, hash_key(key.encode()), key[:SHOWN], until)
    if as_json:
        click.echo(json.dumps({"key": key, **_told(made)}))
        return
    click.echo(key)
    click.echo(f"{name}, scope {scope}, {_until(made)}. Keep it: it is not shown again.", err=True)


@keys.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the keys that were made, by their first characters."""
    with connected(Settings.from_environment()) as connection:
        found = list_keys(connection)
    if as_json:
        click.echo(json.dumps([_told(key) for key in found]))
        return
    if not found:
        click.echo("There is no key: `sensedict keys create NAME` makes one.", err=True)
    for key in found:
        used = "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%M}"
        click.echo(f"{key.name}\t{key.scope}\t{key.prefix}…\t{_until(key)}\t{used}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Put a key out of force."""
    with migrated(Settings.from_environment()) as database, database.begin() as connection:
        found = find_key(connection, name)
        if found is None:
            raise InvalidInput(f"no key {name!r} is in force: `sensedict keys list`")
        revoke_key(connection, found.id)
    click.echo(f"{name} is revoked; a service that reaches its database knows within {REFRESH + 1:.0f} seconds.")


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
def write(file: Path) -> None:
    """Write an administrator's key to FILE, unless it is there, for SENSEDICT_ADMIN_KEY_FILE.

    It is kept in no table: a service that is given the file lets its holder in, also before there are other keys.
    Replace the file and start the service again, and the old key is out of force.
    """
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as stream:
            stream.write(make_key() + "\n")
    except FileExistsError:
        click.echo(f"{file} is there and stays as it is.")
        return
    click.echo(f"A new key is in {file}.")


def _time(text: str) -> timedelta:
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidInput(f"--expires {text!r} is no time: write hours, days or weeks as 12h, 90d or 52w")
    return int(found[1]) * _UNITS[found[2]]


def _until(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    if key.expires_at is None:
        return "until revoked"
    return f"{'expired' if key.expires_at <= datetime.now(UTC) else 'until'} {key.expires_at:%Y-%m-%d %H:%M}"


def _told(key: Key) -> dict[str, str | int | None]:
    shown = {name: value for name, value in asdict(key).items() if name != "hash"}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in shown.items()}
