"""Builds as rows: opening one, attaching to one that runs, going on with one that stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Connection, Engine, delete, insert, null, text, update
from sqlalchemy.exc import IntegrityError

from sensedict.errors import Conflict
from sensedict_server.build.identity import NOT_CONTENT, NOT_IN_SHARDS
from sensedict_server.build.jobs import LAST, first_job
from sensedict_server.build.store import Store
from sensedict_server.patience import patient
from sensedict_server.queries.builds import (
    Build,
    builds_in,
    builds_like,
    builds_of,
    hold_store,
    locked_build,
    running_build,
)
from sensedict_server.queries.queue import names_made
from sensedict_server.tables import build_shards, builds

if TYPE_CHECKING:
    from sensedict_server.build.plan import BuildSettings

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
            found = _opened(engine, settings, content, store, fresh, plan)
        except IntegrityError as error:
            if not isinstance(error.orig, psycopg.errors.UniqueViolation):
                raise
            continue  # another process opened one in this moment: look again
        if found is not None:
            return found


@patient
def _opened(
    engine: Engine,
    settings: BuildSettings,
    content: Mapping[str, Any] | None,
    store: str,
    fresh: bool,
    plan: str | None,
) -> Build | None:
    """The build, running; None where it ended in this moment."""
    with engine.begin() as connection:
        hold_store(connection, store)
        there = running_build(connection, settings.name, settings.version)
        if there is not None:
            _check_same(there, settings, content)
        if fresh:
            _throw_away(connection, store)
        build_id = there.id if there is not None else _stopped(connection, settings, content, store)
        if build_id is None:
            build_id = _new(connection, settings, content, store, plan)
        elif there is None:
            _go_on(connection, build_id, settings, content)
        found = locked_build(connection, build_id)
        if found is None or found.state != "running":
            return None
        first_job(connection, build_id)
    return found


def _go_on(connection: Connection, build_id: int, settings: BuildSettings, content: Mapping[str, Any] | None) -> None:
    """Set a build running again; its text may have moved, or, where nothing is made of it, be another."""
    going_on: dict[str, Any] = {"state": "running", "error": None, "finished_at": None, "settings": settings.to_json()}
    if content is None and not names_made(connection, build_id):
        going_on["content"] = null()
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
    there = builds_in(connection, store)
    using = next((build for build in there if build.state == "running"), None)
    if using is not None:
        raise Conflict(
            f"{using.ref} is being built in {using.store}: `sensedict jobs cancel {using.id}` ends that build; or name "
            "another --work"
        )
    connection.execute(delete(build_shards).where(build_shards.c.build_id.in_([build.id for build in there])))
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
        "content": null() if content is None else content,  # None would be the JSON null
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
