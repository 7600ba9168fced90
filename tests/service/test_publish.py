"""Publishing: whole or not at all, in the database and as files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from running_service import environment_of, running_service
from sensedict import arrays
from sensedict.client import SenseClient
from sensedict.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    LexiconNotFound,
    NotFinite,
    SenseDictError,
    Unavailable,
    WrongDimension,
)
from sensedict.fileset import MANIFEST, VECTORS
from sensedict.snapshot import Snapshot
from sensedict_server import files
from sensedict_server.build import publish as step
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.queries.dictionaries import find_dictionary
from sensedict_server.settings import Settings
from tiny_dictionary import RELATIONS, TOKENS, WORDS, D
from until import until


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def nothing_is_left(database: Engine, settings: Settings) -> None:
    with database.connect() as connection:
        for table in ("dictionaries", "aliases", "tokens", "dictionary_words", "senses", "contexts"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    assert [path for path in settings.files.glob("**/*") if not path.name.endswith(".lock")] == []


def test_vectors_come_back_bit_for_bit(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    dictionary = publish(database, settings.files, tiny_draft)
    tensors, _ = arrays.decode((settings.files / "tiny@1" / VECTORS).read_bytes())
    expected = np.concatenate([tiny_draft.tokens.vectors, tiny_draft.words.vectors])
    assert tensors["vectors"].tobytes() == expected.tobytes()
    assert dictionary.senses == len(expected)
    manifest = json.loads((settings.files / "tiny@1" / MANIFEST).read_text())
    assert manifest["identity"]["content_hash"] == dictionary.content_hash
    files.verify(settings.files / "tiny@1")


def test_the_tables_beside_the_vectors(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft)
    tables = {path.stem: pq.read_table(path) for path in (settings.files / "tiny@1").glob("*.parquet")}
    assert tables["tokens"]["text"].to_pylist()[:5] == [text for text, _ in TOKENS[:5]]
    assert tables["words"]["word"].to_pylist() == list(WORDS)
    assert [tuple(ids) for ids in tables["words"]["token_ids"].to_pylist()] == list(WORDS.values())
    assert tables["relations"].num_rows == len(RELATIONS)
    assert set(tables["relations"]["licence"].to_pylist()) == {"CC-BY-4.0", "Apache-2.0"}
    assert tables["senses"]["sense_id"].to_pylist() == list(range(81))
    passages = [passage for passages in tiny_draft.tokens.contexts for passage in passages]
    found = tables["contexts"].select(["text", "start", "end"]).to_pylist()
    assert [tuple(row.values()) for row in found] == passages
    manifest = json.loads((settings.files / "tiny@1" / MANIFEST).read_text())
    assert {source["licence"] for source in manifest["sources"]} == {"CC-BY-4.0", "Apache-2.0"}


def test_a_taken_version_is_refused(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft)
    before = contents(settings.files / "tiny@1")
    with pytest.raises(Conflict, match="tiny@1 is published already"):
        publish(database, settings.files, tiny_draft)
    assert contents(settings.files / "tiny@1") == before


def test_latest_moves_with_each_version(
    database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path
) -> None:
    publish(database, settings.files, tiny_draft)
    with (
        running_service(settings, tmp_path / "log") as service,
        SenseClient(service.url, "tiny") as before,
        SenseClient(service.url, "tiny@latest") as after,
    ):
        assert before.identity.version == "1"
        publish(database, settings.files, replace(tiny_draft, version="2"))
        assert after.identity.version == "2"
        assert before.get_senses(np.array([0])).shape == (1, D)
        assert before.identity.version == "1"  # named once, kept
        assert [(info.version, info.aliases) for info in after.dictionaries()] == [("2", ["latest"]), ("1", [])]


def spoil(draft: Draft, part: str, field: str, value: object) -> Draft:
    return replace(draft, **{part: replace(getattr(draft, part), **{field: value})})


def with_row(vectors: np.ndarray, row: int, value: float) -> np.ndarray:
    spoilt = vectors.copy()
    spoilt[row, 3] = value
    return spoilt


SPOILT: dict[str, tuple[Callable[[Draft], Draft], type[SenseDictError], str]] = {
    "NaN of a token": (
        lambda d: spoil(d, "tokens", "vectors", with_row(d.tokens.vectors, 7, np.nan)),
        NotFinite,
        "sense of the tokens 7 holds NaN or infinity",
    ),
    "infinity of a word": (
        lambda d: spoil(d, "words", "vectors", with_row(d.words.vectors, 2, np.inf)),
        NotFinite,
        "composed sense 2 holds NaN or infinity",
    ),
    "another width": (
        lambda d: spoil(d, "words", "vectors", d.words.vectors[:, :-1]),
        WrongDimension,
        f"composed senses have {D - 1} dimensions, the tokens' {D}",
    ),
    "float32": (
        lambda d: spoil(d, "tokens", "vectors", d.tokens.vectors.astype(np.float32)),
        InvalidInput,
        "float32",
    ),
    "no senses": (
        lambda d: spoil(d, "tokens", "vectors", d.tokens.vectors[:0]),
        InvalidInput,
        "no senses: harvest more text",
    ),
    "offsets that fall": (
        lambda d: spoil(d, "tokens", "offsets", np.concatenate([[0, 5], d.tokens.offsets[2:]])),
        InvalidInput,
        "offsets of tokens do not rise",
    ),
    "offsets beyond the end": (
        lambda d: spoil(d, "words", "offsets", d.words.offsets + (d.words.offsets == d.words.offsets[-1])),
        InvalidInput,
        "offsets of words do not rise",
    ),
    "too few offsets": (
        lambda d: spoil(d, "tokens", "offsets", d.tokens.offsets[:-1]),
        InvalidInput,
        "offsets of tokens: 40 entries, expected 41",
    ),
    "more senses than k": (lambda d: replace(d, k=2), InvalidInput, "token 1 has more senses than k"),
    "counts that rise": (
        lambda d: spoil(d, "tokens", "counts", np.arange(1, len(d.tokens.counts) + 1)),
        InvalidInput,
        "order them by falling count",
    ),
    "a count of nothing": (
        lambda d: spoil(d, "tokens", "counts", d.tokens.counts * 0),
        InvalidInput,
        "sense 0 has no hidden states",
    ),
    "inertia that is no number": (
        lambda d: spoil(d, "tokens", "inertia", d.tokens.inertia * np.nan),
        InvalidInput,
        "sense 0 has an inertia",
    ),
    "a context outside its text": (
        lambda d: spoil(d, "tokens", "contexts", [[("short", 3, 9)], *d.tokens.contexts[1:]]),
        InvalidInput,
        r"place 3\.\.9 is outside its text",
    ),
    "a token that is none": (
        lambda d: spoil(d, "words", "token_ids", [(99,), *d.words.token_ids[1:]]),
        InvalidInput,
        "has the token 99, the vocabulary has 40",
    ),
    "no reason": (
        lambda d: spoil(d, "words", "reasons", [None] * len(d.words.reasons)),
        InvalidInput,
        "no senses and no reason",
    ),
    "an unknown word": (
        lambda d: spoil(d, "words", "word_ids", np.append(d.words.word_ids[:-1], 999_999)),
        InvalidInput,
        "1 words of relations of opposites@1 are missing in the draft",
    ),
    "words out of order": (
        lambda d: spoil(d, "words", "word_ids", d.words.word_ids[::-1]),
        InvalidInput,
        "does not have a lower id than the next",
    ),
    "no lexicon": (lambda d: replace(d, lexicon_id=999), LexiconNotFound, "there is no lexicon 999"),
    "a name that is no folder": (lambda d: replace(d, name="../tiny"), InvalidInput, "dictionary name '../tiny'"),
    "an empty version": (lambda d: replace(d, version=""), InvalidInput, "version ''"),
    "the alias for a version": (lambda d: replace(d, version="latest"), InvalidInput, "would hide the alias"),
    "no state point": (
        lambda d: replace(d, state_point="layer:0"),
        InvalidInput,
        "final_norm, or layer:N with N from 1",
    ),
    "another key policy": (lambda d: replace(d, key_policy="last"), InvalidInput, "one of next, predicted, input"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_draft_is_refused_and_nothing_is_left(
    database: Engine, settings: Settings, tiny_draft: Draft, fault: str
) -> None:
    spoil_it, error, says = SPOILT[fault]
    with pytest.raises(error, match=says):
        publish(database, settings.files, spoil_it(tiny_draft))
    nothing_is_left(database, settings)


def test_a_word_too_many_is_refused(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    with database.begin() as connection:
        extra = connection.execute(text("INSERT INTO words (text) VALUES ('extra') RETURNING id")).scalar_one()
    words = replace(
        tiny_draft.words,
        word_ids=np.append(tiny_draft.words.word_ids, extra),
        token_ids=[*tiny_draft.words.token_ids, (1,)],
        offsets=np.append(tiny_draft.words.offsets, tiny_draft.words.offsets[-1]),
        reasons=[*tiny_draft.words.reasons, None],
    )
    with pytest.raises(InvalidInput, match="1 words of the draft are in no relation of opposites@1"):
        publish(database, settings.files, replace(tiny_draft, words=words))
    nothing_is_left(database, settings)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"antonym_types": ["antonym", "reversal"]},
            "antonym_types: .* no relations of type 'reversal', it has antonym, ",
        ),
        (
            {"synonym_types": ["synonym", "negation", "sinonym"]},
            "synonym_types: .* of type 'sinonym', it has .*, synonym",
        ),
        ({"synonym_types": ["synonym", "negation"]}, "'negation' cannot count as synonymy and as antonymy"),
        ({"synonym_types": "synonym"}, "synonym_types is 'synonym': give a list"),
        ({"antonym_types": [1]}, r"antonym_types is \[1\]: give a list"),
    ],
)
def test_types_that_the_lexicon_has_not(
    database: Engine, settings: Settings, tiny_draft: Draft, chosen: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        publish(database, settings.files, replace(tiny_draft, settings=chosen))
    nothing_is_left(database, settings)


def test_what_counts_as_synonymy_and_antonymy_is_a_setting(
    database: Engine, settings: Settings, tiny_draft: Draft
) -> None:
    chosen = {"synonym_types": ["related"], "antonym_types": ["synonym", "antonym"]}
    publish(database, settings.files, replace(tiny_draft, settings=chosen))
    paris, happy, kind = (WORDS[word][0] for word in ("Paris", "happy", "kind"))
    with Snapshot.open(settings.files / "tiny@1") as snapshot:
        sets = snapshot.candidate_sets(np.array([paris, happy, kind]))
    assert np.diff(sets.antonyms.offsets).tolist() == [1, 2, 1]  # New York; glad and sad; glad, and not unkind
    assert np.diff(sets.synonyms.offsets).tolist() == [1, 0, 0]  # 日本


def test_a_draft_lexicon_is_refused(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    with database.begin() as connection:
        lexicon = text("INSERT INTO lexicons (name, version) VALUES ('growing', '1') RETURNING id")
        growing = connection.execute(lexicon).scalar_one()
    with pytest.raises(Conflict, match="growing@1 is a draft"):
        publish(database, settings.files, replace(tiny_draft, lexicon_id=growing))
    nothing_is_left(database, settings)


PUBLISH = """
import sys
sys.path.insert(0, sys.argv[1])
from sqlalchemy import text
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from tiny_dictionary import make_draft
settings = Settings.from_environment()
with opened(settings) as database:
    with database.connect() as connection:
        lexicon = connection.execute(text("SELECT id FROM lexicons")).scalar_one()
        ids = {row.text: row.id for row in connection.execute(text("SELECT text, id FROM words"))}
    publish(database, settings.files, make_draft(lexicon, ids))
"""


def publishing(settings: Settings) -> subprocess.Popen[bytes]:
    tests = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen([sys.executable, "-c", PUBLISH, tests], env=environment_of(settings))


def test_told_to_stop_in_the_middle(
    database: Engine, settings: Settings, tiny_draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_AT_ONCE", 5)
    told: list[int] = []

    def stop(senses: int) -> None:
        told.append(senses)
        if sum(told) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(database, settings.files, tiny_draft, stop)
    assert 20 <= sum(told) < len(tiny_draft.tokens.vectors)
    nothing_is_left(database, settings)
    assert publish(database, settings.files, tiny_draft).ref == "tiny@1"


@pytest.mark.parametrize("table", ["contexts", "relation_sources"])
def test_killed_in_the_middle(database: Engine, settings: Settings, tiny_draft: Draft, table: str) -> None:
    """A lock holds the process at the last COPY, or while it writes the files; there it is killed."""
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = (:table)::regclass")
    with database.connect() as holding, database.connect() as looking:
        holding.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        process = publishing(settings)
        until(lambda: looking.execute(waits, {"table": table}).scalar_one(), process)
        assert list(settings.files.glob(".tiny@1.new-*"))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (settings.files / "tiny@1").exists()
    with database.connect() as connection:
        assert find_dictionary(connection, "tiny", "1") is None
    assert publishing(settings).wait(timeout=60) == 0
    assert sorted(path.name for path in settings.files.iterdir()) == [".tiny@1.lock", "tiny@1"]
    files.verify(settings.files / "tiny@1")
    with database.connect() as connection:
        assert find_dictionary(connection, "tiny", "latest") is not None


def test_the_database_goes_away_in_the_middle(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    waits = text("SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'contexts'::regclass")
    with database.connect() as holding, database.connect() as looking, ThreadPoolExecutor() as threads:
        holding.execute(text("LOCK TABLE contexts IN ACCESS EXCLUSIVE MODE"))
        publishing = threads.submit(publish, database, settings.files, tiny_draft)
        pid = until(lambda: looking.execute(waits).scalar_one_or_none())
        looking.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(Unavailable, match="the database cannot be reached: terminating connection"):
            publishing.result(timeout=30)
    nothing_is_left(database, settings)
    publish(database, settings.files, tiny_draft)


def test_two_at_once_publish_once(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    processes = [publishing(settings) for _ in range(2)]
    assert sorted(process.wait(timeout=60) for process in processes) == [0, 1]
    files.verify(settings.files / "tiny@1")


def test_a_lost_file_set_is_written_anew_bit_for_bit(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    dictionary = publish(database, settings.files, tiny_draft)
    before = contents(settings.files / "tiny@1")
    shutil.rmtree(settings.files / "tiny@1")
    place = files.ensure(database, settings.files, dictionary)
    assert contents(place) == before
    assert files.ensure(database, settings.files, dictionary) == place


def test_a_changed_file_is_noticed(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft)
    place = settings.files / "tiny@1"
    for name, data in contents(place).items():
        if name == MANIFEST:
            continue
        (place / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(Corrupt, match=rf"{name} has the sha256 .*`sensedict files write tiny@1` makes it anew"):
            files.verify(place)
        (place / name).write_bytes(data[:-1])
        with pytest.raises(Corrupt, match=f"{name} has {len(data) - 1} bytes, its manifest says {len(data)}"):
            files.verify(place)
        (place / name).write_bytes(data)
    files.verify(place)


def test_another_databases_file_set_of_the_same_name_is_replaced(
    database: Engine, settings: Settings, tiny_draft: Draft
) -> None:
    dictionary = publish(database, settings.files, tiny_draft)
    whole = contents(settings.files / "tiny@1")
    manifest = json.loads(whole[MANIFEST])
    manifest["identity"]["content_hash"] = "0" * 64
    (settings.files / "tiny@1" / MANIFEST).write_text(json.dumps(manifest))
    files.ensure(database, settings.files, dictionary)
    assert contents(settings.files / "tiny@1") == whole
