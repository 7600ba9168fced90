"""Builds of dictionaries: which are running, and what is made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Row,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    table,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from sensedict.wire import JobState
from sensedict_server.queries.queue import SILENCE, jobs, queue_name, status
from sensedict_server.tables import build_log, build_shards, builds

_workers = table("procrastinate_workers", column("id"), column("last_heartbeat", DateTime(timezone=True)))


@dataclass(frozen=True)
class Build:
    """A build of a dictionary, running or past.

    Attributes:
        settings: as `BuildSettings` are kept in JSON.
        content: what decides the result; None until teacher and text were looked at.
        store: folder or URL of the shards; plan: the server's plan that it was started from.
        error: why it failed.
    """

    id: int
    name: str
    version: str
    state: JobState
    settings: dict[str, Any]
    content: dict[str, Any] | None
    store: str
    plan: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def ref(self) -> str:
        """The dictionary that it makes, name@version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Shard:
    """A finished piece of a build.

    Attributes:
        name: `harvest/0/000012`: what it is of the build, the same for every attempt.
        file: its name in the store, of this attempt alone.
        bytes, sha256: of the file.
        size: tokens or hidden states, for progress.
        seconds: it took; worker: who made it.
        facts: what its readers need to know before they open it, JSON.
    """

    name: str
    file: str
    bytes: int
    sha256: str
    size: int
    seconds: float
    worker: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What is made of one stage: shards, their sizes in the stage's unit, seconds of work, and bytes in the store."""

    stage: str
    shards: int
    size: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class LogLine:
    """Something that happened to a build."""

    id: int
    at: datetime
    worker: str
    message: str


def find_build(connection: Connection, build_id: int) -> Build | None:
    """The build of that id."""
    return _one(connection, select(builds).where(builds.c.id == build_id))


def running_build(connection: Connection, name: str, version: str) -> Build | None:
    """The build that is making that dictionary now; the database lets there be one at most."""
    running = builds.c.state == "running"
    return _one(connection, select(builds).where(builds.c.name == name, builds.c.version == version, running))


def list_builds(
    connection: Connection, state: JobState | None = None, before: int | None = None, limit: int | None = None
) -> list[Build]:
    """Builds, newest first: in one state, older than the build `before`, no more than `limit` of them."""
    query = select(builds).order_by(builds.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(builds.c.state == state)
    if before is not None:
        query = query.where(builds.c.id < before)
    return [_build(row) for row in connection.execute(query)]


def builds_of(connection: Connection, name: str, version: str) -> list[Build]:
    """Every build of that dictionary, newest first."""
    query = select(builds).where(builds.c.name == name, builds.c.version == version)
    return [_build(row) for row in connection.execute(query.order_by(builds.c.id.desc()))]


def builds_like(connection: Connection, content: Mapping[str, Any], but_for: Sequence[str] = ()) -> list[Build]:
    """Builds of the same content, whatever they are called and those keys of it say; newest first."""
    there = builds.c.content.op("-")(cast(list(but_for), ARRAY(Text)))
    same = {name: value for name, value in content.items() if name not in but_for}
    query = select(builds).where(there == literal(same, JSONB)).order_by(builds.c.id.desc())
    return [_build(row) for row in connection.execute(query)]


def locked_build(connection: Connection, build_id: int) -> Build | None:
    """The build of that id, which nobody else changes before the transaction ends."""
    return _one(connection, select(builds).where(builds.c.id == build_id).with_for_update())


def hold_store(connection: Connection, store: str) -> None:
    """Wait until nobody else opens or removes builds in that store, and keep others waiting.

    Until the transaction ends.
    """
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(store, 0))))


def builds_in(connection: Connection, store: str) -> list[Build]:
    """The builds that keep their shards in that store, or in a folder of it; oldest first."""
    place = store.rstrip("/")
    there = or_(builds.c.store == store, func.starts_with(builds.c.store, place + "/"))
    return [_build(row) for row in connection.execute(select(builds).where(there).order_by(builds.c.id))]


def shards_of(connection: Connection, build_id: int) -> dict[str, Shard]:
    """All that is made of a build, by name."""
    table = build_shards.c
    query = select(
        table.shard, table.file, table.bytes, table.sha256, table.size, table.seconds, table.worker, table.facts
    ).where(table.build_id == build_id, table.file.is_not(None))
    return {row.shard: Shard(*row) for row in connection.execute(query)}


def made_of(connection: Connection, build_id: int) -> dict[str, Made]:
    """What is made of each stage that has a shard, by the stage's name: that of its shards without their number."""
    stage = func.regexp_replace(build_shards.c.shard, "/[^/]*$", "").label("stage")
    query = (
        select(
            stage,
            func.count(),
            cast(func.sum(build_shards.c.size), BigInteger),
            func.sum(build_shards.c.seconds),
            cast(func.sum(build_shards.c.bytes), BigInteger),
        )
        .where(build_shards.c.build_id == build_id, build_shards.c.file.is_not(None))
        .group_by(stage)
    )
    return {row.stage: Made(*row) for row in connection.execute(query)}


def plan_facts(connection: Connection, build_id: int) -> dict[str, Any] | None:
    """What the plan of a build says of its shards; None while there is no plan."""
    query = select(build_shards.c.facts).where(
        build_shards.c.build_id == build_id, build_shards.c.shard == "plan", build_shards.c.file.is_not(None)
    )
    facts: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return facts


def in_hand(connection: Connection, build_id: int) -> list[str]:
    """The shards of a build that living workers are making now."""
    shard = jobs.c.args["shard"].astext
    query = (
        select(shard)
        .join(_workers, _workers.c.id == jobs.c.worker_id)
        .where(jobs.c.queue_name == queue_name(build_id), status == "doing")
        .where(_workers.c.last_heartbeat > func.now() - timedelta(seconds=SILENCE))
    )
    return list(connection.execute(query.order_by(shard)).scalars())


def log_of(connection: Connection, build_id: int, after: int | None = None, limit: int | None = None) -> list[LogLine]:
    """The last lines of a build's log, oldest first; with `after`, those that follow that line."""
    newest = (
        select(build_log.c.id, build_log.c.at, build_log.c.worker, build_log.c.message)
        .where(build_log.c.build_id == build_id, true() if after is None else build_log.c.id > after)
        .order_by(build_log.c.id.desc())
        .limit(limit)
    )
    return [LogLine(*row) for row in reversed(connection.execute(newest).all())]


def _one(connection: Connection, query: Select[Any]) -> Build | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else _build(row)


def _build(row: Row[Any]) -> Build:
    return Build(**{name: row._mapping[name] for name in Build.__dataclass_fields__})
