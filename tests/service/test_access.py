"""Keys over HTTP: every route of the description without one, with one that may read, with one that may change."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.engine import URL

from conftest import copy_of_template
from running_service import Service, environment_of, running_service
from sensedict import wire
from sensedict.cli import cli
from sensedict_server import keys
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from service_problems import expect_problem

# Routes that read although their method is one that changes: a question too long for an address.
READING = {wire.CANDIDATE_SETS, wire.GET_SENSES, wire.NEAREST_SENSES}
CHANGING = {"post", "put", "patch", "delete"}
PRIVATE = {wire.USES}  # who asked is told to administrators alone


@dataclass(frozen=True)
class Locked:
    """A service that asks for keys, over an empty database, and a key of each scope."""

    service: Service
    settings: Settings
    read: str
    admin: str
    operator: str


def make_key(settings: Settings, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["keys", "create", *arguments, "--json"], env=environment_of(settings))
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["key"])


@pytest.fixture(scope="module")
def locked(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    home = tmp_path_factory.mktemp("locked")
    with copy_of_template(postgres, home) as made:
        file = home / "admin-key"
        CliRunner().invoke(cli, ["keys", "write", str(file)])
        settings = replace(made, keys="required", admin_key_file=file)
        read, admin = make_key(settings, "reader"), make_key(settings, "boss", "--scope", "admin")
        with running_service(settings, home / "log") as service:
            yield Locked(service, settings, read, admin, file.read_text().strip())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def routes(locked: Locked) -> Iterator[tuple[str, str, str]]:
    """Method, address and path of every operation under /v1."""
    described: dict[str, Any] = httpx.get(f"{locked.service.url}/openapi.json").raise_for_status().json()
    for path, operations in described["paths"].items():
        if path.startswith("/v1"):
            for method in operations:
                yield method, locked.service.url + re.sub(r"\{\w+\}", "1", path), path


def test_no_route_answers_without_a_key(locked: Locked) -> None:
    asked = list(routes(locked))
    useless = ({}, bearer("sdk_" + "x" * 43), {"Authorization": "Bearer"}, {"Authorization": "Basic eDp5"})
    assert {method for method, _, _ in asked} >= {"get", "post"}
    with httpx.Client() as http:
        for method, url, _ in asked:
            for headers in useless:
                answer = http.request(method, url, headers=headers)
                expect_problem(answer, 401, "unauthorized", "Authorization" if headers == {} else "")
                assert answer.headers["www-authenticate"] == 'Bearer realm="sensedict"'
        assert http.get(f"{locked.service.url}/v1/nosuch").status_code == 401  # nor is told what there is
        for path in ("/livez", "/readyz", "/openapi.json"):
            assert http.get(locked.service.url + path).status_code == 200


def test_a_key_that_may_read_changes_nothing(locked: Locked) -> None:
    asked = [(method, url, path) for method, url, path in routes(locked) if path not in READING]
    changing = [(method, url) for method, url, path in asked if method in CHANGING or path in PRIVATE]
    assert changing
    with httpx.Client() as http:
        for method, url in changing:
            expect_problem(http.request(method, url, headers=bearer(locked.read)), 403, "forbidden", "'reader'")
            assert http.request(method, url, headers=bearer(locked.admin)).status_code not in (401, 403)


def test_a_key_that_may_read_reads(locked: Locked) -> None:
    with httpx.Client() as http:
        for method, url, path in routes(locked):
            if method == "get" or path in READING:
                for key in (*([] if path in PRIVATE else [locked.read]), locked.admin, locked.operator):
                    assert http.request(method, url, headers=bearer(key)).status_code not in (401, 403)


def test_openapi_tells_of_keys_and_refusals(locked: Locked) -> None:
    described = httpx.get(f"{locked.service.url}/openapi.json").json()
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for method, _, path in routes(locked):
        operation = described["paths"][path][method]
        assert operation["security"] == [{"key": []}]
        assert {"401", "403", "414", "429", "503"} <= set(operation["responses"])


def test_revoked_expired_and_noted(locked: Locked) -> None:
    url = locked.service.url + wire.LIMITS
    key = make_key(locked.settings, "brief", "--expires", "1h")
    assert httpx.get(url, headers=bearer(key)).status_code == 200  # at once, though the service runs since before
    done = CliRunner().invoke(cli, ["keys", "revoke", "brief"], env=environment_of(locked.settings))
    assert "within 3 seconds" in done.output
    deadline = time.monotonic() + 60
    while httpx.get(url, headers=bearer(key)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    expect_problem(httpx.get(url, headers=bearer(key)), 401, "unauthorized", "unknown, revoked or expired")

    key = make_key(locked.settings, "brief", "--expires", "2w")  # the name is free again
    with opened(locked.settings) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE api_keys SET expires_at = now() WHERE name = 'brief' AND revoked_at IS NULL"))
    expect_problem(httpx.get(url, headers=bearer(key)), 401, "unauthorized", "expired")

    listed = CliRunner().invoke(cli, ["keys", "list"], env=environment_of(locked.settings)).output
    assert key not in listed
    assert [line.split("\t")[:2] for line in listed.splitlines()] == [
        ["reader", "read"],
        ["boss", "admin"],
        ["brief", "read"],
        ["brief", "read"],
    ]
    assert "revoked" in listed.splitlines()[2]
    assert listed.splitlines()[3].split("\t")[2:4][0] == key[: keys.SHOWN] + "…"
