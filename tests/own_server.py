"""A PostgreSQL server of a test's own, which it may stop, kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensedict_server import embedded, schema
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from until import until


@contextmanager
def own_server() -> Iterator[Settings]:
    """Settings of an empty, migrated database on it, for as long as the block lasts."""
    home = Path(tempfile.mkdtemp(prefix="sensedict-test-"))  # short: the path of a socket has 107 characters at most
    home.chmod(0o755)
    try:
        made = Settings(home=home, database_url=embedded.start(home / "postgres"))
        with opened(made) as database:
            schema.migrate(database)
        yield made
    finally:
        embedded.stop(home / "postgres")
        shutil.rmtree(home, ignore_errors=True)


def kill(folder: Path) -> None:
    """End the server of a data folder as a power cut does; returns when none of its processes is left."""
    pid = embedded.status(folder).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until_stopped(folder)
    embedded._drop_dead_postmaster(folder)  # which waits for the others


def wait_until_stopped(folder: Path) -> None:
    """Return when the server of a data folder is gone."""
    until(lambda: embedded.status(folder).pid is None)
