"""procrastinate's queue, as far as builds ask it: which shards of a build wait there or are being made."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Text, cast, column, select, table, text, update
from sqlalchemy.dialects.postgresql import JSONB

from sensedict_server.tables import build_shards, builds

SILENCE = 30.0  # seconds without a sign of life, after which a worker is taken for dead

jobs = table(
    "procrastinate_jobs",
    column("id"),
    column("queue_name"),
    column("status"),
    column("args", JSONB),
    column("worker_id"),
)
status = cast(jobs.c.status, Text)


def queue_name(build_id: int) -> str:
    """The queue of a build's jobs."""
    return f"build-{build_id}"


def hold_running(connection: Connection, build_id: int) -> bool:
    """Whether the build is running, which it stays until the transaction ends; others who hold it wait."""
    query = select(builds.c.id).where(builds.c.id == build_id, builds.c.state == "running")
    return connection.execute(query.with_for_update(key_share=True)).one_or_none() is not None


def running_ids(connection: Connection) -> Sequence[int]:
    """The builds that are running, oldest first."""
    return (
        connection.execute(select(builds.c.id).where(builds.c.state == "running").order_by(builds.c.id)).scalars().all()
    )


def names_made(connection: Connection, build_id: int) -> set[str]:
    """The names of all shards that are made of a build."""
    table = build_shards.c
    return set(
        connection.execute(select(table.shard).where(table.build_id == build_id, table.file.is_not(None))).scalars()
    )


def is_waiting(connection: Connection, build_id: int) -> bool:
    """Whether the build has a job that nobody has taken yet."""
    query = select(jobs.c.id).where(jobs.c.queue_name == queue_name(build_id), status == "todo").limit(1)
    return connection.execute(query).one_or_none() is not None


def shards_queued(connection: Connection, build_id: int) -> set[str]:
    """The shards of a build that wait or are being made."""
    query = select(jobs.c.args["shard"].astext).where(
        jobs.c.queue_name == queue_name(build_id), status.in_(("todo", "doing"))
    )
    return set(connection.execute(query).scalars())


def note(connection: Connection, job_id: int, **facts: str | int) -> None:
    """Keep something with a job, as long as the job is there."""
    args = jobs.c.args.op("||")(cast(facts, JSONB))
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(args=args))


def drop_job(connection: Connection, job_id: int) -> bool:
    """Take a job out that somebody was given; False where it is out already."""
    # Locked first: its worker, silent and not dead, may end it at this moment, and what is gone the function refuses.
    drop = """
        SELECT procrastinate_finish_job_v1(id, 'aborted', true)
        FROM (SELECT id FROM procrastinate_jobs WHERE id = :job AND status = 'doing' FOR UPDATE) AS given
    """
    return connection.execute(text(drop), {"job": job_id}).rowcount == 1


def drop_ended(connection: Connection) -> None:
    """Take jobs out that ended and stayed.

    So does one that was to be tried again, but whose build had been cancelled meanwhile and went on.
    """
    drop = "DELETE FROM procrastinate_jobs WHERE queue_name LIKE 'build-%' AND status NOT IN ('todo', 'doing')"
    connection.execute(text(drop))


def cancel_jobs(connection: Connection, build_id: int) -> None:
    """Take a build's jobs out of the queue; those that are being made are asked to stop."""
    cancel = "SELECT procrastinate_cancel_job_v1(id, true, true) FROM procrastinate_jobs WHERE queue_name = :queue"
    connection.execute(text(cancel), {"queue": queue_name(build_id)})
