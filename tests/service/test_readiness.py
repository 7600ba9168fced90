"""What /readyz looks at, and what the database's refusals become."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

from running_service import running_service
from sensedict import wire
from sensedict.errors import Unavailable
from sensedict_server import readiness
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.settings import Settings
from service_problems import expect_problem
from small_disk import small_disk


def test_each_check_is_named(database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path) -> None:
    publish(database, settings.files, tiny_draft)
    with running_service(settings, tmp_path / "log") as service, httpx.Client(base_url=service.url) as http:
        assert http.get("/readyz").status_code == 200
        with database.begin() as connection:
            connection.execute(text("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"))
        problem = expect_problem(http.get("/readyz"), 503, "unavailable", "pgvector is 0.7.4, 0.8 or newer is needed")
        assert [fault.pointer for fault in problem.errors] == ["/pgvector"]
        with database.begin() as connection:
            connection.execute(text("UPDATE pg_extension SET extversion = '0.8.1' WHERE extname = 'vector'"))
        ready = wire.Health.model_validate_json(http.get("/readyz").raise_for_status().content)
        assert ready.pgvector == "0.8.1"
        assert "before 0.8.2" in ready.warnings[0]
        with database.connect() as holding:
            holding.execute(text("LOCK TABLE dictionaries IN ACCESS EXCLUSIVE MODE"))
            assert http.get("/livez").status_code == 200
            problem = expect_problem(http.get("/readyz", timeout=30), 503, "unavailable")
            assert [fault.pointer for fault in problem.errors] == ["/database"]
            assert "sensedict_database_up 0.0" in http.get("/metrics", timeout=30).text
        assert http.get("/readyz").status_code == 200
        with database.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
        problem = expect_problem(http.get("/readyz"), 503, "unavailable", "run `sensedict migrate`")
        assert [fault.pointer for fault in problem.errors] == ["/migration"]


def test_file_sets_are_here_or_can_be_written(
    database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path
) -> None:
    publish(database, settings.files, tiny_draft)
    _, faults = readiness.examine(database, tmp_path / "elsewhere")  # to be written
    assert faults == []
    with small_disk(tmp_path / "disk", "4k") as disk:
        (disk / "full").write_bytes(b"x" * 4096)
        _, faults = readiness.examine(database, disk)
        assert [fault.pointer for fault in faults] == ["/files"]
        assert "tiny@1" in faults[0].detail
        assert str(tmp_path) not in faults[0].detail
    vectors = settings.files / "tiny@1" / "vectors.safetensors"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    _, faults = readiness.examine(database, settings.files)
    assert [fault.pointer for fault in faults] == ["/files"]
    assert "is damaged" in faults[0].detail
    assert str(tmp_path) not in faults[0].detail


def test_a_disk_that_is_full(database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path) -> None:
    """Bulk requests say so until there is room, with no restart; what the database answers is answered."""
    publish(database, settings.files, tiny_draft)
    with small_disk(tmp_path / "disk", "256k") as disk:
        (disk / "full").write_bytes(b"x" * (252 * 1024))
        with (
            running_service(replace(settings, home=disk), tmp_path / "log") as service,
            httpx.Client(base_url=service.url, timeout=20) as http,
        ):
            for _ in range(2):
                answer = http.post("/v1/dictionaries/tiny@1:getSenses", json={"ids": [1]})
                expect_problem(answer, 503, "unavailable", "the service's disk is full")
                assert answer.headers["retry-after"] == "60"
            assert http.get("/v1/dictionaries/tiny@1/senses?word=hot").status_code == 200
            assert list(disk.glob("files/.*new*")) == []
            (disk / "full").unlink()
            assert http.post("/v1/dictionaries/tiny@1:getSenses", json={"ids": [1]}).status_code == 200


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SET TRANSACTION READ ONLY; DELETE FROM aliases", "takes no changes now"),
        ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(10)", "took longer than it allows"),
        ("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$", "what another change holds"),
        ("DO $$ BEGIN RAISE SQLSTATE '53200'; END $$", "no memory left"),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", "disk is full"),
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", "max_connections"),
    ],
)
def test_what_the_database_cannot_do_now(database: Engine, statement: str, told: str) -> None:
    with database.connect() as connection, pytest.raises(Unavailable, match=told):
        connection.execute(text(statement))
    with database.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
