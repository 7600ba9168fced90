"""SIGTERM: what was begun is finished, what is new is refused, and a second signal ends all at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text
from uvicorn.config import STARTUP_FAILURE

from running_service import SENSEDICT, Service, environment_of, free_port, running_service
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.serving import GRACE
from sensedict_server.settings import Settings
from service_metrics import numbers
from until import until

WORD = "/v1/dictionaries/tiny@1/senses?word=hot"
BULK = "/v1/dictionaries/tiny@1:getSenses"
TWO = ("--workers", "2")
ONE_OR_TWO = pytest.mark.parametrize("options", [(), TWO], ids=["one", "two"])


@pytest.fixture
def tiny(database: Engine, settings: Settings, tiny_draft: Draft) -> Settings:
    """Settings of a database of this test's own with `tiny@1` published."""
    publish(database, settings.files, tiny_draft)
    return settings


@contextmanager
def waiting_request(database: Engine, service: Service) -> Iterator[Future[httpx.Response]]:
    """A request for a word that waits for a lock as long as the block lasts."""
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor() as threads, database.connect() as holding, database.connect() as looking:
        holding.execute(text("LOCK TABLE words IN ACCESS EXCLUSIVE MODE"))
        found = threads.submit(httpx.get, service.url + WORD, timeout=60)
        looking = looking.execution_options(isolation_level="AUTOCOMMIT")  # statistics are those of a transaction
        until(lambda: looking.execute(waits).scalar_one())
        yield found
        holding.rollback()


def until_in_flight(service: Service, requests: int) -> None:
    """The one that asks is among them."""
    with httpx.Client(base_url=service.url, timeout=60) as http:
        until(lambda: numbers(http)["sensedict_requests_in_flight"] == requests)


def until_refused(service: Service) -> None:
    port = int(service.url.rpartition(":")[2])

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused)


@ONE_OR_TWO
def test_what_was_begun_is_finished_unless_a_second_signal_comes(
    database: Engine, tiny: Settings, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A request whose second half comes is answered; one whose never does, and a query, end with the second signal."""
    body = json.dumps({"ids": list(range(80))}).encode()
    headers = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with running_service(tiny, tmp_path / "log", options=options) as service:
        port = int(service.url.rpartition(":")[2])
        with (
            waiting_request(database, service) as waiting,
            socket.create_connection(("127.0.0.1", port), timeout=30) as half,
            socket.create_connection(("127.0.0.1", port), timeout=30) as never,
        ):
            for client in (half, never):
                client.sendall(f"POST {BULK} HTTP/1.1\r\n{headers}".encode() + body[:20])
            until_in_flight(service, 4)  # a connection that no process has accepted yet is not begun
            service.process.send_signal(signal.SIGTERM)
            until_refused(service)
            half.sendall(body[20:])
            answer = HTTPResponse(half)
            answer.begin()
            assert answer.status == 200
            assert len(json.load(answer)["vectors"]) == 80
            assert service.process.poll() is None
            service.process.send_signal(signal.SIGTERM)
            service.process.wait(timeout=GRACE - 10)  # the lock is held still
        with suppress(httpx.TransportError):  # or it was told in time
            assert waiting.result().status_code in (500, 503)


@ONE_OR_TWO
def test_one_signal_ends_it_with_status_0(settings: Settings, tmp_path: Path, options: tuple[str, ...]) -> None:
    """So that whoever supervises it knows an end that was asked for from a fault."""
    with running_service(settings, tmp_path / "log", options=options) as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=GRACE) == 0


def test_a_process_that_says_nothing_delays_no_signal(settings: Settings, tmp_path: Path) -> None:
    """Not the first, which a closed terminal sends too, and not the second, which ends also what is stopped."""
    with running_service(settings, tmp_path / "log", options=TWO) as service:
        processes = answering(service)
        assert len(processes) == 2
        os.kill(processes[0], signal.SIGSTOP)
        time.sleep(2)  # it is asked meanwhile, and owes the answer
        service.process.send_signal(signal.SIGHUP)
        until(lambda: not Path(f"/proc/{processes[1]}").exists())
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=GRACE - 10) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def test_a_process_that_cannot_begin_ends_the_service_with_its_reason(settings: Settings, tmp_path: Path) -> None:
    """One that was killed is replaced; where its successor has no settings any more, no third one is tried."""
    key = tmp_path / "admin-key"
    key.write_text("k" * 43)
    with running_service(replace(settings, admin_key_file=key), tmp_path / "log", options=TWO) as service:
        key.unlink()
        os.kill(answering(service)[0], signal.SIGKILL)
        assert service.process.wait(timeout=GRACE) == STARTUP_FAILURE
        log = service.log.read_text()
    assert log.count("another one takes its place") == 1
    assert f"the service cannot begin: SENSEDICT_ADMIN_KEY_FILE {key}: No such file" in log
    assert f"ended with status {STARTUP_FAILURE} before it could answer" in log
    assert "Traceback" not in log


def test_an_unforeseen_fault_of_a_factory_ends_the_service_too(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sensedict_server.app as app\n"
        "def from_environment():\n    raise RuntimeError('nobody thought of this')\n"
        "app.from_environment = from_environment\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [*SENSEDICT, "serve", "--port", str(free_port()), *TWO]
    done = subprocess.run(command, env=environment_of(settings), capture_output=True, text=True, timeout=120)
    assert done.returncode == STARTUP_FAILURE
    assert "RuntimeError: nobody thought of this" in done.stderr
    assert "ended with status 1 before it could answer" in done.stderr


def answering(service: Service) -> list[int]:
    """The processes of a service that has several."""
    return [pid for pid in children(service.process.pid) if b"spawn_main" in command(pid)]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
