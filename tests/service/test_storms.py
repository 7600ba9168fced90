"""Clients that vanish, that are too many, and that take nothing: nobody else waits for them, and no query is left."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

from running_service import Service, running_service
from sensedict import wire
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.settings import Settings
from service_metrics import numbers
from until import until

WORD = "/v1/dictionaries/tiny@1/senses?word=hot"
CLIENTS = 200
_BUILD = text("INSERT INTO builds (name, version, settings, store) VALUES ('made', '1', '{}', '/nowhere') RETURNING id")
_ACTIVE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND application_name = 'sensedict' AND state = 'active'"
)
_BLOCKED = text(f"{_ACTIVE.text} AND wait_event_type = 'Lock'")


@pytest.fixture
def tiny(database: Engine, settings: Settings, tiny_draft: Draft) -> Settings:
    """`tiny@1`, and a service of two connections."""
    publish(database, settings.files, tiny_draft)
    return replace(settings, pool_size=2)


@contextmanager
def locked(database: Engine, what: str) -> Iterator[None]:
    """Inside, whoever needs that table waits."""
    with database.connect() as holding:
        holding.execute(text(f"LOCK TABLE {what}"))
        yield


def active(database: Engine) -> int:
    with database.connect() as looking:
        return int(looking.execute(_ACTIVE).scalar_one())


def blocked(database: Engine) -> int:
    """Of the active ones those that wait for a lock: the service's own upkeep, which only reads, may be beside them."""
    with database.connect() as looking:
        return int(looking.execute(_BLOCKED).scalar_one())


def ask_raw(service: Service, line: str) -> socket.socket:
    """A connection with a request on it, and nobody who reads."""
    port = int(service.url.rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def test_storms(database: Engine, tiny: Settings, tmp_path: Path) -> None:
    """One service in three storms, one after the other."""
    with running_service(tiny, tmp_path / "log") as service:
        httpx.get(service.url + WORD).raise_for_status()
        clients_that_vanish(database, tiny, service)
        more_clients_than_can_wait(database, tiny, service)
        a_change_whose_client_vanished(database, service)


def clients_that_vanish(database: Engine, tiny: Settings, service: Service) -> None:
    with httpx.Client(base_url=service.url, timeout=20) as http:
        with locked(database, "words IN ACCESS EXCLUSIVE MODE"):
            clients = [ask_raw(service, f"GET {WORD}") for _ in range(CLIENTS)]
            until(lambda: active(database) > 0)
            assert http.get("/livez").status_code == http.get("/readyz").status_code == 200
            assert active(database) <= tiny.pool_size
            for client in clients:
                client.close()
            until(lambda: active(database) == 0)  # the lock is held still
            until(lambda: numbers(http)["sensedict_requests_in_flight"] == 1)  # the one that asks
            found = numbers(http)
            assert found["sensedict_pool_connections_used"] == 0
            assert found["sensedict_requests_abandoned_total"] >= tiny.pool_size
            assert found["sensedict_pool_timeouts_total"] == 0
            assert found["sensedict_database_errors_total{sqlstate=57014}"] >= 1  # cancelled, before any time-out
            assert "sensedict_database_errors_total{sqlstate=55P03}" not in found
        assert http.get(WORD).status_code == 200
        assert '"status":499' in service.log.read_text()


def more_clients_than_can_wait(database: Engine, tiny: Settings, service: Service) -> None:
    """Those who are too many are refused at once; the others get their answers."""
    with (
        httpx.Client(base_url=service.url, timeout=30, limits=httpx.Limits(max_connections=CLIENTS)) as http,
        ThreadPoolExecutor(CLIENTS) as threads,
    ):
        with locked(database, "words IN ACCESS EXCLUSIVE MODE"):
            asked = [threads.submit(http.get, WORD) for _ in range(CLIENTS)]
            until(lambda: any(answer.done() for answer in asked))
            refused = next(answer for answer in asked if answer.done()).result()
            assert refused.status_code in (429, 503)
            assert int(refused.headers["retry-after"]) >= 1
            assert active(database) <= tiny.pool_size
        statuses = {answer.result().status_code for answer in asked}
        assert {200} < statuses <= {200, 429, 503}
        assert numbers(http)["sensedict_pool_timeouts_total"] == 0


def a_change_whose_client_vanished(database: Engine, service: Service) -> None:
    """It is made: only what is read is given up."""
    with database.begin() as connection:
        build = connection.execute(_BUILD).scalar_one()
    with httpx.Client(base_url=service.url, timeout=20) as http:
        with locked(database, "builds IN SHARE MODE"):
            client = ask_raw(service, f"POST {wire.CANCEL_JOB.format(job=build)}")
            until(lambda: blocked(database) == 1)
            client.close()
            for _ in range(20):  # as often as a watch would have cancelled it
                time.sleep(0.05)
                assert blocked(database) == 1
        until(lambda: http.get(wire.JOB.format(job=build)).json()["state"] == "cancelled")
