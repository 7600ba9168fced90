"""`sensedict doctor` finds what is wrong, each mistake made for real."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from conftest import Published
from running_service import SENSEDICT, environment_of
from sensedict_server import schema
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.doctor import contents, database, machine
from sensedict_server.doctor.command import examine
from sensedict_server.doctor.findings import Finding, Scene
from sensedict_server.settings import Settings
from small_disk import small_disk


def doctor(settings: Settings, *options: str) -> tuple[int, dict[str, Finding]]:
    """Exit status, and the worst finding of each check."""
    done = subprocess.run(
        [*SENSEDICT, "doctor", "--json", *options],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, worst(Finding(**found) for found in json.loads(done.stdout))


def worst(found: Iterator[Finding]) -> dict[str, Finding]:
    by_check: dict[str, Finding] = {}
    for finding in found:
        held = by_check.get(finding.check)
        if held is None or held.level == "ok" or finding.level == "error":
            by_check[finding.check] = finding
    return by_check


@contextmanager
def examined(settings: Settings, monkeypatch: pytest.MonkeyPatch, workers: int = 1) -> Iterator[dict[str, Finding]]:
    """The worst finding of each check, in this process."""
    with monkeypatch.context() as patched:
        for name, value in environment_of(settings).items():
            patched.setenv(name, value)
        yield worst(examine(workers))


def test_all_is_well(published: Published) -> None:
    status, found = doctor(published.settings)
    assert status == 0
    checks = [check.__name__.replace("_", " ") for check in (*machine.MACHINE, *database.SERVER, *contents.CONTENTS)]
    assert list(found) == [*checks[: len(machine.MACHINE)], "database", *checks[len(machine.MACHINE) :]]
    wrong = [finding for name, finding in found.items() if finding.level != "ok" and name not in ("disk", "packages")]
    assert wrong == []


def test_a_database_that_cannot_be_reached(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    url = published.settings.database_url
    assert url is not None
    for wrong, told in (
        (url.set(database="nowhere"), "create it on the server"),
        (url.set(username="nobody"), "create it on the server"),
        (url.set(query={}, host="127.0.0.1", port=1), "start PostgreSQL"),
        (url.set(query={}, host="no.such.host.invalid"), "correct the host's name"),
    ):
        with examined(replace(published.settings, database_url=wrong), monkeypatch) as found:
            assert found["database"].level == "error"
            assert told in found["database"].fix, found["database"]
            assert "migration" not in found


def test_a_database_in_a_bad_state(
    database: Engine, settings: Settings, tiny_draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One mistake after the other, in one database."""
    publish(database, settings.files, tiny_draft)
    place = settings.files / "tiny@1"
    (settings.files / "other@1").mkdir()
    whole = (place / "vectors.safetensors").read_bytes()
    (place / "vectors.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with database.begin() as connection:
        connection.execute(_STALLED)
        connection.execute(_STALE)
        connection.execute(_BROKEN)
        connection.execute(_EXPIRING)
    with examined(replace(settings, pool_size=1000), monkeypatch, workers=2) as found:
        expect(found, "file sets", "error", "sha256", "sensedict files write tiny@1")
        expect(found, "builds", "warning", "of made@1 runs", "sensedict worker")
        expect(found, "workers", "warning", "1 of 1 workers")
        expect(found, "keys", "warning", "the key nearly expires on", "then revoke nearly")
        expect(found, "indexes", "error", "ix_tokens_folded is invalid", "REINDEX")
        expect(found, "connections", "error", "2 processes open up to 2008", "SENSEDICT_POOL_SIZE=")
    (place / "vectors.safetensors").write_bytes(whole)
    (place / "manifest.json").write_text(
        (place / "manifest.json").read_text().replace('"content_hash": "', '"content_hash": "0')
    )
    with examined(settings, monkeypatch) as found:
        expect(found, "file sets", "warning", "of another dictionary", "replaces it")


def test_a_role_that_may_not_read(database: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    role = f"poor_{os.getpid()}"
    with database.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    try:
        url = database.url.set(username=role)
        with examined(replace(settings, database_url=url), monkeypatch) as found:
            expect(found, "rights", "error", f"the role {role} may not read", "GRANT SELECT ON")
    finally:
        with database.begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))


def test_schemas_of_other_versions(database: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with examined(settings, monkeypatch) as found:
        expect(found, "dictionaries", "warning", "no dictionary is published", "sensedict build")
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with examined(settings, monkeypatch) as found:
        expect(found, "migration", "error", "of a newer one", "install the newer")
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    with examined(settings, monkeypatch) as found:
        expect(found, "migration", "error", f"needs {schema.head()}", "sensedict migrate")
        assert "dictionaries" not in found


def test_a_server_without_pgvector(database: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database.url.set(database="template1")
    with examined(replace(settings, database_url=url), monkeypatch) as found:
        expect(found, "pgvector", "error", "is not made in this database", "sensedict migrate")
        expect(found, "migration", "error", "the schema is empty", "sensedict migrate")


def test_a_machine_in_a_bad_state(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        scene = Scene(Settings(home=disk, database_url=create_engine("postgresql+psycopg://").url), 1)
        expect(worst(machine.disk(scene)), "disk", "error", "0 MiB are free")
        for number in range(64):
            (disk / str(number)).touch() if number else (disk / "0").write_bytes(b"x" * 60_000)
    own = Scene(Settings(home=tmp_path), 1)
    expect(worst(machine.embedded_server(own)), "embedded server", "warning", "there is none")
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    (tmp_path / "postgres" / "postmaster.pid").write_text("1\n")
    expect(worst(machine.embedded_server(own)), "embedded server", "warning", "of a server that was killed", "recovers")


def test_settings_that_are_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSEDICT_LOG_LEVEL", "loud")
    assert worst(examine(1)).keys() == {"settings"}


def expect(found: dict[str, Finding], check: str, level: str, told: str, fix: str = "") -> None:
    assert found[check].level == level, found[check]
    assert told in found[check].told
    assert fix in found[check].fix


_STALLED = text(
    "INSERT INTO builds (name, version, settings, store, created_at) "
    "VALUES ('made', '1', '{}', '/nowhere', now() - interval '1 day')"
)
_EXPIRING = text(
    "INSERT INTO api_keys (name, scope, hash, prefix, expires_at) "
    "VALUES ('nearly', 'read', sha256('x'), 'x', now() + interval '1 day')"
)
_BROKEN = text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_tokens_folded'::regclass")
_STALE = text("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 day')")
