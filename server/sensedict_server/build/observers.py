"""What a worker shows of its work: bars for whoever builds, lines for whoever runs a worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Engine
from tqdm import tqdm

from sensedict.errors import Unavailable
from sensedict_server.build.stages import Stage
from sensedict_server.queries.builds import Build, made_of


class Bars:
    """A bar for each stage of one build on stderr: what all workers have made, and how far this one is in its shard.

    Args:
        say: told the lines that stages say.
    """

    def __init__(self, engine: Engine, say: Callable[[str], object]) -> None:
        self._engine, self._say = engine, say
        self._bars: dict[str, tqdm[None]] = {}
        self._build_id: int | None = None

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        """Go on with the stage's bar, or make it."""
        self._build_id = build.id
        if stage.name not in self._bars:
            total = sum(stage.sizes.values())
            name = stage.name.removesuffix("/0")  # of one generation, as in most builds
            self._bars[stage.name] = tqdm(total=total, desc=name, unit=stage.unit, unit_scale=True)
        self._current = self._bars[stage.name]
        self._show_made()

    def advance(self, units: int) -> None:
        """Move the stage's bar."""
        self._current.update(units)

    def end(self, made: bool) -> None:
        """What counts is in the manifest."""
        self._show_made()

    def say(self, build: Build, line: str) -> None:
        """Give the line on, above the bars."""
        with tqdm.external_write_mode(sys.stderr):
            self._say(line)

    def close(self) -> None:
        """Leave the bars as they are."""
        for bar in self._bars.values():
            bar.close()

    def _show_made(self) -> None:
        with suppress(Unavailable), self._engine.connect() as connection:
            made = made_of(connection, self._build_id or 0)
            for name, bar in self._bars.items():
                bar.n = made[name].size if name in made else 0
                bar.refresh()


class Lines:
    """A line for each shard that was made.

    Args:
        write: told the lines.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._shard = ""
        self._size, self._unit, self._begun = 0, "", 0.0

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        """Look at the clock."""
        self._shard = f"job {build.id} {build.ref}: {shard}"
        self._size, self._unit, self._begun = stage.sizes[shard], stage.unit, time.monotonic()

    def advance(self, units: int) -> None:
        """Nothing: a line comes at the end."""

    def end(self, made: bool) -> None:
        """Write what it was and how long it took."""
        seconds = time.monotonic() - self._begun
        done = f"{self._size:,} {self._unit}" if made else "given up"
        self._write(f"{self._shard}, {done}, {seconds:.1f} s")

    def say(self, build: Build, line: str) -> None:
        """Write the line."""
        self._write(f"job {build.id} {build.ref}: {line}")
