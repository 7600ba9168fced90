"""Builds over HTTP and by `sensedict jobs`: shown, started by name, cancelled, removed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, insert, update

from sensedict_server.build.manifest import Manifest
from sensedict_server.queries.builds import (
    Shard,
    builds_like,
    builds_of,
    find_build,
    in_hand,
    list_builds,
    log_of,
    made_of,
    plan_facts,
    running_build,
)
from sensedict_server.tables import builds


def add_build(database: Engine, version: str = "1", state: str = "running", **values: Any) -> int:
    made = insert(builds).values(
        name="tiny",
        version=version,
        state="running",
        store="memory://tiny",
        **{"settings": {"teacher": "t"}, **values},
    )
    with database.begin() as connection:
        build_id = int(connection.execute(made.returning(builds.c.id)).scalar_one())
        if state != "running":
            connection.execute(
                update(builds).where(builds.c.id == build_id).values(state=state, finished_at=builds.c.created_at)
            )
    return build_id


def shard(name: str, size: int = 10, **facts: Any) -> Shard:
    return Shard(name, f"{name}.{size}.safetensors", 100, "0" * 64, size, 0.5, "host:1", facts)


def test_builds_are_found(database: Engine) -> None:
    content = {"k": 3, "teacher": "f" * 64, "lexicon": "a@1"}
    first = add_build(database, state="failed", content=content)
    second = add_build(database, content={**content, "lexicon": "b@1"})
    other = add_build(database, version="2", state="published", content={**content, "k": 4})
    unknown = add_build(database, version="3")
    with database.connect() as connection:
        found = find_build(connection, first)
        assert found is not None
        assert (found.ref, found.state, found.settings) == ("tiny@1", "failed", {"teacher": "t"})
        running = running_build(connection, "tiny", "1")
        assert running is not None
        assert running.id == second
        assert running_build(connection, "tiny", "2") is None
        assert [build.id for build in list_builds(connection)] == [unknown, other, second, first]
        assert [build.id for build in list_builds(connection, before=unknown, limit=2)] == [other, second]
        assert [build.id for build in list_builds(connection, "running")] == [unknown, second]
        assert [build.id for build in builds_of(connection, "tiny", "1")] == [second, first]
        assert [build.id for build in builds_like(connection, content)] == [first]
        assert [build.id for build in builds_like(connection, content, ["lexicon"])] == [second, first]
        assert find_build(connection, unknown + 1) is None
        assert in_hand(connection, second) == []


def test_what_is_made_of_a_build(database: Engine) -> None:
    manifest = Manifest(database, add_build(database))
    with database.connect() as connection:
        assert plan_facts(connection, manifest.build_id) is None
        assert made_of(connection, manifest.build_id) == {}
    for name in ("plan", "harvest/0/000000", "harvest/0/000001", "cluster/0/000000", "curves/000000"):
        assert manifest.add(shard(name, size=7, generations=1))
    manifest.lose(shard("harvest/0/000001", size=7))
    for line in ("first", "second", "third"):
        manifest.log("host:1", line)
    with database.connect() as connection:
        assert plan_facts(connection, manifest.build_id) == {"generations": 1}
        made = made_of(connection, manifest.build_id)
        assert set(made) == {"plan", "harvest/0", "cluster/0", "curves"}
        harvest = made["harvest/0"]
        assert (harvest.shards, harvest.size, harvest.seconds, harvest.bytes) == (1, 7, 0.5, 100)
        last = log_of(connection, manifest.build_id, limit=2)
        assert [line.message for line in last] == ["second", "third"]
        after = log_of(connection, manifest.build_id, after=last[0].id)
        assert [line.message for line in after] == ["third"]
