"""Servers in processes of their own, each with the options that `sensedict serve` gives uvicorn."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

_SERVE = (sys.executable, "-c", "from sensedict.cli import main; main()", "serve")
_UVICORN = (sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "--no-server-header")
_running_now: list[int] = []  # their process ids
PLAIN = ("--http", "h11", "--loop", "asyncio")  # as `pip install uvicorn` has it
STANDARD = ("--http", "httptools", "--loop", "uvloop")  # as `uvicorn[standard]` has it, and the service


def environment(engine: Engine, home: Path) -> dict[str, str]:
    """In which the service finds that database and the file sets below that folder."""
    return {"SENSEDICT_DATABASE_URL": engine.url.render_as_string(hide_password=False), "SENSEDICT_HOME": str(home)}


def processor_seconds() -> float:
    """Processor time that the running servers have had, all threads of theirs together; of Linux alone."""
    threads = [path for pid in _running_now for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


@contextmanager
def service(engine: Engine, home: Path, log: Path) -> Iterator[str]:
    """`sensedict serve`."""
    with _running(_SERVE, environment(engine, home), log) as url:
        yield url


@contextmanager
def application(
    name: str, log: Path, settings: Mapping[str, str] | None = None, how: Sequence[str] = STANDARD, logs: bool = False
) -> Iterator[str]:
    """`MODULE:NAME` of this folder under uvicorn, which logs each request or none."""
    silent = () if logs else ("--log-level", "warning", "--no-access-log")
    with _running((*_UVICORN, *silent, *how, name), settings or {}, log) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], settings: Mapping[str, str], log: Path) -> Iterator[str]:
    """Gives the address of a server that is up; it is stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env={**os.environ, **settings}, stdout=out, stderr=out
        )
    try:
        _wait(port, process, log)
        _running_now.append(process.pid)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.pid in _running_now:
            _running_now.remove(process.pid)
        process.terminate()
        process.wait(timeout=30)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a server did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
