"""The stages of a build: which shards it is made of, and how one of them is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sensedict_server.build.allocation_shards import allocate_shard, curve_shard
from sensedict_server.build.clusters import cluster_shard
from sensedict_server.build.harvest import harvest_shard
from sensedict_server.build.plan_shard import plan_shard
from sensedict_server.build.publish_shard import publish_shard
from sensedict_server.build.workplace import LostShard, Workplace
from sensedict_server.queries.builds import plan_facts

__all__ = ["LostShard", "Stage", "Workplace", "run", "stages"]

_MAKERS: Mapping[str, Callable[[str, Workplace], None]] = {
    "plan": plan_shard,
    "harvest": harvest_shard,
    "curves": curve_shard,
    "allocate": allocate_shard,
    "cluster": cluster_shard,
    "publish": publish_shard,
}


@dataclass(frozen=True)
class Stage:
    """Shards that may be made side by side, once those of the stages before are there.

    Attributes:
        name: `plan`, `harvest/0`, `cluster/0` or `publish`; where the number of senses is adaptive, also `curves/0` and
            `allocate`.
        sizes: of each shard by its name, for progress.
        unit: of the sizes: `tokens`, `states` or `files`.
    """

    name: str
    sizes: Mapping[str, int]
    unit: str


def stages(workplace: Workplace) -> list[Stage]:
    """The stages of a build in their order; before there is a plan, that alone is known."""
    with workplace.engine.connect() as connection:
        facts = plan_facts(connection, workplace.build.id)
    return stages_of(facts, workplace.settings.allocation == "adaptive", workplace.settings.tokens)


def stages_of(facts: Mapping[str, Any] | None, adaptive: bool, tokens: int | None = None) -> list[Stage]:
    """The stages that the facts of a plan tell of; without them the plan alone.

    Args:
        adaptive: whether the numbers of senses are.
        tokens: to be read, where that is known before the plan.
    """
    if facts is None:
        return [Stage("plan", {"plan": tokens or 0}, "tokens")]
    found = [Stage("plan", {"plan": int(facts["tokens"])}, "tokens")]
    for generation in range(int(facts["generations"])):
        found.append(_stage(facts["harvest"], f"harvest/{generation}", "run_tokens", "tokens"))
        clusters = _stage(facts["cluster"], f"cluster/{generation}", "states", "states")
        if adaptive:
            curves = {name.replace("cluster", "curves", 1): size for name, size in clusters.sizes.items()}
            found.append(Stage(f"curves/{generation}", curves, "states"))
            found.append(Stage("allocate", {"allocate": 1}, "files"))
        found.append(clusters)
    return [*(stage for stage in found if stage.sizes), Stage("publish", {"publish": 1}, "files")]


def run(shard: str, workplace: Workplace) -> None:
    """Make one shard and add it to the manifest; one that is there is left as it is.

    Raises:
        LostShard: a shard that it is made from is damaged, and must be made again first.
        Unavailable, TimeoutError, ConnectionError: try again later.
        SenseDictError: any other, and trying again would not help.
    """
    if shard not in workplace.made:
        _MAKERS[shard.partition("/")[0]](shard, workplace)


def _stage(parts: Mapping[str, Any], name: str, size: str, unit: str) -> Stage:
    """The stage of those shards that begin with its name."""
    sizes = {shard: int(part[size]) for shard, part in sorted(parts.items()) if shard.startswith(f"{name}/")}
    return Stage(name, sizes, unit)
