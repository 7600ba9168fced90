"""How far a build is, from what its manifest and its plan say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from sensedict import wire
from sensedict_server.build.stages import Stage, stages_of
from sensedict_server.queries.builds import Build, Made, in_hand, log_of, made_of, plan_facts


@dataclass(frozen=True)
class StageProgress:
    """What is made of a stage, and of how much.

    Attributes:
        name, unit: as `Stage` of the build has them.
        done, total: in the unit; None of a plan that is to read all that there is.
        shards, shards_total: finished and all.
        seconds: of work, of all workers together.
    """

    name: str
    unit: str
    done: int
    total: int | None
    shards: int
    shards_total: int
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether all of it is made."""
        return self.shards >= self.shards_total


@dataclass(frozen=True)
class Progress:
    """How far a build is.

    Attributes:
        stages: those that are known, in their order.
        shards_in_hand: that workers are making now.
    """

    stages: Sequence[StageProgress]
    shards_in_hand: Sequence[str]

    @property
    def current(self) -> StageProgress | None:
        """The stage that is not finished; None once all are."""
        return next((stage for stage in self.stages if not stage.finished), None)

    @property
    def percent(self) -> float | None:
        """Of the tokens that the teacher reads and the hidden states together; None while there is no plan."""
        counted = [stage for stage in self.stages if stage.total is not None and "/" in stage.name]
        total = sum(stage.total or 0 for stage in counted)
        return 100 * sum(stage.done for stage in counted) / total if total else None

    @property
    def rate(self) -> float | None:
        """Units of the current stage a second, of the workers that are at it; None until it has finished a shard."""
        now = self.current
        if now is None or not now.seconds or not self.shards_in_hand:
            return None
        return now.done / now.seconds * len(self.shards_in_hand)

    @property
    def seconds_left(self) -> float | None:
        """Of the current stage, at its rate."""
        now, rate = self.current, self.rate
        return None if now is None or now.total is None or not rate else (now.total - now.done) / rate


def progress_of(connection: Connection, build: Build) -> Progress:
    """How far a build is."""
    facts = plan_facts(connection, build.id)
    made = made_of(connection, build.id)
    stages = stages_of(facts, build.settings.get("allocation") == "adaptive", build.settings.get("tokens"))
    return Progress([_stage(stage, made.get(stage.name)) for stage in stages], in_hand(connection, build.id))


def job_info(build: Build) -> wire.JobInfo:
    """A build as the contract has it."""
    return wire.JobInfo(**{name: getattr(build, name) for name in wire.JobInfo.model_fields})


def job_detail(connection: Connection, build: Build, log_lines: int) -> wire.JobDetail:
    """A build with its progress and the end of its log, as the contract has it."""
    progress = progress_of(connection, build)
    return wire.JobDetail(
        **dict(job_info(build)),
        settings=build.settings,
        stages=[
            wire.JobStage(**{name: getattr(stage, name) for name in wire.JobStage.model_fields})
            for stage in progress.stages
        ],
        percent=progress.percent,
        workers=len(progress.shards_in_hand),
        rate=progress.rate,
        seconds_left=progress.seconds_left,
        log=[
            wire.JobLogLine(at=line.at, worker=line.worker, message=line.message)
            for line in log_of(connection, build.id, limit=log_lines)
        ],
    )


def _stage(stage: Stage, made: Made | None) -> StageProgress:
    done = made or Made(stage.name, 0, 0, 0.0, 0)
    return StageProgress(
        name=stage.name,
        unit=stage.unit,
        done=done.shards if stage.unit == "files" else done.size,
        total=sum(stage.sizes.values()) or None,  # a plan is not always told how much it will read
        shards=done.shards,
        shards_total=len(stage.sizes),
        seconds=done.seconds,
    )
