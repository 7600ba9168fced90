"""Whether a busy torch thread starves a worker's heartbeat: the longest time between two of them, stage by stage.

A worker gives a sign of life a second, here, instead of ten; another process looks at the database, which notes when
each came. What is printed is by how much the next one came too late, at worst. A worker is taken for dead after
30 s of silence, so that a delay of 20 s would be one too many. `SENSEDICT_TEACHER` and `SENSEDICT_TEXT` may name a real
teacher and text; without them both are made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from made_build import Place, made_teacher, made_text, place

from sensedict_server.build import shard_queue
from sensedict_server.build.pipeline import enter_build
from sensedict_server.build.stages import Stage
from sensedict_server.build.worker import Worker
from sensedict_server.database import conninfo
from sensedict_server.queries.builds import Build

BEAT = 1.0
TOKENS = 120_000
_LOOKS = """
import sys, time, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    last = None
    while True:
        row = connection.execute("SELECT extract(epoch FROM max(last_heartbeat)) FROM procrastinate_workers").fetchone()
        if row[0] is not None and row[0] != last:
            last = row[0]
            print(last, flush=True)
        time.sleep(0.02)
"""


@dataclass
class Times:
    """When shards of which stage were begun and ended."""

    spans: list[tuple[str, float, float]] = field(default_factory=list)

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        """Look at the clock."""
        self._now = stage.name.partition("/")[0], time.time()

    def advance(self, units: int) -> None:
        """Nothing."""

    def end(self, made: bool) -> None:
        """Look at the clock again."""
        self.spans.append((*self._now, time.time()))

    def say(self, build: Build, line: str) -> None:
        """Nothing."""


def measure(at: Place, teacher: Path, text: Path, tokens: int) -> None:
    """Build, and print the delays."""
    times = Times()
    settings = at.settings("beats", teacher, text, tokens=tokens, threads=torch.get_num_threads())
    build = enter_build(at.engine, settings, at.folder / "work")
    looking = subprocess.Popen([sys.executable, "-c", _LOOKS, conninfo(at.engine)], stdout=subprocess.PIPE, text=True)
    Worker(at.engine, at.folder / "home", times, build.id).work_until_done()
    time.sleep(0.1)
    looking.terminate()
    beats = [float(line) for line in looking.communicate()[0].splitlines()]
    print(f"{'stage':10} {'busy, s':>8} {'beats':>6} {'latest by, s':>13}")
    for stage in dict.fromkeys(name for name, _, _ in times.spans):
        spans = [(begin, end) for name, begin, end in times.spans if name == stage]
        gaps = [
            after - before - BEAT
            for before, after in pairwise(beats)
            if any(begin < after and before < end for begin, end in spans)
        ]
        busy = sum(end - begin for begin, end in spans)
        print(f"{stage:10} {busy:8.1f} {len(gaps):6} {max(gaps, default=float('nan')):13.2f}")


if __name__ == "__main__":
    shard_queue.HEARTBEAT = BEAT
    with place() as here:
        named = os.environ.get("SENSEDICT_TEACHER"), os.environ.get("SENSEDICT_TEXT")
        measure(
            here,
            Path(named[0]) if named[0] else made_teacher(here.folder / "teacher", 576, 2),
            Path(named[1]) if named[1] else made_text(here.folder / "text.jsonl", TOKENS),
            int(os.environ.get("SENSEDICT_TOKENS", TOKENS)),
        )
