"""Builds over HTTP and by `sensedict jobs`: shown, started by name, cancelled, removed."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, insert, text, update
from sqlalchemy.engine import URL

from conftest import copy_of_template
from made_builds import BUILD, CONTENT, Made, start
from running_service import Service, environment_of, running_service
from sensedict import wire
from sensedict.cli import cli
from sensedict.client import SenseClient
from sensedict.errors import Conflict, Corrupt, InvalidInput, JobNotFound, Unavailable
from sensedict_server.build import jobs_command, worker
from sensedict_server.build.jobs import cancel_build
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.opening import open_build
from sensedict_server.build.publish import publish
from sensedict_server.build.stages import Workplace
from sensedict_server.build.store import Store
from sensedict_server.database import NotReached, opened
from sensedict_server.queries.builds import (
    Shard,
    builds_like,
    builds_of,
    find_build,
    in_hand,
    list_builds,
    log_of,
    made_of,
    plan_facts,
    running_build,
)
from sensedict_server.settings import Settings
from sensedict_server.tables import builds
from service_problems import expect_problem
from tiny_dictionary import insert_lexicon, make_draft

PLANS = """
[nightly]
teacher = "/secret/models/teacher"
corpus = ["/secret/text/a.txt", "datasets:wikimedia/wikipedia:20231101.en"]
lexicon = "english@1"
name = "nightly"
version = "{date}"
store = "s3://secret-bucket/shards/nightly"
threads = 2

[same]
teacher = "/secret/models/teacher"
corpus = ["/secret/text"]
lexicon = "english@1"
name = "same"
version = "1"
store = "/secret/same"

[other]
teacher = "/secret/models/teacher"
corpus = ["/secret/text"]
lexicon = "english@1"
name = "same"
version = "1"
k = 4
store = "/secret/same"

[past]
teacher = "/secret/models/teacher"
corpus = ["/secret/text"]
lexicon = "opposites@1"
name = "tiny"
version = "1"
store = "/secret/tiny"
"""
FACTS = {
    "tokens": 400,
    "generations": 1,
    "harvest": {f"harvest/0/{n:06}": {"run_tokens": 100, "stored": 60} for n in range(3)},
    "cluster": {f"cluster/0/{n:06}": {"states": 50} for n in range(2)},
    "token_files": {"harvest/0/000000": {"file": "tokens", "bytes": 7, "sha256": "0" * 64}},
}


@dataclass(frozen=True)
class Planned:
    """A service with plans, which has published `tiny@1` and built nothing."""

    service: Service
    http: httpx.Client
    database: Engine


@pytest.fixture(scope="module")
def planned(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "plans.toml").write_text(PLANS, "utf-8")
    with copy_of_template(postgres, folder / "home") as made, opened(made) as database:
        publish(database, made.files, make_draft(*insert_lexicon(database)))
        settings = replace(made, plans=folder / "plans.toml")
        with (
            running_service(settings, folder / "log") as service,
            httpx.Client(base_url=service.url) as http,
        ):
            yield Planned(service, http, database)


@pytest.fixture
def fresh(planned: Planned) -> Planned:
    """`planned`, its builds of earlier tests forgotten."""
    with planned.database.begin() as connection:
        connection.execute(text("TRUNCATE builds, procrastinate_jobs, procrastinate_workers CASCADE"))
    return planned


def add_build(database: Engine, version: str = "1", state: str = "running", **values: Any) -> int:
    usual = {"name": "tiny", "store": "memory://tiny", "settings": {"teacher": "t"}}
    made = insert(builds).values({**usual, "version": version, "state": "running", **values})
    with database.begin() as connection:
        build_id = int(connection.execute(made.returning(builds.c.id)).scalar_one())
        if state != "running":
            connection.execute(
                update(builds).where(builds.c.id == build_id).values(state=state, finished_at=builds.c.created_at)
            )
    return build_id


def shard(name: str, size: int = 10, **facts: Any) -> Shard:
    return Shard(name, f"{name}.{size}.safetensors", 100, "0" * 64, size, 0.5, "host:1", facts)


def test_builds_are_found(database: Engine) -> None:
    content = {"k": 3, "teacher": "f" * 64, "lexicon": "a@1"}
    first = add_build(database, state="failed", content=content)
    second = add_build(database, content={**content, "lexicon": "b@1"})
    other = add_build(database, version="2", state="published", content={**content, "k": 4})
    unknown = add_build(database, version="3")
    with database.connect() as connection:
        found = find_build(connection, first)
        assert found is not None
        assert (found.ref, found.state, found.settings) == ("tiny@1", "failed", {"teacher": "t"})
        running = running_build(connection, "tiny", "1")
        assert running is not None
        assert running.id == second
        assert running_build(connection, "tiny", "2") is None
        assert [build.id for build in list_builds(connection)] == [unknown, other, second, first]
        assert [build.id for build in list_builds(connection, before=unknown, limit=2)] == [other, second]
        assert [build.id for build in list_builds(connection, "running")] == [unknown, second]
        assert [build.id for build in builds_of(connection, "tiny", "1")] == [second, first]
        assert [build.id for build in builds_like(connection, content)] == [first]
        assert [build.id for build in builds_like(connection, content, ["lexicon"])] == [second, first]
        assert find_build(connection, unknown + 1) is None
        assert in_hand(connection, second) == []


def test_what_is_made_of_a_build(database: Engine) -> None:
    manifest = Manifest(database, add_build(database))
    with database.connect() as connection:
        assert plan_facts(connection, manifest.build_id) is None
        assert made_of(connection, manifest.build_id) == {}
    for name in ("plan", "harvest/0/000000", "harvest/0/000001", "cluster/0/000000", "curves/000000"):
        assert manifest.add(shard(name, size=7, generations=1))
    manifest.lose(shard("harvest/0/000001", size=7))
    for line in ("first", "second", "third"):
        manifest.log("host:1", line)
    with database.connect() as connection:
        assert plan_facts(connection, manifest.build_id) == {"generations": 1}
        made = made_of(connection, manifest.build_id)
        assert set(made) == {"plan", "harvest/0", "cluster/0", "curves"}
        harvest = made["harvest/0"]
        assert (harvest.shards, harvest.size, harvest.seconds, harvest.bytes) == (1, 7, 0.5, 100)
        last = log_of(connection, manifest.build_id, limit=2)
        assert [line.message for line in last] == ["second", "third"]
        after = log_of(connection, manifest.build_id, after=last[0].id)
        assert [line.message for line in after] == ["third"]


def test_no_builds_yet(fresh: Planned) -> None:
    assert fresh.http.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}
    expect_problem(fresh.http.get("/v1/jobs/7"), 404, "job-not-found", "there is no job 7: /v1/jobs lists")
    expect_problem(fresh.http.get(f"/v1/jobs/{2**63}"), 404, "job-not-found")
    expect_problem(fresh.http.post("/v1/jobs/7:cancel"), 404, "job-not-found")


def test_a_plan_is_started_by_its_name(fresh: Planned) -> None:
    started = fresh.http.post("/v1/jobs", json={"plan": "nightly"})
    assert started.status_code == 202, started.text
    job = wire.JobDetail.model_validate_json(started.text)
    assert started.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.name, job.state, job.plan, job.workers, job.percent) == ("nightly", "running", "nightly", 0, None)
    assert re.fullmatch(r"20\d{6}", job.version)
    assert [stage.name for stage in job.stages] == ["plan"]
    again = fresh.http.post("/v1/jobs", json={"plan": "nightly"})
    assert (again.status_code, again.headers["location"], again.json()["id"]) == (200, f"/v1/jobs/{job.id}", job.id)
    with fresh.database.connect() as connection:
        queued = connection.execute(text("SELECT queue_name, args FROM procrastinate_jobs")).all()
    assert queued == [(f"build-{job.id}", {"build_id": job.id, "shard": "plan"})]
    assert fresh.http.get(started.headers["location"]).json() == again.json()
    with fresh.database.begin() as connection:  # it was begun long ago
        connection.execute(update(builds).values(version="20200131"))
    late = fresh.http.post("/v1/jobs", json={"plan": "nightly"})
    assert (late.status_code, late.json()["id"], late.json()["version"]) == (200, job.id, "20200131")


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b'{"plan": "nosuch"}', 404, "plan-not-found", "configuration names nightly, other, past, same"),
        (b'{"plan": "nightly", "store": "/tmp"}', 422, "invalid-input", "/store: Extra inputs are not permitted"),
        (b'{"plan": "nightly", "corpus": ["/etc"]}', 422, "invalid-input", "/corpus"),
        (b"{}", 422, "invalid-input", "/plan: Field required"),
        (b'{"plan": 3}', 422, "invalid-input", "/plan"),
        (b"plan=nightly", 400, "malformed-body", "not JSON"),
        (b'{"plan": "past"}', 409, "conflict", "tiny@1 is published already"),
    ],
)
def test_nothing_but_a_plan_can_be_started(fresh: Planned, body: bytes, status: int, code: str, says: str) -> None:
    answer = fresh.http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    expect_problem(answer, status, code, says)
    assert fresh.http.get("/v1/jobs").json()["jobs"] == []


def test_the_media_type_of_a_request(fresh: Planned) -> None:
    answer = fresh.http.post("/v1/jobs", content=b"", headers={"content-type": wire.SAFETENSORS})
    expect_problem(answer, 415, "unsupported-media-type", "send application/json")


def test_no_plans_are_configured(service: Service) -> None:
    answer = httpx.post(f"{service.url}/v1/jobs", json={"plan": "nightly"})
    expect_problem(answer, 404, "plan-not-found", "set SENSEDICT_PLANS to a TOML file")


def test_plans_that_cannot_be_used_stop_the_service_at_its_start(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "plans.toml").write_text("[bad]\nk = 'many'\n", "utf-8")
    environment = environment_of(replace(settings, plans=tmp_path / "plans.toml"))
    done = CliRunner().invoke(cli, ["serve", "--port", "1"], env=environment)
    assert "[bad] k is 'many'" in str(done.exception)
    assert "[bad] teacher is missing" in str(done.exception)


def test_another_build_of_the_name_is_in_the_way(fresh: Planned) -> None:
    assert fresh.http.post("/v1/jobs", json={"plan": "same"}).status_code == 202
    answer = fresh.http.post("/v1/jobs", json={"plan": "other"})
    expect_problem(answer, 409, "conflict", "same@1 is being built from other settings (k 10 there, 4 now)")


def test_a_plan_keeps_the_threads_that_it_was_begun_with(fresh: Planned) -> None:
    """Another machine may have other cores; a plan that names threads has those."""
    job = fresh.http.post("/v1/jobs", json={"plan": "same"}).json()
    begun_elsewhere = text("""UPDATE builds SET settings = settings || '{"threads": 77}'""")
    with fresh.database.begin() as connection:
        connection.execute(begun_elsewhere)
    again = fresh.http.post("/v1/jobs", json={"plan": "same"})
    assert (again.status_code, again.json()["id"], again.json()["settings"]["threads"]) == (200, job["id"], 77)
    fresh.http.post(f"/v1/jobs/{job['id']}:cancel")
    again = fresh.http.post("/v1/jobs", json={"plan": "same"})
    assert (again.status_code, again.json()["id"], again.json()["settings"]["threads"]) == (202, job["id"], 77)
    fresh.http.post("/v1/jobs", json={"plan": "nightly"})
    with fresh.database.begin() as connection:
        connection.execute(begun_elsewhere)
    answer = fresh.http.post("/v1/jobs", json={"plan": "nightly"})
    expect_problem(answer, 409, "conflict", "(threads 77 there, 2 now)")


def test_a_build_is_cancelled_and_goes_on(fresh: Planned) -> None:
    job = fresh.http.post("/v1/jobs", json={"plan": "same"}).json()["id"]
    cancelled = fresh.http.post(f"/v1/jobs/{job}:cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert cancelled.json()["finished_at"] is not None
    assert fresh.http.post(f"/v1/jobs/{job}:cancel").json()["state"] == "cancelled"  # no news is no error
    again = fresh.http.post("/v1/jobs", json={"plan": "same"})
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, job, "running")
    failed = add_build(fresh.database, state="failed")
    expect_problem(fresh.http.post(f"/v1/jobs/{failed}:cancel"), 409, "conflict", "tiny@1, is failed")


def test_pages_of_builds(fresh: Planned) -> None:
    ids = [add_build(fresh.database, version=str(n), state="failed" if n % 2 else "running") for n in range(5)]
    newest = ids[::-1]

    def page(**asked: Any) -> dict[str, Any]:
        found: dict[str, Any] = fresh.http.get("/v1/jobs", params=asked).raise_for_status().json()
        return found

    first = page(limit=2)
    second = page(limit=2, cursor=first["next_cursor"])
    third = page(limit=2, cursor=second["next_cursor"])
    assert [job["id"] for part in (first, second, third) for job in part["jobs"]] == newest
    assert third["next_cursor"] is None
    assert [job["id"] for job in page(state="failed")["jobs"]] == newest[1::2]
    assert page(state="published")["jobs"] == []
    wrong = {"state": "failed", "cursor": first["next_cursor"]}
    expect_problem(fresh.http.get("/v1/jobs", params=wrong), 422, "invalid-input", "with the same state")
    expect_problem(fresh.http.get("/v1/jobs", params={"cursor": "x"}), 422, "invalid-input", "none of ours")
    expect_problem(fresh.http.get("/v1/jobs", params={"state": "done"}), 422, "invalid-input", "/state")
    expect_problem(fresh.http.get("/v1/jobs", params={"limit": 0}), 422, "invalid-input", "/limit")
    with SenseClient(fresh.service.url, "") as client:
        assert [job.id for job in client.jobs()] == newest
        assert [job.id for job in client.jobs("failed")] == newest[1::2]


def harvesting(database: Engine, **values: Any) -> int:
    """A build whose plan and first shards of the harvest are made, and that one worker is at."""
    build_id = add_build(database, **values)
    manifest = Manifest(database, build_id)
    manifest.add(shard("plan", size=400, **FACTS))
    for name in ("harvest/0/000000", "harvest/0/000001"):
        manifest.add(shard(name, size=100))
    with database.begin() as connection:
        for silence in ("1 second", "1 minute"):  # one works, one died
            worker = (
                "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - (:silence)::interval) RETURNING id"
            )
            job = (
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id, args) "
                "VALUES (:queue, 'make', 'doing', :worker, :args)"
            )
            values = {
                "queue": f"build-{build_id}",
                "worker": connection.execute(text(worker), {"silence": silence}).scalar_one(),
                "args": json.dumps({"build_id": build_id, "shard": f"harvest/0/of {silence}"}),
            }
            connection.execute(text(job), values)
    return build_id


def test_how_far_a_build_is(fresh: Planned) -> None:
    build_id = harvesting(fresh.database)
    job = wire.JobDetail.model_validate_json(fresh.http.get(f"/v1/jobs/{build_id}").text)
    fields = ("name", "unit", "done", "total", "shards", "shards_total")
    assert [tuple(getattr(stage, field) for field in fields) for stage in job.stages] == [
        ("plan", "tokens", 400, 400, 1, 1),
        ("harvest/0", "tokens", 200, 300, 2, 3),
        ("cluster/0", "states", 0, 100, 0, 2),
        ("publish", "files", 0, 1, 0, 1),
    ]
    assert (job.percent, job.workers) == (50.0, 1)
    assert (job.rate, job.seconds_left) == (200.0, 0.5)  # 200 tokens in 2 · 0.5 s of work, by one worker


def test_stages_of_adaptive_numbers_of_senses(fresh: Planned) -> None:
    build_id = harvesting(fresh.database, settings={"allocation": "adaptive"})
    names = [stage["name"] for stage in fresh.http.get(f"/v1/jobs/{build_id}").json()["stages"]]
    assert names == ["plan", "harvest/0", "curves/0", "allocate", "cluster/0", "publish"]


def test_folders_and_addresses_are_not_told(fresh: Planned) -> None:
    settings = {
        "teacher": "/secret/models/teacher",
        "corpus": ["/secret/text", "relative-secret/b.txt", "datasets:wikimedia/wikipedia:20231101.en"],
        "training_text": ["/secret/train.jsonl"],
    }
    error = "s3://secret-bucket/shards/harvest/0/000001.aa.safetensors is gone; in /secret/text/a.txt, line 3, and/or"
    build_id = add_build(
        fresh.database, state="failed", settings=settings, store="s3://secret-bucket/shards", error=error
    )
    manifest = Manifest(fresh.database, build_id)
    for line in (
        "relative-secret/b.txt: no such file",
        "harvest/0/000001 in 2 s",
        "published tiny@1: '/secret home/files/tiny@1'",
        "postgresql://me:secret@host/sensedict does not answer",
    ):
        manifest.log("host:1", line)
    answer = fresh.http.get(f"/v1/jobs/{build_id}")
    assert "secret" not in answer.text
    job = wire.JobDetail.model_validate_json(answer.text)
    assert job.error == "shards/harvest/0/000001.aa.safetensors is gone; in text/a.txt, line 3, and/or"
    assert job.settings["teacher"] == "teacher"
    assert job.settings["corpus"] == ["text", "b.txt", "datasets:wikimedia/wikipedia:20231101.en"]
    lines = [line.message for line in job.log]
    assert lines[:3] == ["b.txt: no such file", "harvest/0/000001 in 2 s", "published tiny@1: 'tiny@1'"]
    assert "secret" not in fresh.http.get("/v1/jobs").text


REFUSED = 'connection to server at "db.secret" (10.9.8.7), port 5432 failed: Connection refused'
AWAY = NotReached(f"the database cannot be reached: {REFUSED}")


def of_a_store() -> Exception:
    """As `store` raises it, of what a library of object stores says."""
    try:
        raise RuntimeError("Could not connect to the endpoint URL: https://minio.secret:9000")
    except RuntimeError as error:
        made = Unavailable(f"plan.aa.safetensors could not be read in 4 tries: {error}")
        made.__cause__ = error
        return made


def of_a_database(quoted: Callable[[Exception], str], cause: Exception) -> Exception:
    """As ours are raised where another is met, also without naming it as the cause."""
    try:
        try:
            raise cause
        except Exception as error:
            raise Corrupt(f"plan is damaged: {quoted(error)}") from None
    except Corrupt as error:
        return error


@pytest.mark.parametrize(
    ("error", "says", "more"),
    [
        (psycopg.OperationalError(REFUSED), "OperationalError", True),
        (AWAY, "the database cannot be reached", True),
        (of_a_database(str, AWAY), "plan is damaged: the database cannot be reached", True),
        (of_a_database(lambda _: REFUSED, AWAY), "plan is damaged: the database cannot be reached", True),
        (of_a_database(str, psycopg.OperationalError(REFUSED)), "plan is damaged: OperationalError", True),
        (of_a_store(), "plan.aa.safetensors could not be read in 4 tries: RuntimeError", True),
        (OSError(errno.ENOSPC, "full", "/secret/a b/x.parquet"), "OSError: No space left on device, x.parquet", True),
        (InvalidInput("window 3 holds NaN"), "window 3 holds NaN", False),
    ],
)
def test_hosts_and_folders_of_foreign_errors_are_for_the_log(
    fresh: Planned,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    says: str,
    more: bool,
) -> None:
    monkeypatch.setattr(worker, "TRIES", 1)

    def fail(_: Workplace) -> None:
        raise error

    made.before["plan"] = fail
    build = open_build(fresh.database, BUILD, CONTENT, str(tmp_path / "store"))
    start(fresh.database, tmp_path).work_until_done()
    answer = fresh.http.get(f"/v1/jobs/{build.id}")
    assert not re.search(r"secret|10\.9|9000", answer.text)
    job = wire.JobDetail.model_validate_json(answer.text)
    tail = rf"; the log of the worker \S+:\d+ tells more under job {build.id}" if more else ""
    assert re.fullmatch(re.escape(says) + tail, job.error or "")
    assert [line.message for line in job.log][-1] == f"plan failed: {job.error}"
    assert (f"job {build.id}, tiny@1: plan" in caplog.text) == (str(error) in caplog.text) == more


def query(planned: Planned, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["query", "--server", planned.service.url, *arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_builds_of_a_service_from_the_command_line(fresh: Planned) -> None:
    assert query(fresh, "jobs") == "none\n"
    assert query(fresh, "jobs", "--state", "failed") == "none failed\n"
    build_id = harvesting(fresh.database, plan="nightly")
    (line,) = query(fresh, "jobs").splitlines()[1:]
    assert line.split()[:4] == [str(build_id), "tiny@1", "running", "nightly"]
    shown = query(fresh, "job", str(build_id))
    assert "200 of 300 tokens" in shown
    assert "50%; at harvest/0, 200 of 300 tokens; 1 worker; 200 tokens/s, 0 s of harvest/0 left" in shown
    assert json.loads(query(fresh, "job", str(build_id), "--json"))["percent"] == 50.0
    assert [job["id"] for job in json.loads(query(fresh, "jobs", "--json"))] == [build_id]
    with pytest.raises(JobNotFound, match="there is no job 999"):
        query(fresh, "job", "999")
    idle = query(fresh, "job", str(add_build(fresh.database, version="2")))
    assert "at plan, 0 of ? tokens; no worker is at it: `sensedict worker` starts one" in idle


def run(settings: Settings, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["jobs", *arguments], env=environment_of(settings))
    if done.exception is not None:
        raise done.exception
    return done.output


def test_builds_of_the_database_from_the_command_line(database: Engine, settings: Settings) -> None:
    assert run(settings) == "there is no build yet: `sensedict build` starts one\n"
    assert run(settings, "list", "--state", "failed") == "there is no build that is failed\n"
    for number in ("show", "cancel", "remove"):
        with pytest.raises(JobNotFound, match="there is no job 1: `sensedict jobs` lists"):
            run(settings, number, "1")
    build_id = str(harvesting(database, store="/somewhere/else"))
    Manifest(database, int(build_id)).log("host:1", "a line \x1b[31m of the log")
    assert run(settings) == run(settings, "list")
    shown = run(settings, "show", build_id)
    assert "█████████████░░░░░░░" in shown
    assert "host:1  a line  [31m of the log" in shown
    assert json.loads(run(settings, "show", build_id, "--json"))["id"] == int(build_id)
    assert f"cancelled job {build_id}, tiny@1" in run(settings, "cancel", build_id)
    assert "cancelled" in run(settings, "list")
    with pytest.raises(Conflict, match="is ending: a worker is still at harvest/0/of 1 second; wait for it"):
        run(settings, "remove", build_id)


def test_a_build_is_followed_until_it_ends(
    database: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = harvesting(database)
    manifest = Manifest(database, build_id)
    manifest.log("host:1", "before")

    def work() -> Iterator[None]:
        yield
        manifest.log("host:2", "meanwhile")
        manifest.add(shard("harvest/0/000002", size=100))
        yield
        cancel_build(database, build_id)
        yield

    working = work()
    monkeypatch.setattr(jobs_command.time, "sleep", lambda _: next(working))  # between two looks
    shown = run(settings, "show", str(build_id), "--follow")
    assert shown.count("before") == 1
    assert shown.count("meanwhile") == 1
    assert "at cluster/0, 0 of 100 state" in shown
    assert shown.endswith(f"job {build_id}, tiny@1, is cancelled\n")


def test_a_build_is_removed_with_its_files(database: Engine, settings: Settings, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    first = add_build(database, state="published", store=store.url)
    second = add_build(database, version="2", store=store.url)
    written = {name: store.write(name, {"x": np.zeros(8)}) for name in ("tokens", "plan", "harvest/0/000000", "alone")}
    tokens = vars(written["tokens"])

    def add(build_id: int, name: str, **facts: Any) -> None:
        stored = written[name]
        Manifest(database, build_id).add(Shard(name, stored.file, stored.bytes, stored.sha256, 1, 0.1, "host:1", facts))

    for build_id in (first, second):  # the second took the first one's plan over
        add(build_id, "plan", token_files={"harvest/0/000000": tokens})
    add(first, "harvest/0/000000")
    Manifest(database, first).add(Shard("publish", "tiny@1", 0, "", 1, 0.1, "host:1"))
    with pytest.raises(Conflict, match=rf"job {second}, tiny@2, is running: `sensedict jobs cancel {second}` first"):
        run(settings, "remove", str(second))
    size = written["harvest/0/000000"].bytes
    assert run(settings, "remove", str(first)) == f"removed job {first}, tiny@1: 1 files, {size:,} bytes\n"
    there = {name for name, stored in written.items() if store.exists(stored.file)}
    assert there == {"tokens", "plan", "alone"}
    run(settings, "cancel", str(second))
    size = written["plan"].bytes + written["tokens"].bytes
    assert run(settings, "remove", str(second)) == f"removed job {second}, tiny@2: 2 files, {size:,} bytes\n"
    assert not any(store.exists(stored.file) for stored in written.values())  # a dead attempt's file too
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM build_shards")).scalar_one() == 0
