"""The numbers at /metrics, of one process and of several; what the log says of a request."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from conftest import Published
from running_service import Service, running_service
from sensedict_server.logs import JsonLines, PlainLines
from sensedict_server.work import Work, current
from service_metrics import numbers
from until import until

WORD = "/v1/dictionaries/tiny@1/senses"
BULK = "/v1/dictionaries/tiny@1:getSenses"
ROUTES = {WORD: "/v1/dictionaries/{ref}/senses", BULK: "/v1/dictionaries/{ref}:getSenses"}

A_CONNECTION_EACH = httpx.Limits(max_keepalive_connections=0)  # either process may take it


def count(found: dict[str, float], route: str, method: str = "GET", status: int = 200) -> float:
    return found.get(f"sensedict_request_seconds_count{{method={method},route={route},status={status}}}", 0)


def test_requests_are_counted_by_their_route(service: Service) -> None:
    with httpx.Client(base_url=service.url) as http:
        before = numbers(http)
        answer = http.get(WORD, params={"word": "hot"}).raise_for_status()
        http.post(BULK, json={"ids": [1, 2, 3]}).raise_for_status()
        for path in ("/no/such/1", "/no/such/2"):
            assert http.get(path).status_code == 404
        assert http.request("PURGE", "/no/such/3").status_code == 404
        found = numbers(http)
    for route, method, status, more in (
        (ROUTES[WORD], "GET", 200, 1),
        (ROUTES[BULK], "POST", 200, 1),
        ("unmatched", "GET", 404, 2),
        ("unmatched", "other", 404, 1),
        ("/metrics", "GET", 200, 1),
    ):
        assert count(found, route, method, status) - count(before, route, method, status) == more, route
    assert not any("/no/such" in name or "tiny" in name for name in found)
    items = f"sensedict_bulk_items_total{{route={ROUTES[BULK]}}}"
    assert found[items] - before.get(items, 0) == 3
    in_bytes = f"sensedict_answer_bytes_total{{route={ROUTES[WORD]}}}"
    assert found[in_bytes] - before.get(in_bytes, 0) == len(answer.content)
    assert found["sensedict_catalogue_lookups_total{result=hit}"] > before.get(
        "sensedict_catalogue_lookups_total{result=hit}", 0
    )
    assert found["sensedict_snapshot_opens_total{result=opened}"] == 1
    assert found["sensedict_database_up"] == found["sensedict_dictionaries"] == 1
    assert found["sensedict_jobs{state=running}"] == found["sensedict_workers"] == 0
    assert found["sensedict_pool_connections"] == 10
    assert found["sensedict_pool_connections_used"] == 0
    assert found["sensedict_pool_wait_seconds_count"] > 0
    assert found["sensedict_requests_in_flight"] == 1  # the one that asks
    assert found["process_resident_memory_bytes"] > 0
    assert any(name.startswith("sensedict_build_info{") for name in found)


def test_several_processes_answer_for_all(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, options = tmp_path / "temporary", ("--workers", "2")
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with (
        running_service(published.settings, tmp_path / "log", options=options) as service,
        httpx.Client(base_url=service.url, timeout=20, limits=A_CONNECTION_EACH) as http,
    ):
        until_numbers(http, lambda found: found["sensedict_pool_connections"] == 20)
        for _ in range(20):
            http.get(WORD, params={"word": "hot"}).raise_for_status()
        until_numbers(
            http, lambda found: count(found, ROUTES[WORD]) == 20
        )  # a process counts an answer once it is gone
        for _ in range(6):
            assert count(numbers(http), ROUTES[WORD]) == 20
        killed = psutil.Process(service.process.pid).children()[-1]
        os.kill(killed.pid, signal.SIGKILL)
        assert psutil.wait_procs([killed], timeout=90)[0]  # as long as it is a zombie, its numbers count
        until_numbers(
            http, lambda found: found["sensedict_pool_connections"] == 20
        )  # its successor's in place of its own
        assert count(numbers(http), ROUTES[WORD]) == 20  # what it answered stays
    assert list(temporary.iterdir()) == []


def until_numbers(http: httpx.Client, hold: Callable[[dict[str, float]], bool]) -> None:
    """Return when they do; a request that goes to a process which was killed is asked again."""

    def held() -> bool:
        with suppress(httpx.TransportError):
            return hold(numbers(http))
        return False

    until(held)


def test_the_line_of_a_request(service: Service) -> None:
    with httpx.Client(base_url=service.url) as http:
        http.get(WORD, params={"word": "hot"}, headers={"X-Request-ID": "line-1"}).raise_for_status()
        http.get("/livez", headers={"X-Request-ID": "probe-1"}).raise_for_status()
        http.get("/v1/limits")  # its line comes after those
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "line-1"]
    assert (line["level"], line["message"], line["status"]) == ("info", "request", 200)
    assert (line["method"], line["path"], line["route"]) == ("GET", WORD, ROUTES[WORD])
    assert line["dictionary"] == "tiny@1"
    assert line["bytes"] > 0
    assert line["milliseconds"] > 0
    assert "hot" not in json.dumps(line)  # what was asked is not kept
    assert "probe-1" not in service.log.read_text()  # a probe that is answered is no news


def test_a_record_made_in_the_course_of_a_request_has_its_id() -> None:
    record = logging.LogRecord("sensedict.service", logging.WARNING, __file__, 1, "the disk is %s", ("full",), None)
    token = current.set(Work("r-1"))
    try:
        assert json.loads(JsonLines().format(record))["request_id"] == "r-1"
        plain = PlainLines().format(record)
    finally:
        current.reset(token)
    assert plain.endswith("warning the disk is full request_id=r-1")
    vars(record)["path"] = "/a\n00:00:00 info    forged\x1b[2J"
    assert PlainLines().format(record).isprintable()
    assert "request_id" not in json.loads(JsonLines().format(record))
