"""The time of day jumps by a day, ahead and back, under a service that answers; libfaketime turns the clock."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from conftest import copy_of_template
from running_service import Service, environment_of, running_service
from sensedict.cli import cli
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from service_metrics import numbers
from service_problems import expect_problem
from tiny_dictionary import insert_lexicon, make_draft
from until import until

WORD = "/v1/dictionaries/tiny@1/senses?word=hot"
BULK = "/v1/dictionaries/tiny@1:getSenses"
AHEAD, BACK, RIGHT = 1, -1, 0  # days
HALF = timedelta(hours=12)  # of a jump; and more than anything here takes, however busy the machine is
BURST = 30  # requests of a key, and then one an hour

# Time-outs are ten minutes, which a busy machine does not reach and a day's jump would.
PATIENT = f"""
from sensedict_server import exchange, roles
from sensedict_server.routes import shared
exchange.PIECE_SECONDS = 600.0
roles.LIMITS.update(lock_timeout="600s", statement_timeout="600s")
limits = {{"requests_per_second": 1 / 3600, "max_burst": {BURST}, "request_seconds": 600}}
shared.LIMITS = shared.LIMITS.model_copy(update=limits)
"""


@dataclass(frozen=True)
class Jumpy:
    """A service that asks for keys, whose clock a test turns; the database's stays.

    Attributes:
        http: asks it.
        database: of the service.
        clock: what it adds to the time of day stands there.
        brief: a key that ends in an hour.
        lasting: one that does not.
        greedy: another one.
    """

    service: Service
    http: httpx.Client
    database: Engine
    clock: Path
    brief: str
    lasting: str
    greedy: str

    def turn(self, days: int) -> None:
        """Let the clock jump to so many days from now; returns when the service's answers are of that day."""
        waiting = self.clock.with_suffix(".new")  # never read half written
        waiting.write_text(f"{days:+d}d")
        waiting.replace(self.clock)
        until(lambda: is_off_by(parsedate_to_datetime(self.http.get("/livez").headers["date"]), days))

    def get(self, path: str, key: str) -> httpx.Response:
        """Ask with a key."""
        return self.http.get(path, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture(scope="module")
def libfaketime() -> Path:
    """The library that turns a process's clock."""
    found = next(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        pytest.skip("there is no libfaketime in /usr/lib: on Debian, apt-get install faketime")
    return found


@pytest.fixture(scope="module")
def jumpy(libfaketime: Path, postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jumpy]:
    home = tmp_path_factory.mktemp("jumpy")
    clock = home / "clock"
    clock.write_text("+0d")
    (home / "sitecustomize.py").write_text(PATIENT)
    turned = {
        "LD_PRELOAD": libfaketime,
        "FAKETIME_TIMESTAMP_FILE": clock,
        "FAKETIME_CACHE_DURATION": 1,  # seconds until the file is read again
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,  # nobody sets that one
        "PYTHONPATH": home,
    }
    with ExitStack() as stack:
        settings = stack.enter_context(copy_of_template(postgres, home))
        database = stack.enter_context(opened(settings))
        publish(database, settings.files, make_draft(*insert_lexicon(database)))
        made = [make_key(settings, *named) for named in (("brief", "--expires", "1h"), ("lasting",), ("greedy",))]
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in turned.items():
            environment.setenv(name, str(value))
        service = stack.enter_context(running_service(replace(settings, keys="required"), home / "log"))
        environment.undo()  # for what else is started
        http = stack.enter_context(httpx.Client(base_url=service.url, timeout=60))
        found = Jumpy(service, http, database, clock, *made)
        yield found
        found.turn(RIGHT)  # time.sleep with the library's clock turned back is an error of the library's
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=60) == 0


def is_off_by(told: datetime, days: int) -> bool:
    """Whether a time lies so many days from now."""
    return abs(told - datetime.now(UTC) - timedelta(days=days)) < HALF


def make_key(settings: Settings, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["keys", "create", *arguments, "--json"], env=environment_of(settings))
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["key"])


def test_what_is_under_way_and_what_comes_are_answered(jumpy: Jumpy) -> None:
    """A query that waits for a lock, and a body half of which came: neither is late because of the date."""
    body = json.dumps({"ids": list(range(80))}).encode()
    head = (
        f"POST {BULK} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {jumpy.lasting}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    port = int(jumpy.service.url.rpartition(":")[2])
    for jump in (AHEAD, BACK, RIGHT):
        with (
            ThreadPoolExecutor() as threads,
            jumpy.database.connect() as holding,
            jumpy.database.connect() as looking,
            socket.create_connection(("127.0.0.1", port), timeout=60) as half,
        ):
            looking = looking.execution_options(isolation_level="AUTOCOMMIT")
            holding.execute(text("LOCK TABLE words IN ACCESS EXCLUSIVE MODE"))
            waiting = threads.submit(jumpy.get, WORD, jumpy.lasting)
            half.sendall(head + body[:20])
            until(lambda looking=looking: looking.execute(waits).scalar_one())
            until(lambda: numbers(jumpy.http)["sensedict_requests_in_flight"] == 3)
            jumpy.turn(jump)
            assert jumpy.get("/v1/dictionaries", jumpy.lasting).status_code == 200
            assert not waiting.done()
            holding.rollback()
            half.sendall(body[20:])
            answer = HTTPResponse(half)
            answer.begin()
            assert answer.status == 200
            assert len(json.load(answer)["vectors"]) == 80
            assert waiting.result().status_code == 200
        assert jumpy.http.get("/readyz").status_code == 200
    told = numbers(jumpy.http)
    seconds = {name: value for name, value in told.items() if "_seconds_sum" in name}
    assert any(name.startswith("sensedict_request_seconds_sum") for name in seconds)
    assert all(0 <= value < HALF.total_seconds() for value in seconds.values()), seconds
    lines = [json.loads(line) for line in jumpy.service.log.read_text().splitlines() if '"milliseconds"' in line]
    assert all(0 <= line["milliseconds"] < HALF.total_seconds() * 1000 for line in lines)


def test_the_log_follows_the_clock_and_shares_do_not(jumpy: Jumpy) -> None:
    def logged() -> datetime:
        """When the last request was, as the log has it."""
        jumpy.get(WORD, jumpy.lasting)
        lines = [line for line in jumpy.service.log.read_text().splitlines() if WORD.partition("?")[0] in line]
        return datetime.fromisoformat(json.loads(lines[-1])["time"]).astimezone(UTC)

    jumpy.turn(RIGHT)
    spent = [jumpy.get(WORD, jumpy.greedy).status_code for _ in range(BURST + 1)]
    assert spent == [200] * BURST + [429]
    for jump in (AHEAD, BACK, RIGHT):
        jumpy.turn(jump)
        refused = jumpy.get(WORD, jumpy.greedy)  # a day ahead brings none, and a day back takes none
        expect_problem(refused, 429, "too-many-requests")
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert is_off_by(logged(), jump)


def test_a_key_ends_by_the_clock_that_is_ahead(jumpy: Jumpy) -> None:
    """The service's or the database's; and where the service's goes back, so does the end."""
    jumpy.turn(RIGHT)
    assert jumpy.get(WORD, jumpy.brief).status_code == 200
    jumpy.turn(AHEAD)
    expect_problem(jumpy.get(WORD, jumpy.brief), 401, "unauthorized", "expired")
    assert jumpy.get(WORD, jumpy.lasting).status_code == 200
    jumpy.turn(BACK)
    assert jumpy.get(WORD, jumpy.brief).status_code == 200
    with jumpy.database.begin() as connection:
        connection.execute(text("UPDATE api_keys SET expires_at = now() WHERE name = 'brief'"))
    until(lambda: jumpy.get("/v1/limits", jumpy.brief).status_code == 401)
    expect_problem(jumpy.get(WORD, jumpy.brief), 401, "unauthorized", "expired")
