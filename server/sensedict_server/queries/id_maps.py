"""Published maps of sense ids from one dictionary to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from sensedict_server.tables import id_maps


@dataclass(frozen=True)
class IdMap:
    """What is known of a map without reading it.

    Attributes:
        summary: how it was made, and senses by state; JSON.
        sha256: of its Parquet file.
    """

    summary: dict[str, Any]
    sha256: str


def find_id_map(connection: Connection, old_id: int, new_id: int) -> IdMap | None:
    """The published map between two dictionaries, in that direction."""
    query = select(id_maps.c.summary, id_maps.c.sha256).where(id_maps.c.old_id == old_id, id_maps.c.new_id == new_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else IdMap(row.summary, row.sha256)


def id_map_content(connection: Connection, old_id: int, new_id: int) -> bytes:
    """The Parquet file of a map that is there."""
    query = select(id_maps.c.content).where(id_maps.c.old_id == old_id, id_maps.c.new_id == new_id)
    return bytes(connection.execute(query).scalar_one())


def add_id_map(connection: Connection, old_id: int, new_id: int, summary: Mapping[str, Any], content: bytes) -> bool:
    """Publish a map; false where one is there already, which stays as it is."""
    values = {
        "old_id": old_id,
        "new_id": new_id,
        "summary": dict(summary),
        "content": content,
        "sha256": sha256(content).hexdigest(),
    }
    statement = insert(id_maps).values(values).on_conflict_do_nothing().returning(id_maps.c.old_id)
    return connection.execute(statement).one_or_none() is not None
