"""The stages of a build: which shards it is made of, and how one of them is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sensedict_server.build.workplace import LostShard, Workplace

__all__ = ["LostShard", "Stage", "Workplace", "run", "stages"]


@dataclass(frozen=True)
class Stage:
    """Shards that may be made side by side, once those of the stages before are there.

    Attributes:
        name: `plan`, `harvest/0`, `cluster/0` or `publish`.
        sizes: of each shard by its name, for progress.
        unit: of the sizes: `tok`, `state` or `file`.
    """

    name: str
    sizes: Mapping[str, int]
    unit: str


def stages(workplace: Workplace) -> list[Stage]:
    """The stages of a build in their order; before there is a plan, that alone is known."""
    raise NotImplementedError


def run(shard: str, workplace: Workplace) -> None:
    """Make one shard and add it to the manifest; one that is there is left as it is.

    Raises:
        LostShard: a shard that it is made from is damaged, and must be made again first.
        Unavailable, TimeoutError, ConnectionError: try again later.
        SenseDictError: any other, and trying again would not help.
    """
    raise NotImplementedError
