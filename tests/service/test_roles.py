"""What the service's login may do in the database, and what it is kept from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from conftest import Published
from running_service import environment_of
from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Conflict, Unavailable
from sensedict_server import roles
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.queries.roles import standing
from sensedict_server.settings import Settings

# What the login's own words are for being refused; `Conflict` is what our triggers say.
DENIED = "permission denied|must be owner|must be able to|must be superuser|must be a member"


@pytest.fixture
def login(settings: Settings, database: Engine, tiny_draft: Draft, tmp_path: Path) -> Iterator[Engine]:
    """A database with `tiny@1` published, for a user that `sensedict database login` made."""
    publish(database, settings.files, tiny_draft)
    name, file = f"api_{os.getpid()}", tmp_path / "password"
    file.write_text("s/e@c:r#t\n")
    done = CliRunner().invoke(
        cli, ["database", "login", name, "--password-file", str(file)], env=environment_of(settings)
    )
    assert done.output == f"{name} may do what the service does, and nothing else.\n", done.exception
    assert settings.database_url is not None
    with opened(replace(settings, database_url=settings.database_url.set(username=name))) as made:
        yield made
    with database.begin() as connection:
        connection.execute(text(f"DROP ROLE {name}"))


def refused(engine: Engine, statements: str) -> None:
    *before, last = statements.split(";")
    with engine.connect() as connection:
        for statement in before:
            connection.execute(text(statement))
        with pytest.raises((DBAPIError, Conflict), match=f"{DENIED}|never change"):
            connection.execute(text(last))


def test_what_the_login_is_kept_from(login: Engine) -> None:
    for statements in (
        "TRUNCATE contexts",
        "TRUNCATE senses CASCADE",
        "DROP TABLE contexts",
        "ALTER TABLE senses DISABLE TRIGGER ALL",
        "ALTER TABLE senses DISABLE TRIGGER USER",
        "DROP TRIGGER refuse_update_new ON senses",
        "ALTER TABLE dictionaries ADD COLUMN more text",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION refuse_change_of_word() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "DROP SCHEMA analytics CASCADE",
        "CREATE TABLE mine ()",
        "CREATE ROLE other",
        "SET ROLE postgres",
        "COPY senses TO PROGRAM 'cat'",
        "UPDATE senses SET inertia = 0",
        "DELETE FROM contexts",
        "UPDATE dictionaries SET state = 'draft'",
        'INSERT INTO contexts SELECT dictionary_id, sense_id, 99, text, start, "end" FROM contexts',
        # a table of the same name that is found first, in which nothing is published
        "CREATE TEMP TABLE dictionaries (LIKE public.dictionaries); UPDATE senses SET inertia = 0",
        "CREATE TEMP TABLE dictionaries (LIKE dictionaries); SET search_path = pg_temp, public; DELETE FROM contexts",
        "INSERT INTO api_keys (name, scope, hash, prefix) VALUES ('mine', 'admin', sha256('x'), 'x')",
        "UPDATE api_keys SET scope = 'admin'",
        "UPDATE alembic_version SET version_num = '0001'",
    ):
        refused(login, statements)


def test_what_the_login_may_do(login: Engine) -> None:
    with login.begin() as connection:
        found = standing(connection)
        assert (found.owner, found.member, found.bounded) == (False, True, True)
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == f"{roles.STATEMENT_SECONDS}s"
        connection.execute(text("INSERT INTO lexicons (name, version) VALUES ('draft', '1')"))
        connection.execute(text("UPDATE api_keys SET last_used_at = now()"))
        connection.execute(text("SET LOCAL statement_timeout = 10"))
        with pytest.raises(Unavailable, match="longer than it allows"):
            connection.execute(text("SELECT pg_sleep(60)"))
    assert roles.service_url(login, embedded=False) == login.url


def test_an_owner_steps_down(login: Engine, database: Engine, settings: Settings) -> None:
    with opened(replace(settings, database_url=roles.service_url(database, embedded=False))) as stepped:
        refused(stepped, "ALTER TABLE senses DISABLE TRIGGER ALL")
        refused(stepped, "RESET ROLE; TRUNCATE contexts")
        with stepped.begin() as connection:
            assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "5s"
            connection.execute(text("INSERT INTO lexicons (name, version) VALUES ('draft', '1')"))
    with database.begin() as connection, pytest.raises(ConfigurationError, match="'postgres' may do more than"):
        roles.make_login(connection, "postgres", None)


def test_the_embedded_server_has_a_login_of_its_own(database: Engine) -> None:
    url = roles.service_url(database, embedded=True)
    assert url.username == roles.EMBEDDED_LOGIN
    with opened(Settings(home=Path("/nowhere"), database_url=url)) as made:
        refused(made, "TRUNCATE contexts")
    roles.service_url(database, embedded=True)  # each service that starts makes sure of it


def test_every_function_of_a_trigger_looks_in_our_schema_alone(published: Published) -> None:
    """Otherwise a temporary table hides ours from it: see `test_what_the_login_is_kept_from`."""
    query = """
        SELECT p.proname FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype = 'trigger'::regtype
        AND p.proname NOT LIKE 'procrastinate%' AND NOT coalesce(
            'search_path=pg_catalog, public, pg_temp' = ANY (p.proconfig), false)"""
    with published.engine.connect() as connection:
        assert connection.execute(text(query)).scalars().all() == []
