"""Builds by several workers: killed at random, cancelled, failing, their shards damaged; a real teacher throughout."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from procrastinate import JobContext
from safetensors.torch import load_file, save_file
from sqlalchemy import Engine, text

from own_server import kill, own_server
from running_service import environment_of
from sensedict.errors import Conflict, NotFinite, Unavailable
from sensedict_server import embedded, files, patience
from sensedict_server.build import pipeline, planning, shard_queue
from sensedict_server.build import publish as step
from sensedict_server.build.jobs import cancel_build
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.observers import Bars
from sensedict_server.build.opening import open_build
from sensedict_server.build.pipeline import build_dictionary, enter_build
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source
from sensedict_server.build.stages import Stage
from sensedict_server.build.worker import Worker
from sensedict_server.build.workplace import Workplace
from sensedict_server.database import opened
from sensedict_server.queries.builds import Build, builds_of, log_of, shards_of
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary
from sensedict_server.settings import Settings
from tiny_teacher import corpus, save_tiny_teacher
from until import until
from worker_processes import SHARD_STATES, SHARD_TOKENS, start_worker

KILLS = 3


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny")


@pytest.fixture
def settings_of_build(teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BuildSettings:
    """A build of some shards; its lexicon is yet to be loaded."""
    monkeypatch.setattr(planning, "SHARD_TOKENS", SHARD_TOKENS)
    monkeypatch.setattr(planning, "SHARD_STATES", SHARD_STATES)
    monkeypatch.setattr(shard_queue, "IDLE", 0.1)
    rows = [json.dumps({"id": f"s{i}", "text": sentence}) for i, sentence in enumerate(corpus(300, seed=1))]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return BuildSettings(str(teacher_folder), (str(path),), "pairs@1", "tiny", "1", k=3, window=32, cap=60, threads=1)


@pytest.fixture
def build(database: Engine, settings_of_build: BuildSettings) -> BuildSettings:
    """The same with its lexicon in `database`."""
    load_lexicon(database, "pairs", "1", Recipe([parse_source("opposites")], []))
    return settings_of_build


def whole(database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path) -> Dictionary:
    """The dictionary as one worker makes it that nobody disturbs."""
    dictionary, _ = build_dictionary(database, settings.files, replace(build, name="whole"), tmp_path / "whole")
    return dictionary


def dictionary_of(database: Engine, name: str) -> Dictionary | None:
    with database.connect() as connection:
        return find_dictionary(connection, name, "1")


def files_made(database: Engine, build: Build) -> dict[str, str]:
    with database.connect() as connection:
        return {name: shard.file for name, shard in shards_of(connection, build.id).items()}


def left_in_queue(database: Engine) -> int:
    with database.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one())


def test_workers_killed_at_random_lose_nothing(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    """The build is entered as the service enters one: nobody has looked at teacher and text yet."""
    undisturbed = whole(database, settings, build, tmp_path)
    entered = open_build(database, build, None, str(tmp_path / "work"), plan="nightly")
    log, choice = tmp_path / "log", random.Random(0)
    log.touch()

    def start() -> BaseProcess:
        return start_worker(environment_of(settings), log, shard_seconds=0.3)

    workers = [start(), start()]
    kept: dict[str, str] = {}
    killed = 0
    for _ in range(KILLS):
        until(lambda before=kept: len(files_made(database, entered)) > len(before), told=log.read_text)
        for worker in workers:  # has come to its work
            begun = f"worker {socket.gethostname()}:{worker.pid}\n"
            until(lambda begun=begun: begun in log.read_text("utf-8"), told=log.read_text)
        time.sleep(choice.uniform(0.0, 0.6))
        doomed = choice.randrange(2)
        workers[doomed].kill()
        workers[doomed].join()
        files = files_made(database, entered)
        assert kept.items() <= files.items()  # what was made stays made
        kept = files
        killed += "publish" not in kept
        workers[doomed] = start()
    assert killed >= 2, "killed too late to tell anything"
    for worker in workers:
        worker.join(timeout=600)
        assert worker.exitcode == 0, log.read_text("utf-8")
    made = dictionary_of(database, "tiny")
    assert made is not None
    assert made.content_hash == undisturbed.content_hash  # vectors, index and every Parquet file
    assert made.settings["build"] == undisturbed.settings["build"]
    with database.connect() as connection:
        (ended,) = builds_of(connection, "tiny", "1")
        lines = [line.message for line in log_of(connection, ended.id)]
    assert ended.state == "published"
    assert ended.content == undisturbed.settings["build"]
    assert [line for line in lines if "its worker fell silent" in line], log.read_text("utf-8") + "\n".join(lines)
    assert left_in_queue(database) == 0


def test_two_builds_of_one_name_at_once(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They make no shard until a third was refused, or they might have ended before."""
    refused = threading.Event()

    class Held(Bars):
        def begin(self, build: Build, stage: Stage, shard: str) -> None:
            refused.wait(60)
            super().begin(build, stage, shard)

    monkeypatch.setattr(pipeline, "Bars", Held)
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(build_dictionary, database, settings.files, build, tmp_path / "work") for _ in range(2)]
        until(lambda: bool(running(database)))
        with pytest.raises(Conflict, match=r"tiny@1 is being built from other settings \(k 3 there, 2 now\)"):
            enter_build(database, replace(build, k=2), tmp_path / "other")
        refused.set()
        first, second = (build.result()[0] for build in asked)
    assert first == second
    with database.connect() as connection:
        assert [build.state for build in builds_of(connection, "tiny", "1")] == ["published"]
    assert left_in_queue(database) == 0


def running(database: Engine) -> list[Build]:
    with database.connect() as connection:
        return [build for build in builds_of(connection, "tiny", "1") if build.state == "running"]


@dataclass
class Watching:
    """Does something once, when a stage's shard is begun or has gone on."""

    stage: str
    begun: Callable[[Build], object] = lambda _: None
    gone_on: Callable[[Build], object] = lambda _: None
    steps: int = 0
    build: Build | None = None

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        self.build = build if stage.name == self.stage else None
        if self.build is not None and not self.steps:
            self.begun(build)

    def advance(self, units: int) -> None:
        if self.build is not None and units:
            self.steps += 1
            if self.steps == 1:
                self.gone_on(self.build)

    def end(self, made: bool) -> None: ...
    def say(self, build: Build, line: str) -> None: ...


def test_a_cancelled_build_stops_within_a_batch(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[JobContext] = []
    place = Worker._place

    def kept_place(worker: Worker, context: JobContext, build: Build) -> Workplace:
        contexts.append(context)
        return place(worker, context, build)

    def cancel(running: Build) -> None:
        cancel_build(database, running.id)
        until(contexts[-1].should_abort)

    monkeypatch.setattr(Worker, "_place", kept_place)
    entered = enter_build(database, build, tmp_path / "work")
    watching = Watching("harvest/0", gone_on=cancel)
    Worker(database, settings.files, watching, entered.id).work_until_done()
    assert watching.steps == 1
    with database.connect() as connection:
        assert set(shards_of(connection, entered.id)) == {"plan"}
    assert left_in_queue(database) == 0
    dictionary, made = build_dictionary(database, settings.files, build, tmp_path / "work")
    assert made
    assert dictionary.content_hash == whole(database, settings, build, tmp_path).content_hash


def test_a_damaged_shard_is_made_again(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    def damage(running: Build) -> None:
        (file,) = (tmp_path / "work").glob("harvest/0/000001.*")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    entered = enter_build(database, build, tmp_path / "work")
    watching = Watching("cluster/0", begun=damage)
    Worker(database, settings.files, watching, entered.id).work_until_done()
    made = dictionary_of(database, "tiny")
    assert made is not None
    assert made.content_hash == whole(database, settings, build, tmp_path).content_hash
    with database.connect() as connection:
        lines = [line.message for line in log_of(connection, entered.id)]
    assert [line for line in lines if line.endswith("harvest/0/000001 is made again")]


def test_a_database_that_is_killed_while_a_dictionary_is_published(
    settings_of_build: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times: between the rows, for longer than a build waits; before the commit; after it, before the files."""
    build, killed = settings_of_build, []
    for name, seconds in (("HEARTBEAT", 0.3), ("SILENCE", 1.0), ("LOOK", 0.3), ("LONGEST_WAIT", 0)):
        monkeypatch.setattr(shard_queue, name, seconds)
    with own_server() as settings, opened(settings) as database, ThreadPoolExecutor(1) as threads:

        def kill_before(module: ModuleType, name: str, comes_back: bool) -> None:
            call = getattr(module, name)

            def killing(*arguments: Any) -> Any:
                monkeypatch.setattr(module, name, call)
                kill(settings.embedded)
                killed.append(name)
                if comes_back:
                    threads.submit(embedded.start, settings.embedded)
                return call(*arguments)

            monkeypatch.setattr(module, name, killing)

        load_lexicon(database, "pairs", "1", Recipe([parse_source("opposites")], []))
        undisturbed = whole(database, settings, build, tmp_path)
        kill_before(step, "_copy_contexts", comes_back=False)
        with monkeypatch.context() as hasty:
            hasty.setattr(patience, "PATIENCE", 1.0)
            with pytest.raises(Unavailable, match="the database cannot be reached"):
                build_dictionary(database, settings.files, build, tmp_path / "whole")
        embedded.start(settings.embedded)
        assert of_dictionaries(database) == {undisturbed.id}
        assert [path.name for path in settings.files.iterdir() if not path.name.endswith(".lock")] == ["whole@1"]
        kill_before(step, "freeze", comes_back=True)
        kill_before(files, "put_in_place", comes_back=True)
        dictionary, made = build_dictionary(database, settings.files, build, tmp_path / "whole")
        assert made
        assert killed == ["_copy_contexts", "freeze", "put_in_place"]
        assert dictionary.content_hash == undisturbed.content_hash
        assert of_dictionaries(database) == {undisturbed.id, dictionary.id}
        files.verify(settings.files / "tiny@1")
        with database.connect() as connection:
            (ended,) = builds_of(connection, "tiny", "1")
            tries = [line.message for line in log_of(connection, ended.id) if "publish is tried again" in line.message]
        assert (ended.state, len(tries)) == ("published", 2)
        assert left_in_queue(database) == 0
        assert build_dictionary(database, settings.files, build, tmp_path / "whole") == (dictionary, False)


def of_dictionaries(database: Engine) -> set[int]:
    """The dictionaries of which there is a row in any table."""
    tables = ("tokens", "dictionary_words", "senses", "contexts")
    rows = " UNION ".join(["SELECT id FROM dictionaries", *(f"SELECT dictionary_id FROM {name}" for name in tables)])
    with database.connect() as connection:
        return set(connection.execute(text(rows)).scalars())


def test_a_teacher_whose_output_is_not_finite(
    database: Engine, settings: Settings, build: BuildSettings, teacher_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in teacher_folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights: dict[str, Any] = load_file(broken / "model.safetensors")
    save_file({**weights, "model.norm.weight": weights["model.norm.weight"] * 1e30}, broken / "model.safetensors")
    with pytest.raises(NotFinite, match=r"window \d+ of the corpus"):
        build_dictionary(database, settings.files, replace(build, teacher=str(broken)), tmp_path / "work")
    with database.connect() as connection:
        (failed,) = builds_of(connection, "tiny", "1")
    assert failed.state == "failed"
    assert "of the corpus is NaN, infinite or beyond float16" in (failed.error or "")
    assert left_in_queue(database) == 0
    assert dictionary_of(database, "tiny") is None
