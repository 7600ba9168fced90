"""Published maps of sense ids from one dictionary to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from sensedict_server.tables import dictionaries, id_maps


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


def pairs_mapped(connection: Connection, dictionary_id: int) -> list[tuple[str, str]]:
    """The old and the new version of each published map that begins or ends at a dictionary, as name@version."""
    old, new = dictionaries.alias("old"), dictionaries.alias("new")
    query = (
        select(old.c.name + "@" + old.c.version, new.c.name + "@" + new.c.version)
        .select_from(id_maps)
        .join(old, old.c.id == id_maps.c.old_id)
        .join(new, new.c.id == id_maps.c.new_id)
        .where((id_maps.c.old_id == dictionary_id) | (id_maps.c.new_id == dictionary_id))
        .order_by(id_maps.c.created_at)
    )
    return [(str(of), str(to)) for of, to in connection.execute(query)]


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
