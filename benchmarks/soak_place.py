"""Where a soak takes place: PostgreSQL, `sensedict serve` with two processes, and what dictionaries they hold."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import psycopg
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rich_lexicon import insert_rich_lexicon
from running_service import SENSEDICT, environment_of, free_port
from sensedict.cli import cli
from sensedict_server import embedded, schema
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because
from sensedict_server.settings import Settings
from tiny_dictionary import make_draft

WORKERS = 2
WHY = Because("soak", "a soak")


@dataclass(frozen=True)
class Place:
    """What is running.

    Attributes:
        settings: where the database and the file sets are.
        url, key: of the service; the key may change things.
        supervisor: its first process, whose children answer.
        draft: `tiny@1` as it was published; every other version is this one with other numbers.
        log: what the service says.
    """

    settings: Settings
    url: str
    key: str
    supervisor: psutil.Process
    draft: Draft
    log: Path

    def workers(self) -> dict[int, psutil.Process]:
        """The processes that answer, by id; one that is just dying or just starting may be among them."""
        try:
            children = self.supervisor.children()
            return {child.pid: child for child in children if "spawn_main" in " ".join(child.cmdline())}
        except psutil.Error:
            return self.workers() if self.supervisor.is_running() else {}

    def database(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of our own, outside any transaction."""
        assert self.settings.database_url is not None
        url = self.settings.database_url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="soak")


def version_of(draft: Draft, name: str, number: int) -> Draft:
    """The version of that number: each vector and each count in it is the number."""
    tokens = replace(
        draft.tokens, counts=draft.tokens.counts * 0 + number, vectors=np.full_like(draft.tokens.vectors, number)
    )
    words = replace(draft.words, vectors=np.full_like(draft.words.vectors, number))
    return replace(draft, name=name, version=str(number), tokens=tokens, words=words)


@contextmanager
def place() -> Iterator[Place]:
    """Everything up, `tiny@1`, `moving@1` and `moving@2` published; gone at the end."""
    home = Path(tempfile.mkdtemp(prefix="sensedict-soak-"))
    home.chmod(0o755)  # as root, the server runs as a system user
    try:
        settings = replace(
            Settings(home=home, database_url=embedded.start(home / "postgres")), keys="required", pool_size=8
        )
        with opened(settings) as engine:
            schema.migrate(engine)
            lexicon, words, _ = insert_rich_lexicon(engine)
            draft = make_draft(lexicon, words)
            publish(engine, settings.files, draft, because=WHY)
            for number in (1, 2):
                publish(engine, settings.files, version_of(draft, "moving", number), because=WHY)
        command = ["keys", "create", "soak", "--scope", "admin", "--json"]
        done = CliRunner().invoke(cli, command, env=environment_of(settings))
        key = str(json.loads(done.stdout)["key"])
        with _serving(settings, home / "log") as (url, process):
            yield Place(settings, url, key, psutil.Process(process.pid), draft, home / "log")
    finally:
        embedded.stop(home / "postgres")
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _serving(settings: Settings, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [*SENSEDICT, "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)]
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment_of(settings), stdout=out, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RuntimeError("the service did not stop") from None


@dataclass(frozen=True)
class Look:
    """What the processes that answer hold at one time; of each process apart."""

    at: float
    memory: dict[int, int]
    files: dict[int, int]
    connections: int


class Watch:
    """Looks at the processes every second, in a thread."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stopped = threading.Event()
        self.looks: list[Look] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def growth(self, since: float) -> tuple[float, float]:
        """By how much memory (MiB) and open files of a process grew from then on, the most that one of them did.

        Medians of the first and of the last quarter of the looks are compared; processes that were there all the time.
        """
        found = [look for look in self.looks if look.at >= since]
        quarter = max(1, len(found) // 4)
        first, last = found[:quarter], found[-quarter:]
        there = [pid for pid in last[-1].memory if all(pid in look.memory for look in (*first, *last))]
        if not there:
            raise RuntimeError("no process lived through the last part of the soak")

        def grown(pid: int, what: str) -> float:
            return statistics.median(getattr(look, what)[pid] for look in last) - statistics.median(
                getattr(look, what)[pid] for look in first
            )

        return max(grown(pid, "memory") for pid in there) / 2**20, max(grown(pid, "files") for pid in there)

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            memory, files = {}, {}
            for pid, process in self._place.workers().items():
                try:
                    memory[pid], files[pid] = process.memory_info().rss, process.num_fds()
                except psutil.Error:
                    memory.pop(pid, None)
            self.looks.append(Look(time.monotonic(), memory, files, self._connections()))

    def _connections(self) -> int:
        """Connections of the service to the database; 0 while there is none."""
        try:
            with self._place.database() as connection:
                found = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sensedict'"
                ).fetchone()
                return int(str(found[0])) if found else 0
        except psycopg.Error:
            return 0


def signal(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
