"""The database down at the start, going away in the middle, and coming back; a service that is killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, text

from own_server import own_server
from running_service import running_service
from sensedict.client import SenseClient
from sensedict.errors import Unavailable
from sensedict_server import embedded, files
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from service_problems import expect_problem
from tiny_dictionary import insert_lexicon, make_draft
from until import until

WORD = "/v1/dictionaries/tiny@1/senses?word=hot"
LATEST = "/v1/dictionaries/tiny@latest:getSenses"
BULK = "/v1/dictionaries/tiny@1:getSenses"


@pytest.fixture
def stoppable() -> Iterator[Settings]:
    """`tiny@1` in an embedded server of this test's own, which it may stop and start."""
    with own_server() as made:
        with opened(made) as database:
            publish(database, made.files, make_draft(*insert_lexicon(database)))
        yield made


def expect_unavailable(answer: httpx.Response) -> None:
    problem = expect_problem(answer, 503, "unavailable", "the database cannot be reached")
    told = (problem.detail, *(fault.detail for fault in problem.errors))
    assert not any("connection" in text or "/" in text for text in told)  # where it is, the log says
    assert answer.headers["retry-after"] == "1"


def test_a_database_that_is_down_at_the_start_and_later(stoppable: Settings, tmp_path: Path) -> None:
    embedded.stop(stoppable.embedded)
    log = tmp_path / "log"
    with running_service(stoppable, log) as service, httpx.Client(base_url=service.url, timeout=20) as http:
        assert "the database cannot be reached" in log.read_text()
        assert http.get("/livez").status_code == 200
        for path in ("/readyz", "/v1/dictionaries", WORD):
            expect_unavailable(http.get(path))
        expect_unavailable(http.post(BULK, json={"ids": [1]}))  # it never saw this version

        embedded.start(stoppable.embedded)
        assert http.get("/readyz").status_code == 200
        assert http.get(WORD).status_code == 200
        vectors = http.post(BULK, json={"ids": [1]}).raise_for_status().json()

        embedded.stop(stoppable.embedded)
        expect_unavailable(http.get(WORD))
        expect_unavailable(http.get("/readyz"))
        assert http.post(BULK, json={"ids": [1]}).json() == vectors  # answered from the file set
        expect_unavailable(http.post(LATEST, json={"ids": [1]}))  # where an alias stands only the database knows
        assert http.get("/livez").status_code == 200

        embedded.start(stoppable.embedded)
        assert http.get(WORD).status_code == 200
        assert http.post(LATEST, json={"ids": [1]}).json() == vectors


@pytest.fixture
def tiny(database: Engine, settings: Settings, tiny_draft: Draft) -> Settings:
    """Settings of a database of this test's own with `tiny@1` published."""
    publish(database, settings.files, tiny_draft)
    return settings


def test_a_connection_lost_in_the_middle_of_a_request(database: Engine, tiny: Settings, tmp_path: Path) -> None:
    """A lock makes a request wait; then the server ends its connection."""
    ask = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    with (
        running_service(tiny, tmp_path / "log") as service,
        httpx.Client(base_url=service.url, timeout=20) as http,
        ThreadPoolExecutor() as threads,
    ):
        assert http.get(WORD).status_code == 200
        with database.connect() as holding, database.connect() as looking:
            holding.execute(text("LOCK TABLE words IN ACCESS EXCLUSIVE MODE"))
            waiting = threads.submit(http.get, WORD)
            looking = looking.execution_options(isolation_level="AUTOCOMMIT")  # statistics are those of a transaction
            pid = until(lambda: looking.execute(ask).scalar_one_or_none())
            looking.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            expect_unavailable(waiting.result())
        assert http.get(WORD).status_code == 200


def test_more_requests_than_connections_wait_their_turn(database: Engine, tiny: Settings, tmp_path: Path) -> None:
    with (
        running_service(replace(tiny, pool_size=2), tmp_path / "log") as service,
        httpx.Client(base_url=service.url, timeout=20) as http,
        ThreadPoolExecutor(16) as threads,
    ):
        answers = list(threads.map(http.get, [WORD] * 64))
        assert {answer.status_code for answer in answers} == {200}
        with database.connect() as looking:
            count = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            assert looking.execute(count).scalar_one() <= 2 + 1 + 1  # ours, and perhaps an autovacuum


def test_a_file_set_that_is_lost_is_written_anew_by_the_service(tiny: Settings, tmp_path: Path) -> None:
    before = (tiny.files / "tiny@1/vectors.safetensors").read_bytes()
    shutil.rmtree(tiny.files / "tiny@1")
    with running_service(tiny, tmp_path / "log") as service, SenseClient(service.url, "tiny") as client:
        assert len(client.get_senses(np.arange(81))) == 81
    assert (tiny.files / "tiny@1/vectors.safetensors").read_bytes() == before
    files.verify(tiny.files / "tiny@1")


@pytest.mark.parametrize("name", ["vectors.safetensors", "index.safetensors"])
def test_a_damaged_file_set_is_not_served(tiny: Settings, tmp_path: Path, name: str) -> None:
    file = tiny.files / "tiny@1" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with running_service(tiny, tmp_path / "log") as service, httpx.Client(base_url=service.url) as http:
        for _ in range(2):
            answer = http.post(BULK, json={"ids": [1]})
            expect_problem(answer, 500, "corrupt", "its log tells why")
            log = service.log.read_text()
            assert f"{name} has the sha256 " in log
            assert "`sensedict files write tiny@1` makes it anew" in log
        assert http.get(WORD).status_code == 200  # the database answers this
        shutil.rmtree(tiny.files / "tiny@1")
        assert http.post(BULK, json={"ids": [1]}).status_code == 200  # with no restart
    assert file.read_bytes() == whole


def test_a_client_waits_for_a_service_that_is_killed(tiny: Settings, tmp_path: Path) -> None:
    with running_service(tiny, tmp_path / "log") as first:
        client = SenseClient(first.url, "tiny@1", patience=30)
        before = client.get_senses(np.arange(10))
        first.process.kill()
        first.process.wait()
        port = int(first.url.rpartition(":")[2])
    with ThreadPoolExecutor() as threads, client:
        waiting = threads.submit(client.get_senses, np.arange(10))
        with running_service(tiny, tmp_path / "log", port):
            assert np.array_equal(waiting.result(timeout=30), before)
    with (
        SenseClient(first.url, "tiny@1", patience=0.5) as late,
        pytest.raises(Unavailable, match=rf"{first.url} does not answer .*is `sensedict serve` running there"),
    ):
        late.info()
