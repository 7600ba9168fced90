"""How far a build is, from what its manifest and its plan say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sensedict import wire
from sensedict_server.queries.builds import Build, Made, in_hand, log_of, made_of, plan_facts

# Of the stages that are cut into shards; the others are a file each.
_UNITS = {"harvest": "tok", "curves": "state", "cluster": "state"}


@dataclass(frozen=True)
class StageProgress:
    """What is made of a stage, and of how much; the totals are None while there is no plan.

    Attributes:
        name, unit: as `Stage` of the build has them.
        done, total: in the unit.
        shards, shards_total: finished and all.
        seconds: of work, of all workers together.
    """

    name: str
    unit: str
    done: int
    total: int | None
    shards: int
    shards_total: int | None
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether all of it is made."""
        return self.shards_total is not None and self.shards >= self.shards_total


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
        """Of tokens and hidden states together; None while there is no plan."""
        counted = [stage for stage in self.stages if stage.total is not None and stage.unit != "file"]
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
    sizes = {"plan": {"plan": 1}} if facts is None else _sizes(facts, build.settings.get("allocation") == "adaptive")
    return Progress([_stage(name, shards, made) for name, shards in sizes.items()], in_hand(connection, build.id))


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


def _sizes(facts: Mapping[str, Any], adaptive: bool) -> dict[str, dict[str, int]]:
    """The size of every shard by stage, in the order in which stages are worked on."""
    sizes: dict[str, dict[str, int]] = {"plan": {"plan": 1}}
    for generation in range(facts["generations"]):
        sizes[f"harvest/{generation}"] = _of(facts["harvest"], f"harvest/{generation}/", "run_tokens")
        clusters = _of(facts["cluster"], f"cluster/{generation}/", "states")
        if adaptive:
            curves = {name.replace("cluster", "curves", 1): size for name, size in clusters.items()}
            sizes |= {f"curves/{generation}": curves, "allocate": {"allocate": 1}}
        sizes[f"cluster/{generation}"] = clusters
    return {**sizes, "publish": {"publish": 1}}


def _of(shards: Mapping[str, Mapping[str, int]], stage: str, size: str) -> dict[str, int]:
    return {name: found[size] for name, found in shards.items() if name.startswith(stage)}


def _stage(name: str, sizes: Mapping[str, int], made: Mapping[str, Made]) -> StageProgress:
    done = made.get(name)
    unit = _UNITS.get(name.partition("/")[0], "file")
    return StageProgress(
        name=name,
        unit=unit,
        done=0 if done is None else done.size if unit != "file" else done.shards,
        total=sum(sizes.values()) if unit != "file" else len(sizes),
        shards=0 if done is None else done.shards,
        shards_total=len(sizes),
        seconds=0.0 if done is None else done.seconds,
    )
