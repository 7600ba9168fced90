"""The commands of docs/backup.md: what is restored is what was dumped, on a server of another major version too."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from moved_database import back_up, described, empty_database, restore, server
from rich_lexicon import insert_rich_lexicon
from sensedict.errors import Conflict
from sensedict_server import files, schema
from sensedict_server.build.publish import publish
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from tiny_dictionary import make_draft


def test_from_postgresql_16_to_18(postgres: URL, tmp_path: Path) -> None:
    """Another major version, with everything in it; the file set is then written anew, byte for byte."""
    with server(16) as old:
        settings = Settings(home=tmp_path / "old", database_url=old)
        with opened(settings) as engine:
            schema.migrate(engine)
            lexicon, ids, _ = insert_rich_lexicon(engine)
            dictionary = publish(engine, settings.files, make_draft(lexicon, ids))
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')"))
            before = described(engine)
        back_up(old, tmp_path)
    with empty_database(postgres) as url:
        restore(tmp_path, url)
        moved = Settings(home=tmp_path / "new", database_url=url)
        with opened(moved) as engine:
            after = described(engine)
            for what, found in before.items():
                assert after[what] == found, what
            with engine.connect() as connection:
                assert schema.require_current(connection) == schema.head()
                assert "PostgreSQL 18" in connection.execute(text("SELECT version()")).scalar_one()
            place = files.ensure(engine, moved.files, Catalogue(engine, moved.files).resolve("tiny@1"))
            assert {path.name: path.read_bytes() for path in place.iterdir()} == {
                path.name: path.read_bytes() for path in (settings.files / dictionary.ref).iterdir()
            }
            with pytest.raises(Conflict, match="never changes"), engine.begin() as connection:
                connection.execute(text("UPDATE tokens SET occurrences = 0"))
