"""The plan that a build prints: what --dry-run leaves alone, what was foretold and what was written, a full disk."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from running_service import SENSEDICT, environment_of
from sensedict.errors import ConfigurationError, InvalidInput
from sensedict_server.build import pipeline
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.pipeline import build_dictionary
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source
from sensedict_server.queries.lexicons import list_lexicons
from sensedict_server.settings import Settings
from small_disk import small_disk
from tiny_teacher import corpus, save_tiny_teacher


@pytest.fixture
def build(database: Engine, tmp_path: Path) -> BuildSettings:
    """Settings of a build over a lexicon that is there."""
    load_lexicon(database, "pairs", "1", Recipe([parse_source("opposites")], []))
    text = tmp_path / "corpus.jsonl"
    text.write_text("".join(json.dumps({"text": sentence}) + "\n" for sentence in corpus(300, seed=1)), "utf-8")
    teacher = save_tiny_teacher(tmp_path / "teacher")
    return BuildSettings(str(teacher), (str(text),), "pairs@1", "tiny", "1", k=3, window=32, cap=60)


def everything(*folders: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_prints_the_plan_of_the_build_and_writes_nothing(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    weights = tmp_path / "teacher" / "model.safetensors"
    away = weights.rename(tmp_path / "away.safetensors")
    weights.touch()
    line = [*SENSEDICT, "build", "--teacher", build.teacher, "--corpus", build.corpus[0], "--lexicon", "pairs@1"]
    line += ["--name", "tiny", "--version", "1", "--k", "3", "--window", "32", "--cap", "60", "--dry-run"]
    line += ["--without", "opposites"]
    before = everything(tmp_path, settings.home)
    environment = {**os.environ, **environment_of(settings)}
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert everything(tmp_path, settings.home) == before
    with database.connect() as connection:
        assert [lexicon.ref for lexicon in list_lexicons(connection)] == ["pairs@1"]
    printed = done.stdout.splitlines()
    assert printed[-1] == "time: run without --dry-run to measure"
    assert {"corpus:", "60", "disk:"} <= {line.split()[0] for line in printed}
    away.rename(weights)
    said: list[str] = []
    build_dictionary(database, settings.files, build, tmp_path / "work", say=said.append)
    assert said[1 : len(printed) - 1] == printed[1:-1]
    plan, time = said[len(printed) - 1 : len(printed) + 1]
    assert plan.startswith("plan: ")  # where there is no terminal to draw its bar on
    assert time.startswith("time: about ")


def test_a_dry_run_refuses_a_window_that_the_teacher_cannot_read(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"window is 257, and .* reads 256 tokens at most"):
        pipeline.plan_build(database, settings.files, replace(build, window=257), tmp_path / "work", print)


def test_a_dry_run_refuses_a_teacher_without_weights(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    (tmp_path / "teacher" / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"teacher has no weights: model\.safetensors"):
        pipeline.plan_build(database, settings.files, build, tmp_path / "work", print)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "64k") as place:
        yield place


def test_a_build_that_cannot_fit_is_refused(
    database: Engine, settings: Settings, build: BuildSettings, disk: Path
) -> None:
    message = rf"needs [\d.]+ [kM]B in {disk}/work, where 65\.5 kB are free: make room"
    with pytest.raises(ConfigurationError, match=message):
        build_dictionary(database, settings.files, build, disk / "work")
    with pytest.raises(ConfigurationError, match=message):
        pipeline.plan_build(database, settings.files, build, disk / "work", lambda line: None)
    assert not list(disk.iterdir())
    assert not (settings.files / "tiny@1").exists()


def test_a_store_that_cannot_be_written_is_refused_before_the_text_is_read(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    unread = replace(build, corpus=("/nosuch.txt",))
    (tmp_path / "file").write_text("mine")
    for work in (tmp_path / "file", tmp_path / "file" / "work"):
        message = rf"the store {work} cannot be written: {tmp_path}/file is no folder; name another --work"
        with pytest.raises(ConfigurationError, match=message):
            build_dictionary(database, settings.files, unread, work)
        with pytest.raises(ConfigurationError, match=message):
            pipeline.plan_build(database, settings.files, unread, work, print)
    with pytest.raises(ConfigurationError, match=r"the store github://a/b cannot be opened: "):
        build_dictionary(database, settings.files, unread, "github://a/b")
