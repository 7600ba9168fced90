"""`sensedict worker`: works for every build of the database."""

from __future__ import annotations

import click

from sensedict_server.schema import migrated
from sensedict_server.settings import Settings


@click.command()
@click.option("--device", help="Where the teacher runs here, e.g. cuda:0.  [default: as the build says]")
@click.option("--once", is_flag=True, help="End when no build is running.")
def worker(device: str | None, once: bool) -> None:
    """Work for the builds of the database: any number of these, on any machines that reach database, store and text.

    Ctrl-C stops within a batch and gives the shard back; the second one kills, and others take the shard after half
    a minute.
    """
    from sensedict_server.build.observers import Lines
    from sensedict_server.build.shard_queue import quiet
    from sensedict_server.build.worker import Worker

    settings = Settings.from_environment()
    quiet()
    with migrated(settings) as database:
        at_work = Worker(database, settings.files, Lines(click.echo), device=device)
        click.echo(f"worker {at_work.name}")
        if once:
            at_work.work_until_done()
        else:
            at_work.work()
