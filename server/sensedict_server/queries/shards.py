"""The manifest of a build as its stages need it: without what each shard of the harvest says of all of clusters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from sensedict_server.queries.builds import Shard
from sensedict_server.tables import build_shards

_LARGE = ("slices", "sums")  # facts of a shard of the harvest, an entry for each shard of clusters


def made_shards(connection: Connection, build_id: int) -> dict[str, Shard]:
    """All that is made of a build, by name; facts without `slices` and `sums`."""
    return _shards(connection, build_id, build_shards.c.facts.op("-")(cast(list(_LARGE), ARRAY(Text))))


def harvests_for(connection: Connection, build_id: int, shard: str, fact: str) -> dict[str, Shard]:
    """The shards of the harvest that are made, by name, with the facts `plan` and `rows`.

    Args:
        shard: of clusters.
        fact: `slices` or `sums`; `rows` is its entry of that shard, null where there is none.
    """
    facts = build_shards.c.facts
    few = func.jsonb_build_object("plan", facts["plan"], "rows", facts[fact][shard])
    return _shards(connection, build_id, few, build_shards.c.shard.startswith("harvest/"))


def stale_shards(connection: Connection, build_id: int) -> dict[str, Shard]:
    """Shards that are made, but not for the plan that the build has now; none while it has no plan."""
    plan = build_shards.alias("plan")
    now = select(plan.c.facts["hash"]).where(
        plan.c.build_id == build_id, plan.c.shard == "plan", plan.c.file.is_not(None)
    )
    made = build_shards.c.shard.not_in(("plan", "publish"))
    other = build_shards.c.facts["plan"].is_distinct_from(now.scalar_subquery())
    return _shards(connection, build_id, func.jsonb_build_object(), made & other & now.exists())


def is_shared(connection: Connection, build_id: int, file: str) -> bool:
    """Whether another build has taken over a file."""
    query = select(build_shards.c.shard).where(build_shards.c.file == file, build_shards.c.build_id != build_id)
    return connection.execute(query.limit(1)).one_or_none() is not None


def _shards(
    connection: Connection, build_id: int, facts: ColumnElement[Any], *which: ColumnElement[bool]
) -> dict[str, Shard]:
    table = build_shards.c
    query = select(table.shard, table.file, table.bytes, table.sha256, table.size, table.seconds, table.worker, facts)
    query = query.where(table.build_id == build_id, table.file.is_not(None), *which)
    return {row.shard: Shard(*row) for row in connection.execute(query)}
