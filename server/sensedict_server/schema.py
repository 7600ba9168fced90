"""The database's schema: bring it up to date, and say where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from sensedict.errors import ConfigurationError, InvalidInput
from sensedict_server import embedded
from sensedict_server.database import opened
from sensedict_server.settings import Settings

_OLDEST_POSTGRESQL = 15  # unique constraints with NULLS NOT DISTINCT
_OLDEST_PGVECTOR = (0, 8)
_LOCK = 0x5E45ED1C  # advisory: two services that start at once migrate one after the other


def migrate(engine: Engine, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to `revision`, up or down, in one transaction; does nothing when it is there.

    Returns:
        The revision before and the revision after; None stands for an empty database (`base`).

    Raises:
        ConfigurationError: the server is older than we need, or has no pgvector.
        InvalidInput: there is no such revision.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _check_server(connection)
        before = current(connection)
        config = _config()
        config.attributes["connection"] = connection
        try:
            if revision == "base" or _is_below(revision, before):
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
        except CommandError as error:
            known = ", ".join(script.revision for script in _scripts().walk_revisions())
            raise InvalidInput(f"cannot migrate to {revision!r}: {error}; revisions are base, {known}") from error
        after = current(connection)
    engine.dispose()  # connections from before the first migration do not know pgvector's types
    return before, after


def current(connection: Connection) -> str | None:
    """The revision that the database is at, None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The revision that this code needs."""
    revision = _scripts().get_current_head()
    if revision is None:
        raise ConfigurationError("this installation holds no migrations: install sensedict again")
    return revision


def is_known(revision: str) -> bool:
    """Whether this installation has the migration."""
    return revision in [script.revision for script in _scripts().walk_revisions()]


def require_current(connection: Connection) -> str:
    """The revision of the database, which is the one this code needs.

    Raises:
        ConfigurationError: it is another one; the message says what to do.
    """
    found, needed = current(connection), head()
    if found != needed:
        state = f"at {found}" if found else "empty"
        raise ConfigurationError(
            f"the database's schema is {state}, this version needs {needed}: run `sensedict migrate`"
        )
    return needed


def has_database(settings: Settings) -> bool:
    """Whether there is one to ask: a server is named, or the embedded one was started before."""
    return settings.database_url is not None or embedded.status(settings.embedded).version is not None


def require_database(settings: Settings) -> None:
    """Let pass settings with a database, so that a question alone makes none.

    Raises:
        ConfigurationError: it is an embedded one that was never started.
    """
    if not has_database(settings):
        raise ConfigurationError(f"there is no database in {settings.embedded} yet: run `sensedict migrate`")


@contextmanager
def migrated(settings: Settings) -> Iterator[Engine]:
    """The pool of the database of `settings`, once its schema is found to be up to date.

    Raises:
        ConfigurationError: there is no database yet, or see `require_current`.
        Unavailable: it cannot be reached.
    """
    require_database(settings)
    with opened(settings) as database:
        with database.connect() as connection:
            require_current(connection)
        yield database


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """One connection of `migrated`, for a command that only reads."""
    with migrated(settings) as database, database.connect() as connection:
        yield connection


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("sensedict_migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _is_below(revision: str, before: str | None) -> bool:
    """Whether `revision` is an ancestor of where the database stands."""
    if before is None or revision in ("head", before):
        return False
    older = [script.revision for script in _scripts().iterate_revisions(before, "base")]
    return revision in older


def _check_server(connection: Connection) -> None:
    number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if number < _OLDEST_POSTGRESQL * 10_000:
        raise ConfigurationError(
            f"the server is PostgreSQL {number // 10_000}: {_OLDEST_POSTGRESQL} or newer is needed"
        )
    version = connection.execute(
        text("SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'")
    ).scalar_one_or_none()
    wanted = ".".join(map(str, _OLDEST_PGVECTOR))
    if version is None:
        raise ConfigurationError(f"the PostgreSQL server has no pgvector: install pgvector {wanted} or newer on it")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_PGVECTOR:
        raise ConfigurationError(
            f"pgvector is {version}, {wanted} or newer is needed: ALTER EXTENSION vector UPDATE, or install it anew"
        )
