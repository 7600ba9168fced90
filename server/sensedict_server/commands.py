"""The commands that need a database: migrate, serve, database, files."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import click
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from sensedict.errors import ConfigurationError, Unavailable
from sensedict_server import embedded, exposure, roles, schema, serving
from sensedict_server import files as file_sets
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import opened
from sensedict_server.lifecycle import split_version
from sensedict_server.logs import log_to_stderr
from sensedict_server.plans import read_plans
from sensedict_server.queries.dictionaries import list_dictionaries
from sensedict_server.settings import Settings


@click.command()
@click.option("--to", "revision", default="head", show_default=True, help="Revision to go to, up or down; base: none.")
def migrate(revision: str) -> None:
    """Bring the database's schema up to date."""
    with opened(Settings.from_environment()) as database:
        before, after = schema.migrate(database, revision)
    now = f"at {after}" if after else "empty"
    click.echo(f"The schema is {now}" + (" already." if before == after else f", was {before or 'empty'}."))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that answer.")
@click.option("--migrate", "migrate_first", is_flag=True, help="Bring the schema up to date first.")
def serve(host: str, port: int, workers: int, migrate_first: bool) -> None:
    """Serve dictionaries over HTTP."""
    settings = Settings.from_environment()
    read_plans(settings.plans)  # its faults are told here, not by each process that answers
    _refuse_port_in_use(host, port)
    if not migrate_first:
        schema.require_database(settings)
    os.environ["SENSEDICT_KEYS"] = keys = exposure.decide(settings, host)
    log_to_stderr(settings.log_level, settings.log_format)
    with opened(settings) as database:
        if migrate_first:
            schema.migrate(database)
        _check_schema(database)
        if keys == "required":
            exposure.require_a_key(database, settings, host)
        # For the processes that answer: an embedded server is this one's to hold and to stop.
        url = roles.service_url(database, embedded=settings.database_url is None)
        os.environ["SENSEDICT_DATABASE_URL"] = url.render_as_string(hide_password=False)
    # uvicorn raises the signal again once it has stopped; unhandled, SIGTERM would end the process before the embedded
    # server is left.
    signal.signal(signal.SIGTERM, _exit)
    serving.run(host, port, workers)


@click.group()
def database() -> None:
    """Start, stop or look at the embedded PostgreSQL."""


@database.command()
def start() -> None:
    """Start it, and let it run until `stop`."""
    _echo_url(embedded.start(_embedded_settings().embedded))


@database.command()
def stop() -> None:
    """Stop it, whoever uses it."""
    folder = _embedded_settings().embedded
    click.echo(f"{'Stopped' if embedded.stop(folder) else 'Nothing runs in'} {folder}")


@database.command()
def status() -> None:
    """Say where it is and whether it runs."""
    found = embedded.status(_embedded_settings().embedded)
    click.echo(f"folder   {found.folder}")
    click.echo(f"version  {found.version or 'no data yet'}")
    click.echo(f"process  {found.pid or 'does not run'}" + (" (kept until `stop`)" if found.kept else ""))


@database.command()
def url() -> None:
    """Print a URL for psql and its kin; needs a running server."""
    folder = _embedded_settings().embedded
    if embedded.status(folder).pid is None:
        raise ConfigurationError(f"no server runs in {folder}: `sensedict database start`")
    _echo_url(embedded.open_embedded(folder))


@database.command()
@click.argument("name")
@click.option(
    "--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its password, on one line."
)
def login(name: str, password_file: Path | None) -> None:
    """Make a user NAME for `sensedict serve`, who can change rows but neither tables nor what is published.

    Run as the owner of the database. A user that is there gets the new password.
    """
    password = None if password_file is None else password_file.read_text("utf-8").rstrip("\r\n")
    if password == "":
        raise ConfigurationError(f"{password_file} is empty: write the password into it")
    with schema.migrated(Settings.from_environment()) as database, database.begin() as connection:
        roles.make_login(connection, name, password)
    click.echo(f"{name} may do what the service does, and nothing else.")


@click.group()
def files() -> None:
    """Write, list or verify a dictionary's file set."""


@files.command()
@click.argument("ref")
def write(ref: str) -> None:
    """Write the file set of REF (name@version) where it is missing, and print its folder."""
    settings = Settings.from_environment()
    with schema.migrated(settings) as database:
        dictionary = Catalogue(database, settings.files).resolve(ref)
        click.echo(file_sets.ensure(database, settings.files, dictionary))


@files.command("list")
def list_() -> None:
    """List the published dictionaries and whether their file sets are here."""
    settings = Settings.from_environment()
    with schema.connected(settings) as connection:
        for dictionary in list_dictionaries(connection):
            place = file_sets.folder(settings.files, dictionary.ref)
            click.echo(f"{dictionary.ref}\t{place if place.exists() else 'not written'}")


@files.command()
@click.argument("ref")
def verify(ref: str) -> None:
    """Compare the file set of REF (name@version) with the hashes of its manifest."""
    place = file_sets.folder(Settings.from_environment().files, ref)
    file_sets.verify(place)
    click.echo(f"{place} is whole.")


@files.command()
@click.argument("ref")
def path(ref: str) -> None:
    """Print the folder of the file set of REF (name@version), there or not."""
    split_version(ref)  # an alias or a bare name has no folder
    place = file_sets.folder(Settings.from_environment().files, ref)
    click.echo(place)
    if not place.exists():
        click.echo(f"It is not there yet: `sensedict files write {ref}` writes it.", err=True)


def _echo_url(url: URL) -> None:
    """Print it as psql and its kin take it; ours names the Python driver."""
    click.echo(url.set(drivername="postgresql").render_as_string())


def _embedded_settings() -> Settings:
    settings = Settings.from_environment()
    if settings.database_url is not None:
        raise ConfigurationError("SENSEDICT_DATABASE_URL names a server, which is not ours to start, stop or look at")
    return settings


def _refuse_port_in_use(host: str, port: int) -> None:
    """Let pass an address that can be listened on, before a database is started for it."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            socket.create_server((address[0], port), family=family).close()
    except socket.gaierror as error:
        raise ConfigurationError(f"{host!r} is no address: choose another with --host ({error.strerror})") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"port {port} of {host} is in use: choose another with --port") from error
        why = os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"cannot listen on port {port} of {host}: {why}; choose another with --host and --port"
        ) from error


def _check_schema(database: Engine) -> None:
    """Refuse to serve a schema of another version; a database that is away may come back, `/readyz` tells."""
    try:
        with database.connect() as connection:
            schema.require_current(connection)
    except Unavailable as away:
        logging.getLogger("sensedict.service").warning("%s; it is asked again with every request", away.detail)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
