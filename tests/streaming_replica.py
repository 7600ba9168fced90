"""A streaming replica of an embedded server, for tests and a benchmark of two nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from moved_database import program


@contextmanager
def replica(primary: URL) -> Iterator[URL]:
    """Address of a streaming replica of the server, with the same databases."""
    folder = Path(tempfile.mkdtemp(prefix="sensedict-replica-"))
    user = "pgserver" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    folder.chmod(0o755)

    def run(name: str, *arguments: str) -> None:
        subprocess.run([program(name), *arguments], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    source = ("--host", str(primary.query["host"]), "--username", str(primary.username), "--write-recovery-conf")
    run("pg_basebackup", "--pgdata", data, *source, "--checkpoint=fast", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c hot_standby_feedback=on"
    run("pg_ctl", "--pgdata", data, "--log", str(folder / "log"), "--wait", "--options", options, "start")
    try:
        yield primary.set(query={"host": str(folder)})
    finally:
        run("pg_ctl", "--pgdata", data, "--mode=immediate", "stop")
        shutil.rmtree(folder)
