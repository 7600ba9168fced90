"""What the user of a connection may do."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

# Since PostgreSQL 16 a member may be kept from taking a role on.
_STANDING = text("""
    SELECT session_user AS name,
           u.rolsuper OR u.rolcreaterole OR pg_has_role(session_user, t.relowner, 'MEMBER') AS owner,
           coalesce(pg_has_role(session_user, s.oid,
               CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END), false)
               AS member,
           current_setting('statement_timeout') <> '0' AS bounded
    FROM pg_roles u
    LEFT JOIN pg_roles s ON s.rolname = 'sensedict_service'
    LEFT JOIN pg_class t ON t.oid = to_regclass('public.senses')
    WHERE u.rolname = session_user
""")


@dataclass(frozen=True)
class Standing:
    """Who is connected.

    Attributes:
        name: of the login.
        owner: it may change the schema, or make roles.
        member: it may act as the service's role.
        bounded: its statements end after a time.
    """

    name: str
    owner: bool
    member: bool
    bounded: bool


def standing(connection: Connection) -> Standing:
    """Who is connected, and as what."""
    row = connection.execute(_STANDING).one()
    return Standing(row.name, row.owner is not False, row.member, row.bounded)
