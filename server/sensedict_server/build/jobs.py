"""Builds as rows, their shards as jobs of procrastinate: opening a build, going on with it, ending it.

The manifest is the truth and the queue a hint. A job that got lost is put into the queue again by whoever looks next
(`advance`, `nudge`); one that comes twice finds its shard made. Each function is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector
from sqlalchemy import Connection, Engine, delete, func, insert, text, update
from sqlalchemy.exc import IntegrityError

from sensedict.errors import Conflict, JobNotFound
from sensedict_server.build.identity import NOT_CONTENT, NOT_IN_SHARDS
from sensedict_server.build.store import Store
from sensedict_server.database import driver
from sensedict_server.patience import patient
from sensedict_server.queries.builds import Build, builds_like, builds_of, find_build, list_builds, running_build
from sensedict_server.queries.queue import (
    cancel_jobs,
    hold_running,
    is_queued,
    names_made,
    queue_name,
    shards_queued,
)
from sensedict_server.tables import build_shards, builds

if TYPE_CHECKING:
    from sensedict_server.build.plan import BuildSettings
    from sensedict_server.build.stages import Stage

TASK = "make"
FIRST, LAST = "plan", "publish"

_TAKE_OVER = """
INSERT INTO build_shards (build_id, shard, file, bytes, sha256, facts, size, seconds, worker)
SELECT :build, shard, file, bytes, sha256, facts, size, seconds, worker FROM build_shards
WHERE build_id = :earlier AND shard <> :last AND file IS NOT NULL
"""


def open_build(
    engine: Engine,
    settings: BuildSettings,
    content: Mapping[str, Any] | None,
    store: str,
    fresh: bool = False,
    plan: str | None = None,
) -> Build:
    """The running build of these settings: the one that is there, a stopped one that goes on, or a new one.

    A new build takes over the shards of any other in the same store that has them in common.

    Args:
        content: what decides the result; None where it is yet to be found out.
        store: folder or URL of the shards.
        fresh: throw away what earlier builds left in the store.
        plan: the server's plan that the build is started from.

    Raises:
        Conflict: another build of that name and version is running, names what differs; or, with `fresh`, one that
            is running has its shards there.
    """
    while True:
        try:
            return _opened(engine, settings, content, store, fresh, plan)
        except IntegrityError as error:
            if not isinstance(error.orig, psycopg.errors.UniqueViolation):
                raise
        # Another process opened one in this moment: look again.


@patient
def advance(engine: Engine, build_id: int, stages: Sequence[Stage]) -> None:
    """Put into the queue what is missing of the first unfinished stage; a build that has all is published."""
    with engine.begin() as connection:
        if is_queued(connection, build_id, "todo") or not hold_running(connection, build_id):
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
        if not is_queued(connection, build_id, "todo", "doing") and hold_running(connection, build_id):
            _first_job(connection, build_id)


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


@patient
def _opened(
    engine: Engine,
    settings: BuildSettings,
    content: Mapping[str, Any] | None,
    store: str,
    fresh: bool,
    plan: str | None,
) -> Build:
    with engine.begin() as connection:
        there = running_build(connection, settings.name, settings.version)
        if there is not None:
            _check_same(there, settings, content)
        if fresh:
            _throw_away(connection, store)
        build_id = there.id if there is not None else _stopped(connection, settings, content, store)
        if build_id is None:
            build_id = _new(connection, settings, content, store, plan)
        elif there is None:
            _go_on(connection, build_id, settings)
        if not is_queued(connection, build_id, "todo", "doing"):
            _first_job(connection, build_id)
        found = find_build(connection, build_id)
    if found is None:
        raise JobNotFound(f"job {build_id} was removed while it was being opened")
    return found


def _go_on(connection: Connection, build_id: int, settings: BuildSettings) -> None:
    """Set a build running again; its text may have moved."""
    going_on = {"state": "running", "error": None, "finished_at": None, "settings": settings.to_json()}
    connection.execute(update(builds).where(builds.c.id == build_id).values(going_on))


def _check_same(there: Build, settings: BuildSettings, content: Mapping[str, Any] | None) -> None:
    from sensedict_trainer.work import differences

    if content is not None and there.content is not None:
        differing = differences(there.content, content)
    else:
        before, now = (
            {name: value for name, value in each.items() if name not in NOT_CONTENT}
            for each in (there.settings, settings.to_json())
        )
        differing = differences(before, now)
    if differing:
        raise Conflict(
            f"{there.ref} is being built from other settings ({differing}): `sensedict jobs cancel {there.id}` ends "
            "that build; or choose another version"
        )


def _throw_away(connection: Connection, store: str) -> None:
    """Forget all shards of the store, and remove their files."""
    using = [build for build in list_builds(connection, "running") if build.store == store]
    if using:
        raise Conflict(
            f"{using[0].ref} is being built in {store}: `sensedict jobs cancel {using[0].id}` ends that build; or name "
            "another --work"
        )
    in_store = text("build_id IN (SELECT id FROM builds WHERE store = :store)").bindparams(store=store)
    connection.execute(delete(build_shards).where(in_store))
    Store(store).remove_all()  # killed before the commit, the manifest names files that are gone: they are made again


def _stopped(
    connection: Connection, settings: BuildSettings, content: Mapping[str, Any] | None, store: str
) -> int | None:
    """The build that failed or was cancelled and goes on."""
    now = settings.to_json()
    for build in builds_of(connection, settings.name, settings.version):
        same = build.settings == now if content is None else build.content == dict(content)
        if build.state in ("failed", "cancelled") and build.store == store and same:
            return build.id
    return None


def _new(
    connection: Connection,
    settings: BuildSettings,
    content: Mapping[str, Any] | None,
    store: str,
    plan: str | None,
) -> int:
    values = {
        "name": settings.name,
        "version": settings.version,
        "settings": settings.to_json(),
        "content": content,
        "store": store,
        "plan": plan,
    }
    build_id = connection.execute(insert(builds).values(values).returning(builds.c.id)).scalar_one()
    for earlier in builds_like(connection, content, NOT_IN_SHARDS) if content is not None else ():
        if earlier.id != build_id and earlier.store == store:
            taken = {"build": build_id, "earlier": earlier.id, "last": LAST}
            if connection.execute(text(_TAKE_OVER), taken).rowcount:
                break
    return int(build_id)


def _first_job(connection: Connection, build_id: int) -> None:
    _defer(connection, build_id, [FIRST])


def _defer(connection: Connection, build_id: int, shards: Sequence[str]) -> None:
    """Put shards into the queue, in the connection's transaction."""
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
                task_kwargs={"build_id": build_id, "shard": shard},
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
    running = (builds.c.id == build_id) & (builds.c.state == "running")
    values = {"state": state, "error": error, "finished_at": func.now()}
    return connection.execute(update(builds).where(running).values(values)).rowcount == 1
