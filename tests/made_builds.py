"""Builds whose stages are a test's own, worked on by real workers with a real queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, text

from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.stages import Stage, Workplace
from sensedict_server.build.worker import Worker
from sensedict_server.queries.builds import Build, Shard, find_build, log_of

BUILD = BuildSettings("teacher", ("text",), "pairs@1", "tiny", "1", threads=1)
CONTENT: dict[str, Any] = {"k": 10, "lexicon": "pairs@1", "corpus": [["text", "0a"]]}
STAGES = {
    "plan": ["plan"],
    "harvest/0": ["harvest/0/000000", "harvest/0/000001", "harvest/0/000002"],
    "cluster/0": ["cluster/0/000000", "cluster/0/000001"],
    "publish": ["publish"],
}


@dataclass
class Made:
    """Stages whose shards hold their name's length, and what is to happen when one is made."""

    batches: int = 2
    pause: float = 0.0
    before: dict[str, Callable[[Workplace], object]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def stages(self, workplace: Workplace) -> list[Stage]:
        known = list(STAGES) if "plan" in workplace.made else ["plan"]
        return [Stage(name, dict.fromkeys(STAGES[name], self.batches), "tokens") for name in known]

    def run(self, shard: str, workplace: Workplace) -> None:
        if shard in workplace.made:
            return
        self.runs.append(shard)
        self.before.get(shard, lambda _: None)(workplace)
        for _ in range(self.batches):
            time.sleep(self.pause)
            workplace.advance(1)
        if shard == "publish":
            workplace.manifest.add(Shard(shard, workplace.build.ref, 0, "", 1, 0.1, workplace.worker))
        else:
            workplace.add(shard, {"length": np.array([len(shard)])}, self.batches, 0.1, {"hash": "0"})


class Silent:
    def begin(self, build: Build, stage: Stage, shard: str) -> None: ...
    def advance(self, units: int) -> None: ...
    def end(self, made: bool) -> None: ...
    def say(self, build: Build, line: str) -> None: ...


def start(engine: Engine, tmp_path: Path, build_id: int | None = None) -> Worker:
    return Worker(engine, tmp_path, Silent(), build_id)


def state(engine: Engine, build_id: int) -> tuple[str, str | None]:
    with engine.connect() as connection:
        build = find_build(connection, build_id)
    assert build is not None
    return build.state, build.error


def queue(engine: Engine) -> list[str]:
    """What the queue holds, whatever its state, and who works."""
    with engine.connect() as connection:
        jobs = connection.execute(text("SELECT args->>'shard' FROM procrastinate_jobs ORDER BY id")).scalars()
        workers = connection.execute(text("SELECT 'worker ' || id FROM procrastinate_workers")).scalars()
        return [*jobs, *workers]


def log(engine: Engine, build_id: int) -> list[str]:
    with engine.connect() as connection:
        return [line.message for line in log_of(connection, build_id)]
