"""`sensedict doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TypeVar

import click
from sqlalchemy.exc import DBAPIError

from sensedict.errors import ConfigurationError, SenseDictError
from sensedict_server.database import opened
from sensedict_server.doctor.contents import CONTENTS
from sensedict_server.doctor.database import SERVER, reached, unreachable
from sensedict_server.doctor.findings import Finding, Scene
from sensedict_server.doctor.machine import MACHINE
from sensedict_server.schema import has_database
from sensedict_server.settings import Settings

_Scene = TypeVar("_Scene", bound=Scene)
_FIRST = ("rights", "migration")  # without these there is nothing to look at
_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="As `sensedict serve --workers`.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(workers: int, as_json: bool) -> None:
    """Look for the usual mistakes, and tell the fix for each; the exit status is 1 where there is an error."""
    found: list[Finding] = []
    for finding in examine(workers):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], ensure_ascii=False, indent=2))
    sys.exit(any(finding.level == "error" for finding in found))


def examine(workers: int) -> Iterator[Finding]:
    """Every finding, check after check; those that need the database only where it answers."""
    try:
        settings = Settings.from_environment()
    except ConfigurationError as error:
        yield Finding("settings", "error", error.detail, "correct the environment")
        return
    scene = Scene(settings, workers)
    yield from _all(MACHINE, scene)
    if not has_database(settings):
        return
    try:
        yield from _of_database(scene)
    except SenseDictError as error:
        yield Finding("database", "error", error.detail, "see above")


def _of_database(scene: Scene) -> Iterator[Finding]:
    with opened(scene.settings) as engine:
        fault = unreachable(engine)
        if fault is not None:
            yield fault
            return
        yield Finding("database", "ok", engine.url.render_as_string())
        with reached(scene, engine) as there:
            found = list(_all(SERVER, there))
            yield from found
            if not any(finding.level == "error" and finding.check in _FIRST for finding in found):
                yield from _all(CONTENTS, there)


def _all(checks: Sequence[Callable[[_Scene], Iterator[Finding]]], scene: _Scene) -> Iterator[Finding]:
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            findings = list(check(scene))
        except DBAPIError as error:  # the role may not even look
            findings = [Finding(name, "error", str(error.orig).partition("\n")[0], "see the rights of the role")]
        yield from findings or [Finding(name, "ok", (check.__doc__ or "").partition("\n")[0].rstrip("."))]


def _print(finding: Finding) -> None:
    level = click.style(f"{finding.level:8}", fg=_COLOURS[finding.level])
    click.echo(f"{level} {finding.check:15} {finding.told}")
    if finding.fix:
        click.echo(f"{'':24} → {finding.fix}")
