"""`sensedict diff` over published dictionaries: the map, the summary, the picture, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from conftest import copy_of_template
from file_set_factory import IDENTITY, write_file_set
from running_service import Service, environment_of, running_service
from sensedict import wire
from sensedict.cli import cli
from sensedict.client import SenseClient
from sensedict.errors import (
    ConfigurationError,
    Conflict,
    Corrupt,
    DictionaryNotFound,
    IdMapNotFound,
    InvalidInput,
    Mismatch,
)
from sensedict.fileset import VECTORS
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from sensedict_trainer.drift_files import read_version
from service_problems import expect_problem
from tiny_dictionary import TOKENS, insert_lexicon, make_draft

HOT = 1  # token id; its senses are 0, 1, 2


@pytest.fixture(scope="module")
def home(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with `tiny@1`, and versions of it: see the tests."""
    with copy_of_template(postgres, tmp_path_factory.mktemp("diff")) as made:
        with opened(made) as engine:
            draft = make_draft(*insert_lexicon(engine))
            publish(engine, made.files, draft)
            publish(engine, made.files, replace(draft, version="same"))
            vectors = draft.tokens.vectors.copy()
            vectors[[0, 2]] = vectors[[2, 0]]  # " hot": two change places,
            vectors[1] += np.float16(20)  # and one goes far away
            publish(engine, made.files, replace(draft, version="2", tokens=replace(draft.tokens, vectors=vectors)))
            publish(engine, made.files, replace(draft, version="other", tokenizer_hash="c" * 64))
            publish(engine, made.files, replace(draft, version="key", key_policy="input", teacher_hash="d" * 64))
            with engine.begin() as connection:
                move = "INSERT INTO aliases SELECT name, 'two', id FROM dictionaries WHERE version = '2'"
                connection.execute(text(move))
        yield made


@pytest.fixture
def diff(home: Settings) -> Callable[..., Any]:
    def run(*words: object) -> Any:
        done = CliRunner().invoke(
            cli, ["diff", *map(str, words)], env=environment_of(home), catch_exceptions=True, standalone_mode=True
        )
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def test_the_same_again_is_the_identity(diff: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "map.parquet"
    summary = json.loads(diff("tiny@1", "tiny@same", "--json", "--map", file).stdout)
    rows = pq.read_table(file)
    senses = rows.num_rows
    assert rows.column_names == ["old_id", "new_id", "distance", "state"]
    assert rows["old_id"].to_pylist() == rows["new_id"].to_pylist() == list(range(senses))
    assert set(rows["state"].to_pylist()) == {"kept"}
    assert not any(rows["distance"].to_pylist())
    assert summary["senses"] == {"kept": senses, "moved": 0, "split": 0, "merged": 0, "new": 0, "gone": 0}
    assert summary["most_moved"] == []
    assert [path.name for path in file.parent.iterdir()] == ["map.parquet"]


def test_senses_that_change_places_and_one_that_moves(diff: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "map.parquet"
    summary = json.loads(diff("tiny@1", "tiny@2", "--json", "--map", file).stdout)
    rows = pq.read_table(file).to_pylist()
    assert [(row["old_id"], row["new_id"], row["state"]) for row in rows[:4]] == [
        (0, 2, "kept"),
        (1, 1, "moved"),
        (2, 0, "kept"),
        (3, 3, "kept"),
    ]
    assert summary["senses"]["moved"] == 1
    (moved,) = summary["most_moved"]
    assert (moved["text"], moved["token"], moved["old_id"], moved["new_id"]) == (" hot", HOT, 1, 1)
    assert moved["distance"] == rows[1]["distance"] > 10
    assert moved["old_context"] == moved["new_context"] == ["it was ", "sense", " 1 here"]
    printed = diff("tiny@1", "tiny@2").stdout
    assert "tiny@1 → tiny@2: " in printed
    assert "most moved:" in printed
    assert "it was [sense] 1 here" in printed
    assert f"{moved['distance']:.2f}" in printed


def test_folders_and_a_distance_of_ones_own(diff: Callable[..., Any], home: Settings) -> None:
    before, after = home.files / "tiny@1", home.files / "tiny@2"
    summary = json.loads(diff(before, after, "--json", "--moved", "1000").stdout)
    assert (summary["senses"]["moved"], summary["moved_beyond"]) == (0, 1000)


@pytest.mark.parametrize(("name", "begins"), [("drift.png", b"\x89PNG"), ("drift.SVG", b"<?xml")])
def test_a_picture(diff: Callable[..., Any], tmp_path: Path, name: str, begins: bytes) -> None:
    diff("tiny@1", "tiny@2", "--plot", tmp_path / name)
    first = (tmp_path / name).read_bytes()
    assert first.startswith(begins)
    diff("tiny@1", "tiny@2", "--plot", tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert len(list(tmp_path.iterdir())) == 1


def test_another_tokenizer_is_refused_but_for_words(diff: Callable[..., Any], home: Settings, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r"tiny@1 has the tokenizer b{12}…, tiny@other c{12}….*--words-only"):
        diff("tiny@1", "tiny@other", "--map", tmp_path / "map.parquet")
    assert not list(tmp_path.iterdir())
    words = read_version(home.files / "tiny@1", words_only=True).senses.owners
    summary = json.loads(diff("tiny@1", "tiny@other", "--words-only", "--json").stdout)
    assert summary["owners"] == {"both": len(words), "old_only": 0, "new_only": 0}
    assert summary["senses"]["kept"] == sum(count for _, count in words.values()) > 0


def test_what_else_differs_is_said(diff: Callable[..., Any]) -> None:
    said = diff("tiny@1", "tiny@key").stderr
    assert "note: the teachers differ" in said
    assert "note: the key policies differ (next, input)" in said


def test_another_width_is_refused(diff: Callable[..., Any], home: Settings, tmp_path: Path) -> None:
    other = write_file_set(tmp_path, identity=replace(IDENTITY, dim=4))
    for also in ([], ["--words-only"]):
        with pytest.raises(Mismatch, match=r"senses of width 8, .* of width 4: only dictionaries of the same width"):
            diff(home.files / "tiny@1", other, *also)


def test_a_table_that_cannot_be_read(diff: Callable[..., Any], home: Settings, tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"tiny@1/senses\.parquet cannot be read: `sensedict files verify`"):
        diff(home.files / "tiny@1", write_file_set(tmp_path))


def test_a_flipped_bit(diff: Callable[..., Any], home: Settings, tmp_path: Path) -> None:
    copy = shutil.copytree(home.files / "tiny@1", tmp_path / "copy")
    content = bytearray((copy / VECTORS).read_bytes())
    content[-1] ^= 64
    (copy / VECTORS).write_bytes(content)
    with pytest.raises(Corrupt, match=rf"copy/{VECTORS} has the sha256"):
        diff(copy, "tiny@2")


def test_what_is_not_there(diff: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(DictionaryNotFound):
        diff("tiny@1", "tiny@9")
    with pytest.raises(ConfigurationError, match="is not a dictionary's file set"):
        read_version(tmp_path)
    with pytest.raises(InvalidInput, match=r"a plot is a \.png or a \.svg file"):
        diff("tiny@1", "tiny@2", "--plot", tmp_path / "drift.jpeg")


def test_the_owners_of_a_file_set(home: Settings) -> None:
    owners = read_version(home.files / "tiny@1").senses.owners
    tokens = {owner.token: range_ for owner, range_ in owners.items() if owner.token is not None}  # type: ignore[attr-defined]
    assert {token: count for token, (_, count) in tokens.items()} == {i: n for i, (_, n) in enumerate(TOKENS) if n}
    assert "ice cream" in {owner.text for owner in owners if owner.token is None}  # type: ignore[attr-defined]
    assert (
        sum(count for _, count in owners.values())
        == pq.read_metadata(home.files / "tiny@1" / "senses.parquet").num_rows
    )


def test_a_published_map_is_what_the_service_gives(diff: Callable[..., Any], home: Settings, tmp_path: Path) -> None:
    with running_service(home, tmp_path / "log") as service, httpx.Client(base_url=service.url) as http:
        asked = "/v1/dictionaries/tiny@1/idMap?to=tiny@2"
        detail = "no map from tiny@1 to tiny@2 is published: run `sensedict diff tiny@1 tiny@2 --publish`"
        expect_problem(http.get(asked), 404, "id-map-not-found", detail)
        ours = tmp_path / "ours.parquet"
        assert diff("tiny@1", "tiny@2", "--publish", "--map", ours).stderr == "the id map is published\n"
        answer = http.get(asked).raise_for_status()
        assert answer.content == ours.read_bytes()
        assert answer.headers["content-type"] == wire.PARQUET
        assert answer.headers["content-disposition"] == 'attachment; filename="tiny@1-to-tiny@2.parquet"'
        assert "immutable" in answer.headers["cache-control"]
        again = http.get(asked, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        moving = http.get("/v1/dictionaries/tiny@1/idMap?to=tiny@two").raise_for_status()
        assert (moving.content, moving.headers["cache-control"]) == (answer.content, "no-cache")
        about = json.loads(pq.read_schema(ours).metadata[b"sensedict"])
        assert (about["old"], about["new"], about["moved_beyond"], about["words_only"]) == (
            "tiny@1",
            "tiny@2",
            0.5,
            False,
        )
        assert sum(about["senses"].values()) == pq.read_metadata(ours).num_rows
        back = "/v1/dictionaries/tiny@2/idMap"
        expect_problem(http.get(f"{back}?to=tiny@1"), 404, "id-map-not-found", "from tiny@2 to tiny@1")
        expect_problem(http.get(f"{back}?to=tiny@two"), 422, "invalid-input", "both are tiny@2")
        expect_problem(http.get(f"{back}?to=tiny@9"), 404, "dictionary-not-found", "no dictionary 'tiny@9'")
        expect_problem(http.get(back), 422, "invalid-input", "to: ")
        expect_problem(http.get(asked, headers={"Accept": wire.JSON}), 406, "not-acceptable", wire.PARQUET)
        check_downloads(service, tmp_path, ours.read_bytes())


def check_downloads(service: Service, folder: Path, content: bytes) -> None:
    """By the client and by the command: the file whole, or none."""
    file = folder / "new folder" / "theirs.parquet"
    with SenseClient(service.url, "tiny@1") as client:
        client.download_id_map("tiny@two", file)
        assert file.read_bytes() == content
        with pytest.raises(IdMapNotFound, match="run `sensedict diff tiny@1 tiny@same --publish`"):
            client.download_id_map("tiny@same", file)
        with pytest.raises(InvalidInput, match="both are tiny@1"):
            client.download_id_map("tiny@1", file)
        moves = client.moves("hot", "tiny@two")
        assert (moves.word, {move.old for move in moves.moves}) == (
            "hot",
            {sense.id for sense in client.word("hot").senses},
        )
    assert file.read_bytes() == content
    words = ["query", "--server", service.url, "--dictionary", "tiny@1", "id-map", "--to", "tiny@2", str(file)]
    file.unlink()
    done = CliRunner().invoke(cli, words)
    assert done.output == f"{file}: from tiny@1 to tiny@2, {len(content):,} bytes\n"
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    asked = ["query", "--server", service.url, "--dictionary", "tiny@1", "moves", "hot", "--to", "tiny@2"]
    told = CliRunner().invoke(cli, asked).output.splitlines()
    assert told[0] == "hot:"
    assert told[1].split() == ["old", "new", "state", "distance"]
    assert len(told) == len(moves.moves) + 2
    assert json.loads(CliRunner().invoke(cli, [*asked, "--json"]).output) == moves.model_dump(mode="json")


def test_an_export_says_which_maps_stay_behind(diff: Callable[..., Any], home: Settings, tmp_path: Path) -> None:
    def exported(ref: str) -> tuple[str, str]:
        file = tmp_path / f"{ref}.tar"
        done = CliRunner().invoke(cli, ["snapshot", "export", ref, str(file)], env=environment_of(home))
        return done.stdout.partition(",")[0], done.stderr

    diff("tiny@1", "tiny@2", "--publish")  # or it is there already
    says = (
        "The id map from tiny@1 to tiny@2 is left behind: "
        "`sensedict diff tiny@1 tiny@2 --publish` makes one where both are"
    )
    assert says in exported("tiny@1")[1]
    assert exported("tiny@two") == (f"{tmp_path}/tiny@two.tar: tiny@2", f"{says}\n")
    assert exported("tiny@key")[1] == ""


def test_what_was_published_stays(diff: Callable[..., Any], home: Settings) -> None:
    assert diff("tiny@1", "tiny@same", "--publish", "--json").stderr == "the id map is published\n"
    assert diff("tiny@1", "tiny@same", "--publish").stderr == "the same id map is published already\n"
    with pytest.raises(
        Conflict, match=r"map from tiny@1 to tiny@same is published .* \(moved_beyond 0\.5 there, 2\.0 now"
    ):
        diff("tiny@1", "tiny@same", "--publish", "--moved", "2")
    with opened(home) as engine:
        for change in ("UPDATE id_maps SET sha256 = ''", "DELETE FROM id_maps", "TRUNCATE id_maps"):
            with (
                pytest.raises(Conflict, match="an id map is published and never changes"),
                engine.begin() as connection,
            ):
                connection.execute(text(change))


def test_what_cannot_be_published(diff: Callable[..., Any], home: Settings) -> None:
    with pytest.raises(InvalidInput, match=r"tiny@1 is a folder: --publish takes two dictionaries of the database"):
        diff(home.files / "tiny@1", "tiny@2", "--publish")
    with pytest.raises(InvalidInput, match=r"tiny@2 and tiny@two are one dictionary"):
        diff("tiny@2", "tiny@two", "--publish")
    with pytest.raises(DictionaryNotFound):
        diff("tiny@1", "tiny@9", "--publish")
