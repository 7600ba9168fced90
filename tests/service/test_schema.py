"""Migrations on data, what keeps published rows as they are, and the analysts' views."""

from __future__ import annotations

import socket
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from procrastinate.schema import SchemaManager
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from conftest import Published
from running_service import SENSEDICT, environment_of, free_port
from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Conflict, DictionaryNotFound, InvalidInput
from sensedict_server import schema
from sensedict_server.build.contents import Draft
from sensedict_server.build.lexicon import Recipe, load_lexicon
from sensedict_server.build.publish import publish
from sensedict_server.build.sources import parse_source
from sensedict_server.queries.dictionaries import count_published, list_dictionaries
from sensedict_server.settings import Settings
from sensedict_server.tables import metadata
from tiny_dictionary import RELATIONS, TOKENS, WORDS, D, insert_lexicon, make_draft


def test_up_is_idempotent(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    dictionary = publish(database, settings.files, tiny_draft)
    assert schema.migrate(database) == (schema.head(), schema.head())
    with database.connect() as connection:
        assert list_dictionaries(connection) == [dictionary]


def test_no_way_down_on_published_data(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    dictionary = publish(database, settings.files, tiny_draft)
    for revision in ("base", "0006"):
        with pytest.raises(Conflict, match="cannot go below 0007: the database holds dictionary tiny@1, "):
            schema.migrate(database, revision)
    with database.connect() as connection:
        assert schema.require_current(connection) == schema.head()
        assert list_dictionaries(connection) == [dictionary]


def unpublish(database: Engine) -> None:
    """As only the owner of the tables can: a database that was migrated up with what it had."""
    with database.begin() as connection:
        for table in ("dictionaries", "lexicons"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            connection.execute(text(f"UPDATE {table} SET state = 'draft'"))
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def test_down_and_up_on_data(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    first = publish(database, settings.files, tiny_draft)
    unpublish(database)
    assert schema.migrate(database, "base") == (schema.head(), None)
    with database.connect() as connection:
        # nothing of ours is left behind: tables, views, functions
        left = (
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
        )
        assert connection.execute(text(f"{left} AND relname NOT LIKE 'alembic%'")).scalars().all() == []
        functions = "SELECT proname FROM pg_proc WHERE proname LIKE 'refuse%'"
        assert connection.execute(text(functions)).scalars().all() == []
        with pytest.raises(ConfigurationError, match=f"schema is empty, this version needs {schema.head()}: run"):
            schema.require_current(connection)
    assert schema.migrate(database) == (None, schema.head())
    with database.connect() as connection:
        assert count_published(connection) == 0
        assert schema.require_current(connection) == schema.head()
    again = publish(database, settings.files, make_draft(*insert_lexicon(database)))
    assert again.content_hash == first.content_hash


def test_directions_that_the_oldest_schema_lost_are_not_made_up(database: Engine, tmp_path: Path) -> None:
    """Its ends stand in order of their ids: up again, nobody knows which of dog and animal is the wider."""
    (tmp_path / "mine.tsv").write_text("zebra\tanimal\thypernym\nhot\tcold\tantonym\n", "utf-8")
    load_lexicon(database, "mine", "1", Recipe([parse_source(f"typed:{tmp_path / 'mine.tsv'}")]))
    unpublish(database)
    schema.migrate(database, "0001")
    schema.migrate(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE lexicons SET state = 'published'"))
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    with database.connect() as connection:
        types = "SELECT type, directed FROM analytics.relations WHERE lexicon = :lexicon ORDER BY type"
        old, new = (connection.execute(text(types), {"lexicon": ref}).all() for ref in ("mine@1", "mine@2"))
        assert (old, new) == ([("antonym", False), ("hypernym", False)], [("antonym", False)])
        skipped = connection.execute(text("SELECT skipped FROM analytics.sources ORDER BY lexicon")).scalars().all()
        assert skipped == [{}, {"direction unknown: load the source anew": 1}]


def test_an_unknown_revision(database: Engine) -> None:
    with pytest.raises(InvalidInput, match=r"cannot migrate to 'nosuch'.*revisions are base, "):
        schema.migrate(database, "nosuch")


def _is_ours(name: str | None, type_: str, parents: object) -> bool:
    return type_ != "table" or not (name or "").startswith("procrastinate_")


def test_tables_are_the_migrated_schema(database: Engine) -> None:
    with database.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_name": _is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        # compare_metadata does not look at checks
        checks = {row for (row,) in connection.execute(text("SELECT conname FROM pg_constraint WHERE contype = 'c'"))}
        ours = {
            str(constraint.name)
            for table in metadata.tables.values()
            for constraint in table.constraints
            if type(constraint).__name__ == "CheckConstraint"
        }
        assert ours <= checks
        assert {check for check in checks if check.startswith("ck_")} <= ours


QUEUE = {  # all but the order of a table's columns: those that a migration adds come last
    "columns": """
        SELECT c.oid::regclass::text, c.relkind, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
            pg_get_expr(adbin, adrelid)
        FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
            LEFT JOIN pg_attrdef ON (adrelid, adnum) = (c.oid, attnum)
        WHERE relname LIKE 'procrastinate%' AND relkind IN ('r', 'c', 'v') AND attnum > 0 AND NOT attisdropped""",
    "sequences": """
        SELECT sequencename, data_type::text, start_value, max_value, increment_by, cycle FROM pg_sequences
        WHERE sequencename LIKE 'procrastinate%'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid::regclass::text LIKE 'procrastinate%'""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'procrastinate%'",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'procrastinate%'",
    "triggers": """
        SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger
        WHERE tgrelid::regclass::text LIKE 'procrastinate%' AND NOT tgisinternal""",
    "enums": "SELECT enumtypid::regtype::text, array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum GROUP BY 1",
}


def _queue(database: Engine) -> dict[str, list[str]]:
    with database.connect() as connection:
        return {what: sorted(str(row) for row in connection.execute(text(query))) for what, query in QUEUE.items()}


def test_the_queue_is_that_of_the_procrastinate_installed(database: Engine) -> None:
    """Where this fails procrastinate is newer: a migration of ours must run its new ones, up to the newest."""
    shipped = max(path.name for path in Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    assert shipped == "03.04.00_50_post_add_retry_failed_job_procedure.sql"
    migrated = _queue(database)
    schema.migrate(database, "0003")
    assert not any(_queue(database).values())
    with closing(database.raw_connection()) as raw:
        raw.cursor().execute(SchemaManager.get_schema())
        raw.commit()
    whole = _queue(database)
    assert all(whole.values())
    assert migrated == whole


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE dictionaries SET teacher = 'another'",
        "DELETE FROM dictionaries",
        "UPDATE dictionaries SET state = 'draft'",
        "UPDATE tokens SET occurrences = 0",
        "DELETE FROM tokens WHERE token_id = 0",
        "INSERT INTO tokens SELECT dictionary_id, 999, 'new', 0, 0, 0 FROM tokens LIMIT 1",
        "UPDATE senses SET inertia = 0 WHERE sense_id = 3",
        "DELETE FROM contexts",
        "UPDATE dictionary_words SET sense_count = 0",
        "TRUNCATE contexts",
        "UPDATE lexicons SET version = '2'",
        "DELETE FROM lexicons",
        "UPDATE relations SET conflict = true",
        "DELETE FROM relations WHERE parent_id IS NOT NULL",
        "INSERT INTO relation_sources (lexicon_id, name, licence, version) SELECT id, 'n', 'l', 'v' FROM lexicons",
        "TRUNCATE relations CASCADE",
        "TRUNCATE relation_glosses",
        "UPDATE words SET text = 'another' WHERE text = 'hot'",
    ],
)
def test_published_never_changes(published: Published, change: str) -> None:
    with (
        pytest.raises(Conflict, match="never change"),
        published.engine.begin() as connection,
    ):
        connection.execute(text(change))


def test_what_is_not_published_may_change(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO lexicons (name, version) VALUES ('draft', '1')"))
        connection.execute(text("UPDATE lexicons SET version = '2'"))
        connection.execute(text("DELETE FROM lexicons"))


def test_aliases_may_move(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO aliases SELECT name, 'prod', id FROM dictionaries"))
        connection.execute(text("DELETE FROM aliases WHERE alias = 'prod'"))


def test_the_analysts_views(published: Published) -> None:
    with published.engine.connect() as connection:
        count = connection.execute(
            text("SELECT count(*) FROM analytics.words WHERE dictionary = 'tiny@1'")
        ).scalar_one()
        assert count == len(WORDS)
        rows = connection.execute(text("SELECT word, other, type, licence FROM analytics.relations")).all()
        assert len(rows) == len(RELATIONS)
        assert ("cold", "hot", "antonym", "Apache-2.0") in {(*sorted((row[0], row[1])), row[2], row[3]) for row in rows}
        both = text(
            "SELECT other, type, licence FROM analytics.word_relations WHERE lexicon = 'opposites@1' AND word = :w"
        )
        for word, other in (("cold", "hot"), ("hot", "cold")):
            assert (other, "antonym", "Apache-2.0") in connection.execute(both, {"w": word}).all()
        counted = connection.execute(
            text("SELECT word, count(*) AS n FROM analytics.word_relations GROUP BY word")
        ).all()
        expected = Counter(end for row in rows for end in (row.word, row.other))
        assert {row.word: row.n for row in counted} == expected
        (derived,) = connection.execute(text("SELECT word, other, rule, parent_type FROM analytics.derivations")).all()
        assert {derived.word, derived.other} == {"kind", "glad"}
        assert (derived.rule, derived.parent_type) == ("negation:un-", "antonym")
        senses = connection.execute(text("SELECT owner, text, vector FROM analytics.senses ORDER BY sense_id")).all()
        assert len(senses) == published.dictionary.senses
        assert (senses[0].owner, senses[0].text, senses[0].vector.dimensions()) == ("token", TOKENS[1][0], D)
        nearest = "SELECT sense_id FROM analytics.senses ORDER BY vector <-> (:v)::halfvec LIMIT 1"
        vector = str(published.draft.tokens.vectors[5].astype(np.float32).tolist())
        assert connection.execute(text(nearest), {"v": vector}).scalar_one() == 5


def test_drafts_are_not_in_the_views(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO lexicons (name, version) VALUES ('draft', '1')"))
        connection.execute(text("INSERT INTO words (text) VALUES ('a'), ('b')"))
        connection.execute(
            text(
                "INSERT INTO relation_sources (lexicon_id, name, licence, version) "
                "SELECT id, 's', 'l', '1' FROM lexicons"
            )
        )
        connection.execute(
            text(
                "INSERT INTO relations (lexicon_id, word_id, other_id, type, source_id) "
                "SELECT l.id, a.id, b.id, 'synonym', s.id FROM lexicons l, relation_sources s, words a, words b "
                "WHERE a.text = 'a' AND b.text = 'b'"
            )
        )
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM analytics.relations")).scalar_one() == 0


def sensedict(settings: Settings, *arguments: str) -> str:
    """What the command prints, in this process; an error of ours is raised."""
    done = CliRunner().invoke(cli, arguments, env=environment_of(settings))
    if done.exception is not None:
        raise done.exception
    return done.output


def test_the_migrate_command(settings: Settings) -> None:
    assert sensedict(settings, "migrate", "--to", "base") == f"The schema is empty, was {schema.head()}.\n"
    with pytest.raises(ConfigurationError, match=f"this version needs {schema.head()}: run `sensedict migrate`"):
        sensedict(settings, "serve", "--port", str(free_port()))
    for asked in (["files", "list"], ["jobs", "list"], ["diff", "tiny@1", "tiny@2"]):
        with pytest.raises(ConfigurationError, match=f"this version needs {schema.head()}: run `sensedict migrate`"):
            sensedict(settings, *asked)
    assert sensedict(settings, "migrate") == f"The schema is at {schema.head()}, was empty.\n"
    assert sensedict(settings, "migrate") == f"The schema is at {schema.head()} already.\n"
    assert sensedict(settings, "lexicon", "list") == "there is no lexicon yet: `sensedict lexicon load` makes one\n"


def test_a_question_makes_no_database(tmp_path: Path) -> None:
    asked = (["serve", "--port", str(free_port())], ["jobs", "list"], ["files", "list"], ["lexicon", "list"])
    environment = {"SENSEDICT_HOME": str(tmp_path / "home"), "SENSEDICT_DATABASE_URL": None, "SENSEDICT_KEYS": "auto"}
    for arguments in asked:
        done = CliRunner().invoke(cli, arguments, env=environment)
        assert isinstance(done.exception, ConfigurationError)
        assert f"no database in {tmp_path}/home/postgres yet: run `sensedict migrate`" in str(done.exception)
    assert not (tmp_path / "home").exists()


def test_a_port_in_use(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"port {port} of 127.0.0.1 is in use: choose another with --port"
        with pytest.raises(ConfigurationError, match=message):
            sensedict(settings, "serve", "--port", str(port))
    with pytest.raises(ConfigurationError, match=r"cannot listen on port 8000 of 192\.0\.2\.1: "):
        sensedict(settings, "serve", "--host", "192.0.2.1")


def test_the_files_commands(published: Published) -> None:
    settings, place = published.settings, str(published.folder)
    assert sensedict(settings, "files", "list") == f"tiny@1\t{place}\n"
    for verb in ("write", "path"):
        assert sensedict(settings, "files", verb, "tiny@1") == f"{place}\n"
    assert sensedict(settings, "files", "verify", "tiny@1") == f"{place} is whole.\n"
    assert "not there yet: `sensedict files write tiny@2` writes it" in sensedict(settings, "files", "path", "tiny@2")
    with pytest.raises(InvalidInput, match="'tiny': write name@version"):
        sensedict(settings, "files", "path", "tiny")
    with pytest.raises(DictionaryNotFound, match="no dictionary 'tiny@2'; 'tiny' has 1, latest"):
        sensedict(settings, "files", "write", "tiny@2")
    with pytest.raises(ConfigurationError, match="tiny@2 is not a dictionary's file set"):
        sensedict(settings, "files", "verify", "tiny@2")
    for verb in ("start", "stop", "status", "url"):
        with pytest.raises(ConfigurationError, match="names a server, which is not ours to start"):
            sensedict(settings, "database", verb)


def test_an_error_is_one_line_of_the_command(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path, database_url=make_url("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    done = subprocess.run(
        [*SENSEDICT, "migrate"], env=environment_of(nowhere), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sensedict: the database cannot be reached: connection")
    assert len(done.stderr.splitlines()) == 1
