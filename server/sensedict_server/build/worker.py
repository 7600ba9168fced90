"""A worker makes shards, one at a time: in line for `sensedict build`, or for any build as `sensedict worker`."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from procrastinate import JobContext
from procrastinate.exceptions import JobAborted
from sqlalchemy import Engine

from sensedict.errors import SenseDictError, Unavailable
from sensedict_server.build.failures import told
from sensedict_server.build.identity import content_of
from sensedict_server.build.jobs import advance, end_published, fail_build, missing, set_content
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.publish_shard import published
from sensedict_server.build.settings_check import check_sources_of
from sensedict_server.build.shard_queue import ShardQueue
from sensedict_server.build.stages import LostShard, Stage, Workplace, run, stages
from sensedict_server.build.store import Store
from sensedict_server.patience import patient
from sensedict_server.queries.builds import Build, find_build
from sensedict_server.queries.queue import names_made, note, running_ids

TRIES = 8  # of a shard, over some two minutes
_PASSING = (Unavailable, TimeoutError, ConnectionError)
_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Is told what a worker does, in the worker's thread."""

    def begin(self, build: Build, stage: Stage, shard: str) -> None:
        """A shard of a stage is begun."""

    def advance(self, units: int) -> None:
        """So much more of it is done, in the stage's unit."""

    def end(self, made: bool) -> None:
        """It is made, or was given back."""

    def say(self, build: Build, line: str) -> None:
        """Something that whoever waits should read."""


class Worker:
    """Makes shards of one build, or of all.

    Args:
        build_id: the only build that it works for; None for all.
        device: where the teacher runs here; None as the build's settings say.

    Attributes:
        failures: by build, what a shard raised that this worker ended it with.
    """

    def __init__(
        self,
        engine: Engine,
        files_root: Path,
        observer: Observer,
        build_id: int | None = None,
        device: str | None = None,
    ) -> None:
        self.failures: dict[int, Exception] = {}
        self._engine, self._files_root, self._observer = engine, files_root, observer
        self._build_id, self._device = build_id, device
        self._queue = ShardQueue(engine, self._make, build_id)

    @property
    def name(self) -> str:
        """host:pid."""
        return self._queue.name

    def work(self) -> None:
        """Take shards until told to stop.

        Raises:
            Unavailable: the database was away for longer than a minute.
        """
        self._queue.work()

    def work_until_done(self) -> bool:
        """Take shards until no build is running; False where it was told to stop before.

        Raises:
            Unavailable: as `work`.
        """
        return not self._queue.work(self._is_done)

    @patient
    def _is_done(self) -> bool:
        with self._engine.connect() as connection:
            running = running_ids(connection)
        return not running if self._build_id is None else self._build_id not in running

    def _make(self, context: JobContext, build_id: int, shard: str) -> None:
        build = self._find(build_id)
        if build is None or build.state != "running":
            return
        try:
            self._note(context, worker=self.name)
            self._make_shard(context, build, shard)
        except JobAborted:
            if self._runs(build_id):  # told to stop: another worker makes it
                raise
        except _PASSING as error:
            tries = int(str(context.job.task_kwargs.get("tries", 0))) + 1
            if tries >= TRIES:
                self._fail(build, shard, error)
                return
            with suppress(Unavailable):
                if not self._runs(build_id):
                    return
                self._note(context, tries=tries)
                self._log_rest(build, shard, error)
                self._say(build, f"{shard} is tried again: {self._told(build, error)}")
            raise
        except Exception as error:
            self._fail(build, shard, error)

    def _make_shard(self, context: JobContext, build: Build, shard: str) -> None:
        """Make the shard if its turn has come, and see what comes next."""
        if build.content is None:
            build = self._identified(build)
            if published(self._engine, build.name, build.version, build.content or {}) is not None:
                end_published(self._engine, build.id)
                return
        place = self._place(context, build)
        known = stages(place)
        if shard in missing(known, self._names_made(build.id)):
            stage = next(stage for stage in known if shard in stage.sizes)
            self._observer.begin(build, stage, shard)
            made = False
            try:
                run(shard, place)
                made = True
            except LostShard as lost:
                place.say(told(lost))
            finally:
                self._observer.end(made)
        advance(self._engine, build.id, stages(self._place(context, build)))

    def _identified(self, build: Build) -> Build:
        """The build with what decides its result, which is found out by whoever makes its plan."""
        settings = BuildSettings.from_json(build.settings)
        check_sources_of(self._engine, settings)
        content = content_of(settings)
        set_content(self._engine, build.id, content)
        return replace(build, content=content)

    def _place(self, context: JobContext, build: Build) -> Workplace:
        def tick(units: int) -> None:
            if context.should_abort():  # the build was cancelled, or this worker is told to stop
                raise JobAborted
            self._observer.advance(units)

        settings = BuildSettings.from_json(build.settings)
        return Workplace(
            build=build,
            engine=self._engine,
            files_root=self._files_root,
            manifest=Manifest(self._engine, build.id),
            store=Store(build.store),
            worker=self.name,
            device=settings.device if self._device is None else self._device,
            advance=tick,
            say=lambda line: self._say(build, line),
        )

    def _fail(self, build: Build, shard: str, error: Exception) -> None:
        detail = self._told(build, error)
        if not fail_build(self._engine, build.id, detail):
            return  # it had ended already
        self.failures[build.id] = error
        self._log_rest(build, shard, error)
        line = f"{shard} failed: {detail}"
        if self._build_id is None:  # who builds in line is given the error itself
            self._observer.say(build, line)
        Manifest(self._engine, build.id).log(self.name, line)

    def _told(self, build: Build, error: Exception) -> str:
        """What is kept of an error for whoever looks at the build."""
        if _is_all_told(error):
            return told(error)
        return f"{told(error)}; the log of the worker {self.name} tells more under job {build.id}"

    def _log_rest(self, build: Build, shard: str, error: Exception) -> None:
        """Log an error that is not told in full."""
        by_message = isinstance(error, SenseDictError | OSError)
        if _is_all_told(error) or (by_message and self._build_id is not None):  # who builds in line is given the error
            return
        trace = None if by_message else error
        _log.error("job %d, %s: %s: %s", build.id, build.ref, shard, error, exc_info=trace)

    def _say(self, build: Build, line: str) -> None:
        self._observer.say(build, line)
        Manifest(self._engine, build.id).log(self.name, line)

    @patient
    def _note(self, context: JobContext, **facts: str | int) -> None:
        """Keep with the job what is to be known when it is tried again or put back."""
        with self._engine.begin() as connection:
            note(connection, context.job.id or 0, **facts)

    def _runs(self, build_id: int) -> bool:
        build = self._find(build_id)
        return build is not None and build.state == "running"

    @patient
    def _find(self, build_id: int) -> Build | None:
        with self._engine.connect() as connection:
            return find_build(connection, build_id)

    @patient
    def _names_made(self, build_id: int) -> set[str]:
        with self._engine.connect() as connection:
            return names_made(connection, build_id)


def _is_all_told(error: Exception) -> bool:
    return isinstance(error, SenseDictError) and told(error) == error.detail
