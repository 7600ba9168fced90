"""What the service may do in the database, and for how long: less than the owner of its tables.

The migrations make the group role `sensedict_service`, which owns nothing: it cannot TRUNCATE, DROP, ALTER or switch
triggers off, and triggers keep what is published. A login that is granted this role and nothing else is a true bound.
Where the service is given an owner's or a superuser's login it steps down to the role, which bounds what our own code
does by mistake, and not somebody who can send statements of his own (`SET ROLE NONE`).
"""

from __future__ import annotations

import logging

from psycopg import sql
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from sensedict.errors import ConfigurationError, Unavailable
from sensedict_server.database import driver
from sensedict_server.queries.roles import Standing, standing

SERVICE = "sensedict_service"
EMBEDDED_LOGIN = "sensedict_api"
STATEMENT_SECONDS = 30
LIMITS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
}
_DOCS = "docs/security.md"

_log = logging.getLogger("sensedict.service")


def service_url(engine: Engine, embedded: bool) -> URL:
    """The address under which the processes that answer connect: as little as the login of `engine` lets us be.

    Args:
        embedded: the server is ours, so that we may make a login.
    """
    try:
        if embedded:
            with engine.begin() as connection:
                make_login(connection, EMBEDDED_LOGIN, None)
            return engine.url.set(username=EMBEDDED_LOGIN)
        with engine.connect() as connection:
            found = standing(connection)
    except Unavailable:  # who serves says so
        return engine.url
    return _stepped_down(engine.url, found)


def _stepped_down(url: URL, found: Standing) -> URL:
    if not found.owner:
        if not found.bounded:
            _log.warning("the user %r has no statement_timeout: `sensedict database login` sets it", found.name)
        return url
    if not found.member:
        _log.warning("the service connects as %r, who may change the schema: see %s", found.name, _DOCS)
        return url
    settings = " ".join(f"-c {name}={value}" for name, value in {"role": SERVICE, **LIMITS}.items())
    given = url.query.get("options", "")
    return url.update_query_dict({"options": f"{given if isinstance(given, str) else ' '.join(given)} {settings}"})


def unhurried(connection: Connection) -> None:
    """Let this transaction take as long as it needs: a whole dictionary is written or read."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def make_login(connection: Connection, name: str, password: str | None) -> None:
    """Make, or give a new password to, a login that may do what the service does and nothing else.

    Args:
        password: None: none, where the server trusts who reaches its socket.

    Raises:
        ConfigurationError: the migrations could not make the role, or the name is one that may do more.
    """
    with driver(connection) as raw, raw.cursor() as cursor:
        if cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (SERVICE,)).rowcount == 0:
            raise ConfigurationError(f"the server has no role {SERVICE}: `sensedict migrate`, or see {_DOCS}")
        mightier = cursor.execute(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolname = current_user FROM pg_roles "
            "WHERE rolname = %s",
            (name,),
        ).fetchone()
        if mightier is not None and mightier[0]:
            raise ConfigurationError(f"the user {name!r} may do more than the service needs: choose another name")
        if mightier is not None and password is None:  # services that start at once would be in each other's way
            return
        user = sql.Identifier(name)
        if mightier is None:
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVICE), user))
        if password is not None:  # hashed here: a statement may end in a log
            hashed = raw.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
            cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(user, sql.Literal(hashed)))
        for setting, value in LIMITS.items():
            cursor.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(user, sql.Identifier(setting), sql.Literal(value))
            )
