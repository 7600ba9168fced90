"""The shards of a build as jobs of procrastinate: going on with a build, and ending it.

The manifest is the truth and the queue a hint. A job that got lost is put into the queue again by whoever looks next
(`advance`, `nudge`); one that comes twice finds its shard made. Each function is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector
from sqlalchemy import Connection, Engine, func, insert, update

from sensedict.errors import Conflict, JobNotFound
from sensedict_server.database import driver
from sensedict_server.patience import patient
from sensedict_server.queries.builds import Build, find_build, locked_build
from sensedict_server.queries.queue import (
    cancel_jobs,
    drop_ended,
    drop_job,
    hold_running,
    is_waiting,
    names_made,
    queue_name,
    shards_queued,
)
from sensedict_server.tables import build_log, builds

if TYPE_CHECKING:
    from sensedict_server.build.stages import Stage

TASK = "make"
FIRST, LAST = "plan", "publish"
DEATHS = 5  # of the processes that make a shard, after which its build fails


@patient
def advance(engine: Engine, build_id: int, stages: Sequence[Stage]) -> None:
    """Put into the queue what is missing of the first unfinished stage; a build that has all is published."""
    with engine.begin() as connection:
        if is_waiting(connection, build_id) or not hold_running(connection, build_id):
            return
        made = names_made(connection, build_id)
        if LAST in made:
            _set_ended(connection, build_id, "published")
            return
        queued = shards_queued(connection, build_id)
        _defer(connection, build_id, [shard for shard in missing(stages, made) if shard not in queued])


def missing(stages: Sequence[Stage], made: Iterable[str]) -> list[str]:
    """The shards of the first unfinished stage that are not made."""
    there = set(made)
    return next((left for stage in stages if (left := [name for name in stage.sizes if name not in there])), [])


@patient
def nudge(engine: Engine, build_id: int) -> None:
    """Let a build go on of which nothing is in the queue: a job of its plan finds what to do next."""
    with engine.begin() as connection:
        if hold_running(connection, build_id):
            first_job(connection, build_id)


@patient
def put_back(engine: Engine, job: Job, worker: str, died: bool) -> None:
    """Let any worker take a job that nobody works on; of a build that has ended it is removed.

    Args:
        worker: who does so, for the log.
        died: whether its worker did, perhaps of it: a build fails whose shard was there too often; else it never
            knew of the job, since the database's answer was lost.
    """
    build_id, shard = int(str(job.task_kwargs["build_id"])), str(job.task_kwargs["shard"])
    deaths = int(str(job.task_kwargs.get("deaths", 0))) + died
    whose = f" ({job.task_kwargs['worker']})" if "worker" in job.task_kwargs else ""
    why = f"its worker fell silent{whose}" if died else "the database's answer was lost"
    with engine.begin() as connection:
        build = locked_build(connection, build_id)
        if job.id is None or not drop_job(connection, job.id) or build is None or build.state != "running":
            return  # by another worker, in this moment; or nobody wants it
        line = f"{shard}: {why}, it is made again"
        if deaths >= DEATHS:
            line = (
                f"{shard} was begun {deaths} times, and each time its worker fell silent, the last time{whose}: see "
                "there whether it was killed for want of memory, and start the build again"
            )
            _ended(connection, build_id, "failed", line)
        elif shard not in shards_queued(connection, build_id):
            _defer(connection, build_id, [shard], **({"deaths": deaths} if deaths else {}))
        connection.execute(insert(build_log).values(build_id=build_id, worker=worker, message=line))


@patient
def end_published(engine: Engine, build_id: int) -> None:
    """End a build whose dictionary is there."""
    with engine.begin() as connection:
        _set_ended(connection, build_id, "published")


@patient
def fail_build(engine: Engine, build_id: int, error: str) -> bool:
    """End a build with an error, its other jobs too; False where it had ended already."""
    with engine.begin() as connection:
        return _ended(connection, build_id, "failed", error)


@patient
def cancel_build(engine: Engine, build_id: int) -> Build:
    """End a build; workers stop within a batch, and what is made stays for a build that goes on there.

    Raises:
        JobNotFound: there is no such build.
        Conflict: it is not running.
    """
    with engine.begin() as connection:
        ended = _ended(connection, build_id, "cancelled")
        build = find_build(connection, build_id)
    if build is None:
        raise JobNotFound(f"there is no job {build_id}: `sensedict jobs` lists those that there are")
    if not ended and build.state != "cancelled":
        raise Conflict(f"job {build_id}, {build.ref}, is {build.state}: only a running one can be cancelled")
    return build


@patient
def set_content(engine: Engine, build_id: int, content: Mapping[str, Any]) -> None:
    """Keep what decides the result of a build that was opened without."""
    with engine.begin() as connection:
        connection.execute(update(builds).where(builds.c.id == build_id).values(content=content))


def first_job(connection: Connection, build_id: int) -> None:
    """Put the plan of a build into the queue where nothing of it is there; only for who holds its row."""
    if not shards_queued(connection, build_id):
        _defer(connection, build_id, [FIRST])


def _defer(connection: Connection, build_id: int, shards: Sequence[str], **more: int) -> None:
    """Put shards into the queue, in the connection's transaction; `more` is what their jobs are to remember."""
    if not shards:
        return
    jobs = []
    for shard in shards:
        lock = f"{build_id}:{shard}"
        jobs.append(
            Job(
                id=None,
                queue=queue_name(build_id),
                lock=lock,
                queueing_lock=lock,
                task_name=TASK,
                task_kwargs={"build_id": build_id, "shard": shard, **more},
            )
        )
    with driver(connection) as own:
        try:
            JobManager(SyncPsycopgConnector()).batch_defer_jobs(jobs, connection=own)
        except ConnectorException as error:
            raise error.__cause__ or error from None  # the driver's own error, which `driver` knows


def _ended(
    connection: Connection, build_id: int, state: Literal["failed", "cancelled"], error: str | None = None
) -> bool:
    """Whether the build was running and has ended, its jobs too."""
    if not _set_ended(connection, build_id, state, error):
        return False
    cancel_jobs(connection, build_id)
    return True


def _set_ended(connection: Connection, build_id: int, state: str, error: str | None = None) -> bool:
    drop_ended(connection)
    running = (builds.c.id == build_id) & (builds.c.state == "running")
    values = {"state": state, "error": error, "finished_at": func.now()}
    return connection.execute(update(builds).where(running).values(values)).rowcount == 1
