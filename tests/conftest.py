"""Real parts for every test: PostgreSQL in a folder, a published dictionary, and the service on loopback.

A test that changes data takes `database` (an empty, migrated database of its own) and perhaps `tiny_draft`, which puts
a small lexicon into it. A test that only reads takes `published` or `service`, made once for the whole run.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL

import analytics_lexicon
from running_service import Service, running_service
from sensedict_server import embedded, schema
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.settings import Settings
from tiny_dictionary import insert_lexicon, make_draft

_TEMPLATE = "sensedict_template"


@pytest.fixture(scope="session")
def postgres() -> Iterator[URL]:
    """URL of a migrated template database on a PostgreSQL of this run; keep it idle, or it is not copied."""
    home = Path(tempfile.mkdtemp(prefix="sensedict-test-"))  # short: the path of a socket has 107 characters at most
    home.chmod(0o755)
    url = embedded.open_embedded(home / "postgres")
    with _administration(url) as connection:
        connection.execute(text(f"CREATE DATABASE {_TEMPLATE} TEMPLATE {url.database}"))
    with opened(Settings(home=home, database_url=url.set(database=_TEMPLATE))) as template:
        schema.migrate(template)
    yield url.set(database=_TEMPLATE)
    embedded.stop(home / "postgres")
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def settings(postgres: URL, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name an empty, migrated database and a data folder of this test's own."""
    with copy_of_template(postgres, tmp_path / "home") as made:
        yield made


@pytest.fixture
def database(settings: Settings) -> Iterator[Engine]:
    """Engine of the database of `settings`."""
    with opened(settings) as made:
        yield made


@pytest.fixture
def tiny_draft(database: Engine) -> Draft:
    """The dictionary `tiny@1` (V = 40, D = 8, k = 3), unpublished; its lexicon `opposites@1` is in `database`.

    `tiny_dictionary` lists its words: with spaces, capitals, accents, a slash, of one to five tokens, some without
    senses; relations of every type, a derived one and one in conflict.
    """
    return make_draft(*insert_lexicon(database))


@dataclass(frozen=True)
class Published:
    """`tiny@1` published, for reading only.

    Attributes:
        dictionary: its row; the file set is in `settings.files / dictionary.ref`.
        draft: what it was made of.
        engine, settings: of the database that holds it.
    """

    dictionary: Dictionary
    draft: Draft
    engine: Engine
    settings: Settings

    @property
    def folder(self) -> Path:
        """Its file set."""
        return self.settings.files / self.dictionary.ref


@pytest.fixture(scope="session")
def published(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """The tiny dictionary published, once for the run; change nothing in it."""
    with copy_of_template(postgres, tmp_path_factory.mktemp("published")) as made, opened(made) as reading:
        draft = make_draft(*insert_lexicon(reading))
        yield Published(publish(reading, made.files, draft), draft, reading, made)


@pytest.fixture(scope="session")
def analytics(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the database that `analytics_lexicon` describes, made once for the run; change nothing in it."""
    with copy_of_template(postgres, tmp_path_factory.mktemp("analytics")) as made:
        with opened(made) as engine:
            analytics_lexicon.make(engine, made.files)
        yield made


@pytest.fixture(scope="session")
def service(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`sensedict serve` in a process of its own, serving `published` at `service.url`, once for the run."""
    with running_service(published.settings, tmp_path_factory.mktemp("service") / "log") as running:
        yield running


@contextmanager
def copy_of_template(postgres: URL, home: Path) -> Iterator[Settings]:
    """Settings of an empty, migrated database and a data folder, for as long as the block lasts."""
    name = f"test_{secrets.token_hex(6)}"
    with _administration(postgres) as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
    yield Settings(home=home, database_url=postgres.set(database=name))
    with _administration(postgres) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def _administration(url: URL) -> Iterator[Connection]:
    """A connection outside any transaction, for making and dropping databases."""
    maker = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with maker.connect() as connection:
        yield connection
    maker.dispose()
