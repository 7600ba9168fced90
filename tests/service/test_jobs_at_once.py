"""Builds that several processes touch at once, whose workers die, and whose stores lie in one another."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from procrastinate.jobs import Job
from sqlalchemy import Engine, text

from made_builds import BUILD, CONTENT, Made, log, queue, start, state
from sensedict.errors import Conflict, Unavailable
from sensedict_server.build import pipeline, shard_queue
from sensedict_server.build.identity import known_threads
from sensedict_server.build.jobs import DEATHS, TASK, cancel_build, fail_build, nudge, put_back, set_content
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.opening import open_build
from sensedict_server.build.places import store_place
from sensedict_server.build.remove import remove_build
from sensedict_server.build.stages import Workplace
from sensedict_server.build.store import Store
from sensedict_server.queries.builds import Build, Shard
from sensedict_server.queries.queue import note


def shard(name: str, size: int = 1) -> Shard:
    return Shard(name, f"{name}.00000000.safetensors", size, "", 1, 0.1, "host:1")


def taken_by_the_dead(database: Engine) -> Job:
    """The next job of the queue, given to a worker that has been silent for a minute."""
    silent = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '60 s') RETURNING id"
    take = "SELECT id, queue_name, args FROM procrastinate_fetch_job_v2(NULL, :worker)"
    with database.begin() as connection:
        worker_id = connection.execute(text(silent)).scalar_one()
        job = connection.execute(text(take), {"worker": worker_id}).one()
        note(connection, job.id, worker="host:7")
    arguments = {**job.args, "worker": "host:7"}
    return Job(id=job.id, queue=job.queue_name, lock=None, queueing_lock=None, task_name=TASK, task_kwargs=arguments)


def test_many_nudge_at_once(database: Engine, store: str) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    barrier = threading.Barrier(4)

    def nudge_with_all() -> None:
        barrier.wait()
        nudge(database, build.id)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(10):
            with database.begin() as connection:
                connection.execute(text("DELETE FROM procrastinate_jobs"))
            for nudged in [threads.submit(nudge_with_all) for _ in range(4)]:
                nudged.result()
            assert queue(database) == ["plan"]


def test_a_worker_whose_looks_fail(
    database: Engine, made: Made, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes is waited for; anything else ends the worker, which would otherwise never look for the dead again."""
    monkeypatch.setattr(shard_queue, "LOOK", 0.05)
    made.batches, made.pause = 1000, 0.02
    looks: list[Exception | None] = [None, Unavailable("the database is away"), None, RuntimeError("broken")]

    def look(_: Engine, build_id: int) -> None:
        if error := looks.pop(0):
            raise error

    monkeypatch.setattr(shard_queue, "nudge", look)
    build = open_build(database, BUILD, CONTENT, store)
    with pytest.raises(RuntimeError, match="broken"):
        start(database, tmp_path, build.id).work_until_done()
    assert looks == []
    assert queue(database) == ["plan"]  # given back


def test_a_shard_that_ends_its_workers_fails_its_build(database: Engine, store: str) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    for _ in range(DEATHS):
        assert state(database, build.id) == ("running", None)
        put_back(database, taken_by_the_dead(database), "host:1", died=True)
    ended, error = state(database, build.id)
    assert ended == "failed"
    assert (error or "").startswith(
        "plan was begun 5 times, and each time its worker fell silent, the last time (host:7): see"
    )
    assert log(database, build.id)[0] == "plan: its worker fell silent (host:7), it is made again"
    assert [job for job in queue(database) if not job.startswith("worker")] == []
    assert open_build(database, BUILD, CONTENT, store).id == build.id  # and its workers may die again
    put_back(database, taken_by_the_dead(database), "host:1", died=True)
    assert state(database, build.id)[0] == "running"


def test_a_job_is_put_back_once(database: Engine, store: str) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    job = taken_by_the_dead(database)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(put_back, database, job, "host:1", True) for _ in range(4)]:
            done.result()
    assert len(log(database, build.id)) == 1
    assert [each for each in queue(database) if each == "plan"] == ["plan"]


def test_a_worker_does_not_take_itself_for_dead(
    database: Engine, made: Made, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its loop stood still for longer than it may be silent, and looks for the dead before it says it lives."""
    monkeypatch.setattr(shard_queue, "LOOK", 0.1)
    made.pause = 0.3

    def fall_silent(_: Workplace) -> None:
        with database.begin() as connection:
            connection.execute(text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '60 s'"))

    def be_struck_off(_: Workplace) -> None:
        """By another worker, for a moment."""
        with database.begin() as connection:
            own = connection.execute(text("DELETE FROM procrastinate_workers RETURNING id")).scalar_one()
        time.sleep(0.4)
        back = "INSERT INTO procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (:own)"
        its = "UPDATE procrastinate_jobs SET worker_id = :own WHERE status = 'doing'"
        with database.begin() as connection:
            connection.execute(text(back), {"own": own})
            connection.execute(text(its), {"own": own})

    made.before = {"harvest/0/000000": fall_silent, "cluster/0/000001": be_struck_off}
    build = open_build(database, BUILD, CONTENT, store)
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert log(database, build.id) == []
    assert len(made.runs) == len(set(made.runs))


def test_only_tries_are_counted(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    """A job that was given back by many workers that were told to stop has not failed yet."""
    build = open_build(database, BUILD, CONTENT, store)
    with database.begin() as connection:
        connection.execute(text("UPDATE procrastinate_jobs SET attempts = 100"))
    errors = [Unavailable("the store is away")]

    def pass_by(_: Workplace) -> None:
        with database.begin() as connection:  # not half a minute later
            connection.execute(text("UPDATE procrastinate_jobs SET attempts = 0"))
        for error in errors:
            errors.remove(error)
            raise error

    made.before["plan"] = pass_by
    shard_queue_waits, shard_queue.LONGEST_WAIT = shard_queue.LONGEST_WAIT, 0
    try:
        start(database, tmp_path, build.id).work_until_done()
    finally:
        shard_queue.LONGEST_WAIT = shard_queue_waits
    assert state(database, build.id) == ("published", None)


def test_a_job_of_the_dead_that_was_cancelled_meanwhile(
    database: Engine, made: Made, store: str, tmp_path: Path
) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    taken_by_the_dead(database)
    cancel_build(database, build.id)
    open_build(database, BUILD, CONTENT, store)
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert queue(database) == []


def test_jobs_that_ended_and_stayed_are_taken_out(database: Engine, made: Made, store: str, tmp_path: Path) -> None:
    build = open_build(database, BUILD, CONTENT, store)

    def leave(_: Workplace) -> None:
        left = "UPDATE procrastinate_jobs SET status = 'failed' WHERE args->>'shard' = 'harvest/0/000002'"
        with database.begin() as connection:
            connection.execute(text(left))

    made.before["harvest/0/000000"] = leave
    start(database, tmp_path, build.id).work_until_done()
    assert state(database, build.id) == ("published", None)
    assert queue(database) == []


@pytest.mark.parametrize("inner", ["", "/inner"])
def test_a_store_in_which_a_build_runs_is_not_cleared(database: Engine, store: str, inner: str) -> None:
    build = open_build(database, BUILD, CONTENT, store + inner)
    written = Store(store + inner).write("plan", {})
    with pytest.raises(Conflict, match=f"tiny@1 is being built in {store}{inner}: "):
        open_build(database, replace(BUILD, version="2"), {**CONTENT, "k": 4}, store, fresh=True)
    assert (Path(store + inner) / written.file).exists()
    Manifest(database, build.id).add(shard("plan"))
    cancel_build(database, build.id)
    open_build(database, replace(BUILD, version="2"), {**CONTENT, "k": 4}, store, fresh=True)
    assert not (Path(store + inner) / written.file).exists()
    assert Manifest(database, build.id).shards() == {}


def test_what_is_being_removed_is_not_taken_over(database: Engine, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_build(database, BUILD, CONTENT, store)
    Manifest(database, first.id).add(shard("plan"))
    cancel_build(database, first.id)
    opens: list[Future[Build]] = []
    remove = Store.remove

    def slow_remove(of: Store, file: str) -> None:
        opens.append(threads.submit(open_build, database, replace(BUILD, version="2"), CONTENT, store))
        wait(opens, timeout=0.5)
        remove(of, file)

    monkeypatch.setattr(Store, "remove", slow_remove)
    with ThreadPoolExecutor(1) as threads:
        remove_build(database, first.id)
    assert Manifest(database, opens[0].result().id).shards() == {}


def test_publishing_leaves_no_file_to_remove(database: Engine, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = open_build(database, BUILD, CONTENT, store)
    Manifest(database, build.id).add(Shard("publish", build.ref, 7000, "", 1, 0.1, "host:1"))
    cancel_build(database, build.id)
    removed = remove_build(database, build.id)
    assert (removed.files, removed.bytes) == (0, 0)
    with pytest.raises(Conflict, match=f"job {build.id}, tiny@1, was removed: the same command begins it anew"):
        pipeline._result(database, build, start(database, Path(store)))


def test_a_build_without_shards_looks_at_its_text_again(database: Engine, store: str) -> None:
    """As a plan started over HTTP: what it reads is known only when a worker looks, and may change before its plan."""
    build = open_build(database, BUILD, None, store)
    set_content(database, build.id, CONTENT)
    fail_build(database, build.id, "the corpus was changed")
    again = open_build(database, BUILD, None, store)
    assert (again.id, again.content) == (build.id, None)
    set_content(database, build.id, CONTENT)
    Manifest(database, build.id).add(shard("plan"))
    cancel_build(database, build.id)
    again = open_build(database, BUILD, None, store)
    assert (again.id, again.content) == (build.id, CONTENT)  # the plan keeps what it has read


def test_builds_of_which_nothing_is_known_are_in_nobodys_way(database: Engine, store: str) -> None:
    open_build(database, BUILD, None, store)
    other = open_build(database, replace(BUILD, version="2"), CONTENT, store)
    assert Manifest(database, other.id).shards() == {}


def test_threads_are_those_that_a_build_was_begun_with(database: Engine, store: str) -> None:
    def known(version: str) -> int | None:
        with database.connect() as connection:
            return known_threads(connection, "tiny", version)

    assert known("1") is None
    build = open_build(database, replace(BUILD, threads=3), CONTENT, store)
    assert known("1") == 3
    assert known("2") is None
    cancel_build(database, build.id)
    assert known("1") == 3
    open_build(database, replace(BUILD, threads=5), {**CONTENT, "threads": 5}, store)
    assert known("1") == 5


def test_a_store_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "work")
    monkeypatch.chdir(tmp_path)
    names: list[Any] = ["work", "work/", "x/../work", "link", tmp_path / "work", f"file://{tmp_path}/work/"]
    assert {store_place(name) for name in names} == {str((tmp_path / "work").resolve())}
    assert store_place("s3://bucket/work/") == "s3://bucket/work"
    assert store_place("memory://") == "memory://"
