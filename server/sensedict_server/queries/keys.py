"""API keys: what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import Connection, bindparam, func, insert, select, update

from sensedict_server.tables import api_keys

Scope = Literal["read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Key:
    """A key, but for the key itself, which is kept nowhere.

    Attributes:
        hash: its sha256.
        prefix: its first characters.
        expires_at: None: never.
        last_used_at: about a minute late.
    """

    id: int
    name: str
    scope: Scope
    hash: bytes
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def list_keys(connection: Connection) -> list[Key]:
    """Every key that was ever made, oldest first."""
    return [Key(**row) for row in connection.execute(select(api_keys).order_by(api_keys.c.id)).mappings()]


def keys_in_force(connection: Connection) -> list[Key]:
    """The keys that are neither revoked nor expired."""
    query = select(api_keys).where(
        api_keys.c.revoked_at.is_(None),
        api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > func.now()),
    )
    return [Key(**row) for row in connection.execute(query).mappings()]


def find_key(connection: Connection, name: str) -> Key | None:
    """The key of that name that is not revoked; it may have expired."""
    query = select(api_keys).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Key(**row)


def add_key(
    connection: Connection, name: str, scope: Scope, hash: bytes, prefix: str, expires_at: datetime | None
) -> Key:
    """Keep a new key; its name is free."""
    values = {"name": name, "scope": scope, "hash": hash, "prefix": prefix, "expires_at": expires_at}
    row = connection.execute(insert(api_keys).values(values).returning(api_keys)).mappings().one()
    return Key(**row)


def revoke_key(connection: Connection, id: int) -> None:
    """Put a key out of force, for ever."""
    connection.execute(update(api_keys).where(api_keys.c.id == id).values(revoked_at=func.now()))


def mark_used(connection: Connection, used: Mapping[int, datetime]) -> None:
    """Write down when keys, by id, were last used; a process that is late does not turn the time back."""
    rows = [{"key": id, "at": at} for id, at in sorted(used.items())]  # in order: processes do not lock each other out
    later = func.greatest(api_keys.c.last_used_at, bindparam("at", type_=api_keys.c.last_used_at.type))
    connection.execute(update(api_keys).where(api_keys.c.id == bindparam("key")).values(last_used_at=later), rows)
