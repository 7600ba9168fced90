"""`sensedict export`: Parquet that DuckDB reads as SQL reads the views; whole folders or none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from running_service import environment_of
from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Conflict, DictionaryNotFound, InvalidInput, LexiconNotFound
from sensedict.fileset import hash_file
from sensedict_server import schema
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.queries.analytics import OF_DICTIONARY, OF_LEXICON
from sensedict_server.settings import Settings
from tiny_dictionary import insert_lexicon


@pytest.fixture(scope="module")
def engine(analytics: Settings) -> Iterator[Engine]:
    with opened(analytics) as made:
        yield made


@pytest.fixture(scope="module")
def exported(analytics: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `mine@1`; change nothing in it."""
    folder = tmp_path_factory.mktemp("export") / "mine"
    assert run(analytics, "mine@1", str(folder)) == f"{folder}\n"
    return folder


def run(settings: Settings, *arguments: str) -> str:
    """What the command prints, in this process; an error of ours is raised."""
    done = CliRunner().invoke(cli, ["export", *arguments], env=environment_of(settings))
    if done.exception is not None:
        raise done.exception
    return done.stdout


def sql(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.parametrize("view", [*OF_LEXICON, *OF_DICTIONARY], ids=lambda view: view.name)
def test_every_view_is_exported_whole(engine: Engine, exported: Path, view: Any) -> None:
    key = {"lexicon": "english@1", "dictionary": "mine@1", "name": "english"}[view.key]
    query = f"SELECT * FROM analytics.{view.name} WHERE {view.key} = '{key}' ORDER BY {', '.join(view.order)}"
    expected = sql(engine, query)
    found = pq.read_table(exported / f"{view.name}.parquet").to_pylist()
    assert len(found) == len(expected) > 0
    for row, plain in zip(expected, found, strict=True):
        for value, (name, read) in zip(row, plain.items(), strict=True):
            if name == "vector":
                assert read == value.to_list()
            elif isinstance(value, dict):
                assert json.loads(read) == value
            elif isinstance(value, float):
                assert read == pytest.approx(value, rel=1e-6)  # PostgreSQL's text of a real is the shortest
            else:
                assert read == value, name


def test_duckdb_joins_files_as_sql_joins_views(engine: Engine, exported: Path) -> None:
    query = """
        SELECT r.type, count(*), sum(p.sense_count)
        FROM {}word_relations{} r JOIN {}polysemy{} p ON p.word_id = r.word_id
        WHERE r.lexicon = 'english@1' AND p.dictionary = 'mine@1' GROUP BY r.type ORDER BY r.type
    """
    of_files = duckdb.sql(query.format(*(f"'{exported}/", ".parquet'") * 2)).fetchall()
    assert of_files == sql(engine, query.format(*("analytics.", "") * 2))
    assert len(of_files) == 5
    norms = f"SELECT count(*) FROM '{exported}/senses.parquet' WHERE list_distance(vector, vector) = 0"
    assert duckdb.sql(norms).fetchall() == sql(
        engine, "SELECT count(*) FROM analytics.senses WHERE dictionary = 'mine@1'"
    )


def test_the_manifest_names_licences_and_files(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text("utf-8"))
    assert (manifest["lexicon"], manifest["dictionary"]) == ("english@1", "mine@1")
    assert {(s["name"], s["licence"], s["version"]) for s in manifest["sources"]} == {
        ("thesaurus", "CC-BY-4.0", "2"),
        ("opposites", "Apache-2.0", "1"),
        ("morphology", "CC BY-NC-SA 4.0", "3"),
    }
    assert {*manifest["files"], "manifest.json"} == {path.name for path in exported.iterdir()}
    for name, entry in manifest["files"].items():
        found = hash_file(exported / name)
        assert (entry["bytes"], entry["sha256"]) == (found.bytes, found.sha256)
        assert entry["rows"] == pq.read_metadata(exported / name).num_rows
        assert pq.read_metadata(exported / name).row_group(0).column(0).compression == "ZSTD"


def test_the_same_export_twice(analytics: Settings, exported: Path, tmp_path: Path) -> None:
    run(analytics, "mine@1", str(tmp_path / "again"))
    assert (tmp_path / "again/manifest.json").read_text() == (exported / "manifest.json").read_text()


def test_a_lexicon_alone(analytics: Settings, tmp_path: Path) -> None:
    run(analytics, "english@1", str(tmp_path / "deep/er"))
    assert {path.stem for path in (tmp_path / "deep/er").iterdir()} == {"manifest", *(view.name for view in OF_LEXICON)}
    assert json.loads((tmp_path / "deep/er/manifest.json").read_text())["dictionary"] is None


def test_what_stands_in_the_way_is_kept(analytics: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for options in ((), ("--force",)):
        with pytest.raises(Conflict, match="here is there, is no export of sensedict, and is left as it is"):
            run(analytics, "base@1", str(folder), *options)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert (folder / "mine.txt").read_text() == "mine"
    run(analytics, "base@1", str(tmp_path / "base"))
    with pytest.raises(Conflict, match=r"base is there already: name another folder, or .* --force"):
        run(analytics, "english@1", str(tmp_path / "base"))
    (tmp_path / "base/stale.parquet").write_text("")
    run(analytics, "english@1", str(tmp_path / "base"), "--force")
    assert json.loads((tmp_path / "base/manifest.json").read_text())["lexicon"] == "english@1"
    assert not (tmp_path / "base/stale.parquet").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "here"]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_empty_folder_stands_in_nobodys_way(analytics: Settings, tmp_path: Path, force: tuple[str, ...]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    run(analytics, "base@1", str(tmp_path / "link"), *force)
    assert (folder / "manifest.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


WRITING = """
import sys
from pathlib import Path
from sensedict_server.export_command import _temporary
with _temporary(Path(sys.argv[1])) as new:
    (new / "half.parquet").write_text("half")
    print(new, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_export_left_goes_with_the_next(analytics: Settings, tmp_path: Path) -> None:
    notes = tmp_path / ".here.new-notes"  # somebody's own
    notes.mkdir()

    def writing() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITING, str(tmp_path / "here")]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with writing() as living, writing() as killed:
        alive, dead = (Path(process.stdout.readline().strip()) for process in (living, killed) if process.stdout)
        killed.kill()
        killed.wait()
        assert dead.exists()
        run(analytics, "base@1", str(tmp_path / "here"))
        assert {path.name for path in tmp_path.iterdir()} == {"here", alive.name, notes.name}
        living.communicate()
    assert {path.name for path in tmp_path.iterdir()} == {"here", notes.name}


def test_nothing_half_written_is_left(settings: Settings, database: Engine, tmp_path: Path) -> None:
    insert_lexicon(database)
    with database.begin() as connection:  # the last of the views fails once the others are written
        connection.execute(text("DROP VIEW analytics.judgements"))
        connection.execute(text("CREATE VIEW analytics.judgements AS SELECT 'opposites' AS name, 1/0 AS judgement_id"))
    with pytest.raises(Exception, match="division by zero"):
        run(settings, "opposites@1", str(tmp_path / "out/here"))
    assert list((tmp_path / "out").iterdir()) == []


def test_which_of_both(settings: Settings, database: Engine, tiny_draft: Draft, tmp_path: Path) -> None:
    publish(database, settings.files, tiny_draft)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO lexicons (name, version, state) VALUES ('tiny', '1', 'published')"))
    folder = tmp_path / "tiny"
    with pytest.raises(InvalidInput, match="tiny@1 is a lexicon and a dictionary: say --as lexicon or --as dict"):
        run(settings, "tiny@1", str(folder))
    for kind, expected in (("lexicon", ("tiny@1", None)), ("dictionary", ("opposites@1", "tiny@1"))):
        run(settings, "tiny@1", str(folder), "--as", kind, "--force")
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["lexicon"], manifest["dictionary"]) == expected
    with pytest.raises(LexiconNotFound, match=r"no dictionary 'nosuch@1'; .*no such lexicon, there are opposites@1, t"):
        run(settings, "nosuch@1", str(tmp_path / "no"))
    with pytest.raises(LexiconNotFound, match="there is no lexicon nosuch@1"):
        run(settings, "nosuch@1", str(tmp_path / "no"), "--as", "lexicon")
    with pytest.raises(DictionaryNotFound, match="no dictionary 'nosuch@1'"):
        run(settings, "nosuch@1", str(tmp_path / "no"), "--as", "dictionary")
    run(settings, "tiny@latest", str(tmp_path / "latest"))
    assert json.loads((tmp_path / "latest/manifest.json").read_text())["dictionary"] == "tiny@1"


def test_an_older_schema_is_refused(settings: Settings, database: Engine, tmp_path: Path) -> None:
    schema.migrate(database, "0002")
    with pytest.raises(ConfigurationError, match=r"at 0002, this version needs .*: run `sensedict migrate`"):
        run(settings, "any@1", str(tmp_path / "no"))
