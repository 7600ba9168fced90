"""Builds as jobs: opened, attached to, cancelled, failed, taken over from the dead. Their stages are the test's own."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, text

from made_builds import BUILD, CONTENT, STAGES, Made, Silent, log, queue, start, state
from own_server import own_server
from sensedict.errors import Conflict, InvalidInput, JobNotFound, Unavailable
from sensedict_server import embedded, patience
from sensedict_server.build import observers, shard_queue, worker
from sensedict_server.build.jobs import advance, cancel_build
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.observers import Bars, Lines
from sensedict_server.build.opening import open_build
from sensedict_server.build.stages import LostShard, Stage, Workplace
from sensedict_server.database import opened
from sensedict_server.queries.builds import Shard
from sensedict_server.queries.queue import drop_job
from sensedict_server.settings import Settings
from until import until


def test_a_build_goes_through_its_stages(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    assert (build.ref, build.state, build.content) == ("tiny@1", "running", CONTENT)
    assert start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert made.runs == [shard for shards in STAGES.values() for shard in shards]
    assert set(Manifest(database, build.id).shards()) == set(made.runs)
    assert queue(database) == []


def test_three_workers_share_a_build(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    made.pause = 0.02
    build = open_build(database, BUILD, CONTENT, store)
    with ThreadPoolExecutor(3) as threads:
        ends = [threads.submit(start(database, tmp_path).work_until_done) for _ in range(3)]
        assert all(end.result() for end in ends)
    assert sorted(made.runs) == sorted(shard for shards in STAGES.values() for shard in shards)
    assert state(database, build.id) == ("published", None)
    assert queue(database) == []


def test_opening_a_build_that_runs(database: Engine, store: str) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    assert open_build(database, replace(BUILD, device="cuda"), CONTENT, store).id == build.id
    with pytest.raises(Conflict, match=rf"other settings \(k 10 there, 4 now\): `sensedict jobs cancel {build.id}`"):
        open_build(database, BUILD, {**CONTENT, "k": 4}, store)
    assert open_build(database, BUILD, None, store).id == build.id
    with pytest.raises(Conflict, match="cap 2000 there, 60 now"):
        open_build(database, replace(BUILD, cap=60), None, store)
    with pytest.raises(Conflict, match=f"tiny@1 is being built in {store}"):
        open_build(database, BUILD, CONTENT, store, fresh=True)
    assert queue(database) == ["plan"]


def test_many_open_a_build_at_once(database: Engine, store: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        opens = [threads.submit(open_build, database, BUILD, CONTENT, store) for _ in range(8)]
        assert len({opening.result().id for opening in opens}) == 1
    assert queue(database) == ["plan"]


def test_a_cancelled_build_stops_within_a_batch_and_goes_on(
    database: Engine, made: Made, store: str, tmp_path: Path
) -> None:
    made.batches, made.pause = 1000, 0.02
    made.before = dict.fromkeys(["plan", "harvest/0/000000"], lambda _: setattr(made, "batches", 2))
    made.before["harvest/0/000001"] = lambda _: setattr(made, "batches", 1000)
    build = open_build(database, BUILD, CONTENT, store)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(start(database, tmp_path, build.id).work_until_done)
        until(lambda: "harvest/0/000001" in made.runs)
        assert cancel_build(database, build.id).state == "cancelled"
        working.result(timeout=60)
    assert state(database, build.id) == ("cancelled", None)
    assert set(Manifest(database, build.id).shards()) == {"plan", "harvest/0/000000"}
    assert queue(database) == []
    made.batches, made.before = 2, {}
    again = open_build(database, BUILD, CONTENT, store)
    assert (again.id, again.state, again.finished_at) == (build.id, "running", None)
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert made.runs.count("harvest/0/000000") == 1
    with pytest.raises(Conflict, match="is published: only a running one"):
        cancel_build(database, build.id)
    with pytest.raises(JobNotFound, match="there is no job 12345"):
        cancel_build(database, 12345)


def test_a_failed_build_keeps_its_error_and_leaves_no_job(
    database: Engine, made: Made, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Workplace) -> None:
        raise InvalidInput("window 3 holds NaN")

    said: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda _, build, line: said.append(line))
    made.before["harvest/0/000001"] = fail
    build = open_build(database, BUILD, CONTENT, store)
    at_work = start(database, tmp_path, build.id)
    assert at_work.work_until_done()
    assert state(database, build.id) == ("failed", "window 3 holds NaN")
    assert isinstance(at_work.failures[build.id], InvalidInput)
    assert "harvest/0/000001 failed: window 3 holds NaN" in log(database, build.id)
    assert queue(database) == []
    assert said == []  # whoever builds in line is given the error itself
    assert open_build(database, BUILD, CONTENT, store).id == build.id
    start(database, tmp_path).work_until_done()
    assert said == ["harvest/0/000001 failed: window 3 holds NaN"]
    made.before.clear()
    assert open_build(database, BUILD, CONTENT, store).id == build.id
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)


@pytest.mark.parametrize("error", [RuntimeError("out of order"), ConnectionError("reset")])
def test_an_error_of_a_build_that_was_cancelled_meanwhile_is_no_news(
    database: Engine, made: Made, store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """It neither fails nor is tried again, and nobody says so."""

    def cancelled(_: Workplace) -> None:
        cancel_build(database, build.id)
        raise error

    made.before["plan"] = cancelled
    build = open_build(database, BUILD, CONTENT, store)
    at_work = start(database, tmp_path, build.id)
    assert at_work.work_until_done()
    assert state(database, build.id) == ("cancelled", None)
    assert (log(database, build.id), caplog.text, at_work.failures) == ([], "", {})
    assert queue(database) == []


def test_what_passes_is_tried_again_and_not_for_ever(
    database: Engine, made: Made, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_queue, "LONGEST_WAIT", 0)
    errors: list[Exception] = [TimeoutError(), Unavailable("the store is away"), ConnectionError("reset")]

    def pass_by(_: Workplace) -> None:
        if errors:
            raise errors.pop()

    made.before["cluster/0/000000"] = pass_by
    first = open_build(database, BUILD, CONTENT, store)
    start(database, tmp_path, first.id).work_until_done()
    assert state(database, first.id) == ("published", None)
    assert made.runs.count("cluster/0/000000") == 4
    assert any("cluster/0/000000 is tried again: ConnectionError; the log" in line for line in log(database, first.id))

    def away(_: Workplace) -> None:
        raise Unavailable("the store is away")

    made.before["cluster/0/000000"] = away
    second = open_build(database, replace(BUILD, version="2"), {**CONTENT, "k": 4}, store)
    start(database, tmp_path, second.id).work_until_done()
    assert state(database, second.id) == ("failed", "the store is away")
    assert made.runs.count("cluster/0/000000") == 4 + worker.TRIES
    assert queue(database) == []


def test_a_lost_shard_is_made_again(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    losses = iter(["harvest/0/000001"])

    def read(workplace: Workplace) -> None:
        for name in losses:
            workplace.manifest.lose(workplace.made[name])
            raise LostShard(f"{name} is damaged", name)

    made.before["cluster/0/000001"] = read
    build = open_build(database, BUILD, CONTENT, store)
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert made.runs[-4:] == ["cluster/0/000001", "harvest/0/000001", "cluster/0/000001", "publish"]


def test_jobs_of_the_dead_and_of_lost_answers_are_taken(
    database: Engine, made: Made, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker has been silent for a minute; and a job is said to be this worker's, which knows nothing of it."""
    monkeypatch.setattr(shard_queue, "LOOK", 0.1)
    build = open_build(database, BUILD, CONTENT, store)
    dead = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '60 s') RETURNING id"
    take = "SELECT args->>'shard' FROM procrastinate_fetch_job_v2(NULL, :worker)"
    with database.begin() as connection:
        worker_id = connection.execute(text(dead)).scalar_one()
        assert connection.execute(text(take), {"worker": worker_id}).scalar_one() == "plan"

    def lose_answer(workplace: Workplace) -> None:
        own = "SELECT worker_id FROM procrastinate_jobs WHERE status = 'doing'"
        with database.begin() as connection:
            own_id = connection.execute(text(own)).scalar_one()
            connection.execute(text(take), {"worker": own_id})

    made.before["harvest/0/000000"] = lose_answer
    made.pause = 0.2
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert log(database, build.id) == [
        "plan: its worker fell silent, it is made again",
        "harvest/0/000001: the database's answer was lost, it is made again",
    ]
    assert queue(database) == []


def test_a_job_that_its_worker_ends_at_that_moment_is_out_already(database: Engine, store: str) -> None:
    """The worker was silent, and is not dead."""
    open_build(database, BUILD, CONTENT, store)
    take = "UPDATE procrastinate_jobs SET status = 'doing' RETURNING id"
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    with database.begin() as connection:
        job = connection.execute(text(take)).scalar_one()

    def drop() -> bool:
        with database.begin() as connection:
            return drop_job(connection, job)

    with ThreadPoolExecutor() as threads, database.connect() as ending, database.connect() as looking:
        ending.execute(text("SELECT procrastinate_finish_job_v1(:job, 'succeeded', true)"), {"job": job})
        dropping = threads.submit(drop)
        until(lambda: looking.execute(waits).scalar_one())
        ending.commit()
        assert not dropping.result()
    assert queue(database) == []


def test_a_worker_that_was_struck_off_registers_anew(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    """As a laptop that slept finds it."""

    def strike_off(_: Workplace) -> None:
        with database.begin() as connection:
            connection.execute(text("DELETE FROM procrastinate_workers"))

    made.before = dict.fromkeys(["plan", "harvest/0/000001", "publish"], strike_off)
    build = open_build(database, BUILD, CONTENT, store)
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert queue(database) == []


def test_a_job_that_got_lost_is_found_again(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    """The queue is a hint: without it the manifest says what is missing."""
    build = open_build(database, BUILD, CONTENT, store)

    def clear(_: Workplace) -> None:
        with database.begin() as connection:
            connection.execute(text("DELETE FROM procrastinate_jobs WHERE status = 'todo'"))

    made.before["harvest/0/000000"] = clear
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert len(made.runs) == len(set(made.runs))
    with database.begin() as connection:
        connection.execute(text("UPDATE builds SET state = 'running', finished_at = NULL"))
    advance(database, build.id, [])  # published in the manifest, and its worker died before it could say so
    assert state(database, build.id) == ("published", None)


def test_shards_that_two_builds_have_in_common_are_made_once(
    database: Engine, made: Made, store: str, tmp_path: Path
) -> None:
    first = open_build(database, BUILD, CONTENT, store)
    start(database, tmp_path, first.id).work_until_done()
    second = open_build(database, replace(BUILD, version="2"), {**CONTENT, "lexicon": "other@1"}, store)
    start(database, tmp_path, second.id).work_until_done()
    assert state(database, second.id) == ("published", None)
    assert made.runs.count("plan") == made.runs.count("cluster/0/000001") == 1
    assert made.runs.count("publish") == 2
    elsewhere = open_build(database, replace(BUILD, version="3"), CONTENT, f"{store}-other")
    other = open_build(database, replace(BUILD, version="4"), {**CONTENT, "k": 4}, store)
    assert Manifest(database, elsewhere.id).shards() == Manifest(database, other.id).shards() == {}
    for build in (elsewhere, other):
        cancel_build(database, build.id)
    files = {path.name for path in Path(store).rglob("*.safetensors")}
    (Path(store) / "thesis.txt").write_text("do not remove")
    fresh = open_build(database, replace(BUILD, version="5"), CONTENT, store, fresh=True)
    assert Manifest(database, fresh.id).shards() == {}
    assert files
    assert [path.name for path in Path(store).rglob("*") if path.is_file()] == ["thesis.txt"]


@contextmanager
def terminating(engine: Engine) -> Iterator[None]:
    """Ends every connection of the database again and again, less and less often: who is slow comes through too."""
    done = threading.Event()
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def terminate() -> None:
        pause = 0.15
        while not done.wait(pause):
            pause *= 1.05
            with engine.connect() as connection:
                connection.execute(end)

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_connections_that_are_ended_again_and_again(
    database: Engine, settings: Settings, made: Made, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_queue, "LOOK", 0.3)
    made.pause = 0.1
    build = open_build(database, BUILD, CONTENT, store)
    with opened(settings) as other, terminating(other):
        assert start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)


def test_a_database_that_fails_over(made: Made, store: str, tmp_path: Path) -> None:
    """Its server is stopped at once in the middle of a shard, and started again while the shard is to be registered."""
    with own_server() as settings, opened(settings) as database:
        starts = threading.Timer(1, embedded.start, [settings.embedded])

        def fail_over(_: Workplace) -> None:
            embedded.stop(settings.embedded)
            starts.start()

        made.before["harvest/0/000001"] = fail_over
        build = open_build(database, BUILD, CONTENT, store)
        assert start(database, tmp_path, build.id).work_until_done()
        starts.join()
        assert state(database, build.id) == ("published", None)
        assert len(made.runs) == len(set(made.runs))


def test_a_database_that_stays_away(
    made: Made,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Heartbeat, shard and what gives it back wait together as long as one, and leave nothing but one error."""
    monkeypatch.setattr(patience, "PATIENCE", 1.0)
    monkeypatch.setattr(shard_queue, "HEARTBEAT", 0.1)

    def stop(workplace: Workplace) -> None:
        embedded.stop(settings.embedded)
        with pytest.raises(Unavailable):
            workplace.manifest.shards()
        raise Unavailable("the database is away")

    with own_server() as settings, opened(settings) as database:
        made.before["harvest/0/000001"] = stop
        build = open_build(database, BUILD, CONTENT, store)
        with pytest.raises(Unavailable, match="the database cannot be reached"):
            start(database, tmp_path, build.id).work_until_done()
        gc.collect()
        assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def test_patience_that_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when the minute is over tries once; when the database is back, all wait anew."""
    monkeypatch.setattr(patience, "PATIENCE", 1.0)  # more than two tries take
    tries: list[bool] = []

    @patience.patient
    def ask(away: int) -> None:
        tries.append(len(tries) < away)
        if tries[-1]:
            raise Unavailable("the database is away")

    @patience.patient
    def interrupted() -> None:
        raise KeyboardInterrupt

    def count(away: int) -> int:
        tries.clear()
        with suppress(Unavailable):
            ask(away)
        return len(tries)

    with patience.shared_patience():
        assert count(1000) > 1
        assert count(1000) == 1
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert count(1000) == 1
        assert count(0) == 1
        assert count(2) == 3
    assert count(2) == 3


def test_lines_say_what_was_read(database: Engine, store: str) -> None:
    lines: list[str] = []
    build = open_build(database, BUILD, CONTENT, store)
    watching = Lines(lines.append)
    for size, made in ((0, True), (5000, True), (0, False)):
        watching.begin(build, Stage("plan", {"plan": size}, "tokens"), "plan")
        watching.advance(1000)
        watching.advance(234)
        watching.end(made)
    named = f"job {build.id} tiny@1: plan"
    assert [line.rpartition(", ")[0] for line in lines] == [
        f"{named}, 1,234 tokens",
        f"{named}, 5,000 tokens",
        f"{named}, given back",
    ]


def test_lines_in_place_of_a_bar_where_there_is_no_terminal(
    database: Engine, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    build = open_build(database, BUILD, CONTENT, store)
    bars = Bars(database, lines.append)
    for stage, made in (("plan", True), ("plan", False), ("harvest/0", True)):
        bars.begin(build, Stage(stage, {"0": 1_500, "1": 500}, "tokens"), "0")
        bars.advance(1)
        bars.say(build, "1 token")
        bars.end(made)
    assert lines == ["1 token", "plan: 0 of 2,000 tokens", "1 token", "1 token", "harvest: 0 of 2,000 tokens"]
    bars.close()
    assert capsys.readouterr().err == ""


def test_how_long_the_rest_of_a_stage_takes(database: Engine, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, size: int) -> None:
        Manifest(database, build.id).add(Shard(name, f"{name}.safetensors", 1, "", size, 0.1, "host:1"))

    clock = SimpleNamespace(monotonic=lambda: 100.0)  # of the watching alone: a minute and a half is not waited for
    monkeypatch.setattr(observers, "time", clock)
    lines: list[str] = []
    build = open_build(database, BUILD, CONTENT, store)
    made("harvest/0/0", 1000)  # before this worker came
    bars = Bars(database, lines.append)
    bars.begin(build, Stage("harvest/0", {"0": 1000, "1": 500, "2": 500}, "tokens"), "1")
    made("harvest/0/1", 500)
    clock.monotonic = lambda: 190.0
    bars.end(True)
    made("harvest/0/2", 500)
    bars.end(True)
    bars.close()
    assert lines == ["harvest: 1,500 of 2,000 tokens, 1 min 30 s left", "harvest: 2,000 of 2,000 tokens"]
