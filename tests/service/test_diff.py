"""`sensedict diff` over published dictionaries: the map, the summary, the picture, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from conftest import copy_of_template
from file_set_factory import IDENTITY, write_file_set
from running_service import environment_of
from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Corrupt, DictionaryNotFound, InvalidInput, Mismatch
from sensedict.fileset import VECTORS
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from sensedict_trainer.drift_files import read_version
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
