"""Builds of dictionaries, as jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from sensedict.wire.model import Model, Request

JobState = Literal["running", "published", "failed", "cancelled"]


class JobRequest(Request):
    """A plan of the service's configuration, to be started; what it builds is for the configuration to say."""

    plan: str


class JobInfo(Model):
    """A build of a dictionary, running or past."""

    id: int
    name: str = Field(description="of the dictionary that it makes")
    version: str
    state: JobState
    plan: str | None = Field(description="the plan of the service's configuration that it was started from")
    error: str | None = Field(description="why it failed")
    created_at: datetime
    finished_at: datetime | None


class JobPage(Model):
    """Jobs, newest first."""

    jobs: list[JobInfo]
    next_cursor: str | None


class JobStage(Model):
    """A stage of a build: every shard of it is made before the next stage begins."""

    name: str = Field(
        description="`plan`, `harvest/0`, `cluster/0`, `publish`; the number is of a generation of the corpus"
    )
    unit: str = Field(description="what `done` and `total` count")
    done: int
    total: int | None = Field(description="null of a plan that is to read all that there is")
    shards: int = Field(description="those that are made")
    shards_total: int
    seconds: float = Field(description="of work, of all workers together")


class JobLogLine(Model):
    """Something that happened to a build."""

    at: datetime
    worker: str
    message: str


class JobDetail(JobInfo):
    """A build with its progress; folders and URLs are shown by their last name alone."""

    settings: dict[str, Any]
    stages: list[JobStage]
    percent: float | None = Field(
        description="of the tokens that the teacher reads and the hidden states, together; null while there is no plan"
    )
    workers: int = Field(description="that are at a shard of it now")
    rate: float | None = Field(description="of the stage that is running: its unit a second, all workers together")
    seconds_left: float | None = Field(description="of the stage that is running, at this rate")
    log: list[JobLogLine] = Field(description="the last lines, oldest first")
