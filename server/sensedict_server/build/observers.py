"""What a worker shows of its work: bars for whoever builds, lines for whoever runs a worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Engine
from tqdm import tqdm

from sensedict.errors import Unavailable
from sensedict.job_report import spelt_seconds
from sensedict_server.build.stages import Stage
from sensedict_server.queries.builds import Build, made_of


class Bars:
    """A bar for the stage that a build is in, on stderr: what all workers have made, and how far this one is with more.

    Where stderr is no terminal there is none: a line comes for each shard that was made.

    Args:
        say: told the lines that stages say.
    """

    def __init__(self, engine: Engine, say: Callable[[str], object]) -> None:
        self._engine, self._say = engine, say
        self._bar: tqdm[None] | None = None
        self._build_id, self._stage = 0, Stage("", {}, "")
        self._made = 0  # of the stage, when it was last asked for
        self._found: int | None = None  # made of it when this worker came to it
        self._begun = 0.0  # when that was

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        """Go on with the stage's bar, or end that of the one before."""
        if self._bar is None or stage.name != self._stage.name:
            self.close()
            self._build_id, self._stage = build.id, stage
            name, total = _title(stage), _whole(stage)
            self._bar = tqdm(total=total, desc=name, unit=f" {stage.unit}", unit_scale=True, disable=None)
            self._made, self._found = 0, None
        self._show_made()

    def advance(self, units: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(units)

    def end(self, made: bool) -> None:
        """What counts is in the manifest."""
        done = self._show_made()
        if self._bar is not None and self._bar.disable and made:
            total = _whole(self._stage)
            of = "" if total is None else f" of {total:,}"
            self._say(f"{_title(self._stage)}: {done:,}{of} {self._stage.unit}{self._left(done, total)}")

    def say(self, build: Build, line: str) -> None:
        """Give the line on, above the bar."""
        with tqdm.external_write_mode(sys.stderr):
            self._say(line)

    def close(self) -> None:
        """Leave the bar as the manifest has it."""
        self._show_made()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_made(self) -> int:
        """How much all workers have made of the stage, which the bar shows then."""
        if self._bar is None:
            return 0
        with suppress(Unavailable), self._engine.connect() as connection:
            made = made_of(connection, self._build_id).get(self._stage.name)
            self._made = 0 if made is None else made.size
            if self._found is None:
                self._found, self._begun = self._made, time.monotonic()
            self._bar.update(self._made - self._bar.n)
        return self._made

    def _left(self, done: int, total: int | None) -> str:
        """How long the rest of the stage takes at the rate since this worker came to it."""
        if self._found is None or total is None or not self._found < done < total:
            return ""
        lately = done - self._found
        return f", {spelt_seconds((total - done) * (time.monotonic() - self._begun) / lately)} left"


def _title(stage: Stage) -> str:
    """What it is called; of one generation, as in most builds, without its number."""
    return stage.name.removesuffix("/0")


def _whole(stage: Stage) -> int | None:
    """How much it has to make in its unit; None where it is not known before."""
    return sum(stage.sizes.values()) or None


class Lines:
    """A line for each shard that was made.

    Args:
        write: told the lines.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._shard = ""
        self._size, self._done, self._unit, self._begun = 0, 0, "", 0.0

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        """Look at the clock; what a plan reads is not known before."""
        self._shard = f"job {build.id} {build.ref}: {shard}"
        self._size, self._done, self._unit, self._begun = stage.sizes[shard], 0, stage.unit, time.monotonic()

    def advance(self, units: int) -> None:
        """Count: a line comes at the end."""
        self._done += units

    def end(self, made: bool) -> None:
        """Write what it was and how long it took."""
        seconds = time.monotonic() - self._begun
        done = f"{self._size or self._done:,} {self._unit}" if made else "given back"
        self._write(f"{self._shard}, {done}, {seconds:.1f} s")

    def say(self, build: Build, line: str) -> None:
        """Write the line."""
        self._write(f"job {build.id} {build.ref}: {line}")
