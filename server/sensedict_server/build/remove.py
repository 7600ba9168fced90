"""Take a finished build away: its files in the store, its manifest and its log. What it published stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete

from sensedict.errors import Conflict, JobNotFound
from sensedict_server.build.jobs import LAST
from sensedict_server.build.store import Store
from sensedict_server.queries.builds import Shard, builds_in, find_build, hold_store, in_hand, locked_build, shards_of
from sensedict_server.tables import builds


@dataclass(frozen=True)
class Removed:
    """What was taken away: the dictionary's name@version, files of the store and their bytes."""

    ref: str
    files: int
    bytes: int


def remove_build(engine: Engine, build_id: int) -> Removed:
    """Remove a build that does not run, with all its files that no other build has taken over.

    Nothing is forgotten before the files are gone, so a store that is away leaves a build that can be removed later.

    Raises:
        JobNotFound: there is none of that number.
        Conflict: it is running, or a worker has not yet noticed that it ended.
        Unavailable, ConfigurationError: the store.
    """
    with engine.begin() as connection:
        there = find_build(connection, build_id)
        if there is not None:
            hold_store(connection, there.store)  # nobody takes over now what is about to go
        build = locked_build(connection, build_id)
        if build is None:
            raise JobNotFound(f"there is no job {build_id}: `sensedict jobs` lists those that there are")
        if build.state == "running":
            raise Conflict(f"job {build_id}, {build.ref}, is running: `sensedict jobs cancel {build_id}` first")
        if ending := in_hand(connection, build_id):
            raise Conflict(f"job {build_id}, {build.ref}, is ending: a worker is still at {ending[0]}; wait for it")
        others = [other.id for other in builds_in(connection, build.store) if other.id != build_id]
        kept = {file for other in others for file, _ in _files(connection, other)}
        files = {file: size for file, size in _files(connection, build_id) if file not in kept}
        store = Store(build.store)
        for file in files:
            store.remove(file)
        if not others:
            store.remove_all()  # what attempts left whose worker died
        connection.execute(delete(builds).where(builds.c.id == build_id))
    return Removed(build.ref, len(files), sum(files.values()))


def _files(connection: Connection, build_id: int) -> Iterator[tuple[str, int]]:
    """The files of a build and their bytes: of its shards, and those that its plan names."""
    shards = shards_of(connection, build_id)
    for shard in shards.values():
        if shard.name != LAST:  # publishing has no file in the store
            yield shard.file, shard.bytes
    yield from _token_files(shards)


def _token_files(shards: Mapping[str, Shard]) -> Iterator[tuple[str, int]]:
    plan = shards.get("plan")
    for stored in plan.facts.get("token_files", {}).values() if plan is not None else ():
        yield stored["file"], stored["bytes"]
