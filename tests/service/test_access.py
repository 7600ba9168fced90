"""Keys over HTTP: every route of the description without one, with one that may read, with one that may change."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from conftest import Published, copy_of_template
from running_service import Service, environment_of, free_port, running_service
from sensedict import wire
from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Unauthorized, Unavailable
from sensedict_server import keys
from sensedict_server.database import one_beside, opened
from sensedict_server.exposure import decide
from sensedict_server.queries.keys import Key, list_keys
from sensedict_server.settings import Settings
from service_problems import expect_problem
from until import until

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
    until(lambda: httpx.get(url, headers=bearer(key)).status_code != 200)
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


def test_where_keys_are_needed(settings: Settings, tmp_path: Path) -> None:
    assert [decide(settings, host) for host in ("127.0.0.1", "localhost", "::1")] == ["off"] * 3
    assert [decide(settings, host) for host in ("0.0.0.0", "::", "", "192.0.2.1")] == ["required"] * 4
    assert decide(replace(settings, admin_key_file=tmp_path), "127.0.0.1") == "required"
    assert decide(replace(settings, keys="required"), "127.0.0.1") == "required"
    assert decide(replace(settings, keys="off-even-in-public"), "0.0.0.0") == "off-even-in-public"
    with pytest.raises(ConfigurationError, match="SENSEDICT_KEYS=off, and other machines reach 0"):
        decide(replace(settings, keys="off"), "0.0.0.0")

    serve = ["serve", "--host", "0.0.0.0", "--port", str(free_port())]
    done = CliRunner().invoke(cli, serve, env=environment_of(settings))
    assert isinstance(done.exception, ConfigurationError)
    assert "on 0.0.0.0 callers need a key, and there is none: `sensedict keys create" in done.exception.detail
    file = tmp_path / "key"
    file.write_text("password\n")
    done = CliRunner().invoke(cli, serve, env=environment_of(replace(settings, admin_key_file=file)))
    assert "holds no key" in str(done.exception)


def test_a_key_that_was_seen_holds_while_the_database_is_away(settings: Settings, database: Engine) -> None:
    key, later = (make_key(settings, name) for name in ("seen", "later"))

    async def work() -> None:
        ring = keys.KeyRing(one_beside(database, keys.PATIENCE))
        assert (await ring.caller(f"bearer {key}".encode())).name == "seen"  # the scheme's case does not matter
        with database.begin() as connection:
            connection.execute(text("UPDATE api_keys SET scope = 'admin', hash = sha256('x') WHERE name = 'later'"))
            connection.execute(text("ALTER TABLE api_keys RENAME TO away"))
        with pytest.raises(Unavailable, match="was not seen before"):
            await ring.caller(f"Bearer {later}x".encode())
        assert (await ring.caller(f"Bearer {key}".encode())).name == "seen"
        with database.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO api_keys"))
        for unknown in (f"{later}x", later):
            with pytest.raises(Unauthorized):
                await ring.caller(f"Bearer {unknown}".encode())
        watching = asyncio.create_task(ring.watch())
        await asyncio.sleep(0)
        watching.cancel()  # a service that stops notes what is to be noted
        await asyncio.gather(watching, return_exceptions=True)
        with database.connect() as connection:
            used = {key.name: key.last_used_at is not None for key in list_keys(connection)}
        assert used == {"seen": True, "later": False}

    asyncio.run(work())


def test_keys_are_watched_whatever_happens(
    settings: Settings, database: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw does not end the watch: a key that is revoked later is out of force."""
    key = f"Bearer {make_key(settings, 'watched')}".encode()
    monkeypatch.setattr(keys, "REFRESH", 0.01)

    def no_file_left(_connection: object) -> list[Key]:
        raise OSError(24, "Too many open files")

    async def work() -> None:
        ring = keys.KeyRing(one_beside(database, keys.PATIENCE))
        await ring.caller(key)
        watching = asyncio.create_task(ring.watch())
        with monkeypatch.context() as broken:
            broken.setattr(keys, "keys_in_force", no_file_left)
            while "Too many open files" not in caplog.text:
                await asyncio.sleep(0.01)
        with database.begin() as connection:
            connection.execute(text("UPDATE api_keys SET revoked_at = now()"))
        async with asyncio.timeout(20):
            while ring.find(key) is not None:
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(work())


def test_texts_can_be_left_out(published: Published, tmp_path: Path) -> None:
    path = "/v1/dictionaries/tiny@1/senses?word=hot"
    with running_service(replace(published.settings, contexts=False), tmp_path / "log") as quiet:
        silent = httpx.get(quiet.url + path)
        assert [sense["contexts"] for sense in silent.raise_for_status().json()["senses"]] == [[], [], []]
        assert "without-contexts" in silent.headers["etag"]
        sense = httpx.get(f"{quiet.url}/v1/dictionaries/tiny@1/senses/3").json()
        assert sense["contexts"] == []
        expect_problem(httpx.get(f"{quiet.url}/v1/dictionaries/tiny@1/snapshot"), 403, "forbidden", "CONTEXTS=off")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "a b"), "can name no key"),
        (("create", "operator"), "is what logs call the holder of SENSEDICT_ADMIN_KEY_FILE"),
        (("create", "a", "--expires", "90"), "is no time: write hours, days or weeks"),
        (("revoke", "nobody"), "no key 'nobody' is in force"),
    ],
)
def test_commands_that_cannot_be(settings: Settings, arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(cli, ["keys", *arguments], env=environment_of(settings))
    assert says in str(done.exception)


def test_a_list_of_no_keys_says_so(settings: Settings) -> None:
    done = CliRunner().invoke(cli, ["keys", "list"], env=environment_of(settings))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "`sensedict keys create NAME` makes one" in done.stderr


def test_a_name_is_taken_once(settings: Settings) -> None:
    make_key(settings, "a")
    done = CliRunner().invoke(cli, ["keys", "create", "a"], env=environment_of(settings))
    assert "there is a key 'a': revoke it first" in str(done.exception)
