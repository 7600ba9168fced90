"""Builds of dictionaries: which are running, and what is made of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from sensedict_server.tables import build_shards


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


def shards_of(connection: Connection, build_id: int) -> dict[str, Shard]:
    """All that is made of a build, by name."""
    table = build_shards.c
    query = select(
        table.shard, table.file, table.bytes, table.sha256, table.size, table.seconds, table.worker, table.facts
    ).where(table.build_id == build_id, table.file.is_not(None))
    return {row.shard: Shard(*row) for row in connection.execute(query)}
