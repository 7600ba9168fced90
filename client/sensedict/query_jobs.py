"""`sensedict query jobs` and `job`: what a service builds, from the command line."""

from __future__ import annotations

from itertools import islice
from typing import get_args

import click

from sensedict import wire
from sensedict.asking import Target, json_option, limit_option, print_json
from sensedict.job_report import print_job, print_jobs


@click.command()
@click.option("--state", type=click.Choice(get_args(wire.JobState)), help="Only builds in this state.")
@limit_option(20)
@json_option
@click.pass_obj
def jobs(target: Target, state: wire.JobState | None, limit: int, as_json: bool) -> None:
    """List the builds of the service, newest first."""
    with target.service() as client:
        found = list(islice(client.jobs(state), limit))
    if as_json:
        print_json(found)
    elif found:
        print_jobs(found)
    else:
        click.echo("none" if state is None else f"none {state}")


@click.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=0))
@json_option
@click.pass_obj
def job(target: Target, number: int, as_json: bool) -> None:
    """Show one build: its stages, how far it is, and the end of its log."""
    with target.service() as client:
        found = client.job(number)
    if as_json:
        print_json(found)
    else:
        print_job(found)
