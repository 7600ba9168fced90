"""The service in a process of its own, for as long as a block lasts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sensedict_server.settings import Settings
from until import until

SENSEDICT = (sys.executable, "-c", "from sensedict.cli import main; main()")


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        url: where it listens, `http://127.0.0.1:<port>`.
        process: for tests that end it.
        log: what it writes to stdout and stderr.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which the `sensedict` command finds the database and files of `settings`."""
    url = settings.database_url
    named = {} if url is None else {"SENSEDICT_DATABASE_URL": url.render_as_string(hide_password=False)}
    if settings.admin_key_file is not None:
        named["SENSEDICT_ADMIN_KEY_FILE"] = str(settings.admin_key_file)
    if settings.plans is not None:
        named["SENSEDICT_PLANS"] = str(settings.plans)
    return {
        **os.environ,
        "SENSEDICT_HOME": str(settings.home),
        "SENSEDICT_POOL_SIZE": str(settings.pool_size),
        "SENSEDICT_KEYS": settings.keys,
        "SENSEDICT_CONTEXTS": "on" if settings.contexts else "off",
        **named,
    }


def quick_workers(folder: Path, shard_seconds: float = 0.0) -> dict[str, str]:
    """The environment in which builds are cut small, and the dead are noticed within a second.

    Args:
        folder: is made, for a module that Python reads first.
        shard_seconds: that the writing of a shard takes longer: time to be killed in.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import time\n"
        "from sensedict_server.build import planning, shard_queue, store\n"
        "planning.SHARD_TOKENS, planning.SHARD_STATES = 400, 500\n"
        "shard_queue.HEARTBEAT, shard_queue.SILENCE, shard_queue.LOOK, shard_queue.IDLE = 0.3, 1.0, 0.3, 0.1\n"
        "write = store.Store.write\n"
        f"store.Store.write = lambda *a: (time.sleep({shard_seconds}), write(*a))[1]\n"
    )
    return {"PYTHONPATH": str(folder)}


@contextmanager
def running_service(
    settings: Settings, log: Path, port: int | None = None, options: Sequence[str] = ()
) -> Iterator[Service]:
    """`sensedict serve` over the database of `settings`, on a free port of loopback; begins once it answers."""
    port = port or free_port()
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [*SENSEDICT, "serve", "--host", "127.0.0.1", "--port", str(port), *options],
            env=environment_of(settings),
            stdout=out,
            stderr=out,
        )
    try:
        service = Service(f"http://127.0.0.1:{port}", process, log)
        _wait(service)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(service: Service) -> None:
    def answers() -> bool:
        try:
            urllib.request.urlopen(f"{service.url}/livez", timeout=60).close()
        except OSError:
            return False
        return True

    until(answers, service.process, lambda: f"the service did not start:\n{service.log.read_text()}")
