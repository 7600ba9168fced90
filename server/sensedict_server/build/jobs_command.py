"""`sensedict jobs`: the builds of the database: list, look at, cancel, remove."""

from __future__ import annotations

import time
from typing import get_args

import click
from sqlalchemy import Connection, Engine

from sensedict import wire
from sensedict.asking import json_option, print_json
from sensedict.errors import JobNotFound
from sensedict.job_report import print_job, print_jobs, print_log_line, progress_line
from sensedict_server.build.jobs import cancel_build
from sensedict_server.build.remove import remove_build
from sensedict_server.progress import job_detail, job_info
from sensedict_server.queries.builds import Build, find_build, list_builds, log_of
from sensedict_server.schema import connected, migrated
from sensedict_server.settings import Settings

_LOG_LINES = 20
_PAUSE = 1.0  # seconds between two looks at a build that is followed
_number = click.argument("number", metavar="ID", type=click.IntRange(0, 2**63 - 1))


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(context: click.Context) -> None:
    """List, look at, cancel or remove builds."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@jobs.command("list")
@click.option("--state", type=click.Choice(get_args(wire.JobState)), help="Only builds in this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, metavar="N", show_default=True, help="How many at most."
)
def list_(state: wire.JobState | None, limit: int) -> None:
    """List the builds of the database, newest first."""
    with connected(Settings.from_environment()) as connection:
        found = list_builds(connection, state, limit=limit)
    if found:
        print_jobs([job_info(build) for build in found])
    elif state is None:
        click.echo("there is no build yet: `sensedict build` starts one")
    else:
        click.echo(f"there is no build that is {state}")


@jobs.command()
@_number
@click.option("--follow", is_flag=True, help="Go on, with each new line of the log, until the build ends.")
@json_option
def show(number: int, follow: bool, as_json: bool) -> None:
    """Show the build ID: its stages, how far it is, who is at it, and the end of its log."""
    with migrated(Settings.from_environment()) as database:
        with database.connect() as connection:
            found = job_detail(connection, _find(connection, number), _LOG_LINES)
            last = max((line.id for line in log_of(connection, number, limit=1)), default=0)
        if as_json:
            print_json(found)
        else:
            print_job(found)
        if follow and not as_json and found.state == "running":
            _follow(database, number, last)


@jobs.command()
@_number
def cancel(number: int) -> None:
    """Cancel the build ID; started again with the same options, it goes on with what was made."""
    with migrated(Settings.from_environment()) as database:
        build = cancel_build(database, number)
    click.echo(f"cancelled job {number}, {build.ref}; what is made of it stays: `sensedict jobs remove {number}`")


@jobs.command()
@_number
def remove(number: int) -> None:
    """Remove the build ID with its files in the store; a dictionary that it published stays."""
    with migrated(Settings.from_environment()) as database:
        gone = remove_build(database, number)
    click.echo(f"removed job {number}, {gone.ref}: {gone.files:,} files, {gone.bytes:,} bytes")


def _follow(database: Engine, number: int, last: int) -> None:
    """Print what is new of a build until it ends; a build that is removed meanwhile is an error."""
    said = ""
    while True:
        time.sleep(_PAUSE)
        with database.connect() as connection:
            build = _find(connection, number)
            lines = log_of(connection, number, after=last)
            now = job_detail(connection, build, 0)
        for line in lines:
            print_log_line(wire.JobLogLine(at=line.at, worker=line.worker, message=line.message))
            last = line.id
        if build.state != "running":
            click.echo(f"job {number}, {build.ref}, is {build.state}" + (f": {build.error}" if build.error else ""))
            return
        if progress_line(now) != said:
            said = progress_line(now)
            click.echo(said)


def _find(connection: Connection, number: int) -> Build:
    found = find_build(connection, number)
    if found is None:
        raise JobNotFound(f"there is no job {number}: `sensedict jobs` lists those that there are")
    return found
