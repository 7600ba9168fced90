"""Snapshots that somebody made on purpose, or a disk spoilt: refused before a row or a file of them is seen."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept_snapshot import DATA
from moved_snapshot import archive_of, column, put_right, resized, spoilt, staged
from sensedict import arrays
from sensedict.archive import header, padding
from sensedict.errors import InvalidSnapshot
from sensedict.fileset import INDEX, MANIFEST, VECTORS
from sensedict.receiver import Receiver
from sensedict_server.snapshots.check import check
from sensedict_server.snapshots.staging import receive

KEPT = DATA / "snapshot-0.1.0.tar"
WHOLE = KEPT.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file set of the kept snapshot."""
    made = tmp_path_factory.mktemp("whole")
    check(receive([WHOLE], made))
    return made


def refused(data: bytes, target: Path | None = None) -> str:
    pieces = (data[start : start + 5_000] for start in range(0, len(data), 5_000))
    with pytest.raises(InvalidSnapshot) as caught:
        _receive(pieces, target)
    return caught.value.detail


def _receive(pieces: Iterable[bytes], target: Path | None) -> None:
    receiver = Receiver(target)
    for piece in pieces:
        receiver.feed(piece)
    receiver.finish()


def test_an_archive_is_a_plain_tar_and_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    assert archive_of(folder, ("prod", "latest")) == WHOLE
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        assert tar.getnames() == ["snapshot.json", MANIFEST, *json.loads((folder / MANIFEST).read_bytes())["files"]]
        tar.extractall(tmp_path, filter="data")
    assert (tmp_path / VECTORS).read_bytes() == (folder / VECTORS).read_bytes()


def test_members_that_export_does_not_write(tmp_path: Path) -> None:
    """Links, paths, a member twice, one too many: each where the first file would stand."""
    outside = tmp_path / "outside"
    (tmp_path / "in").mkdir()
    place = WHOLE.index(header(VECTORS, _size(VECTORS)))
    for name, kind, told in (
        ("../outside", tarfile.REGTYPE, "a file '../outside'"),
        (str(outside), tarfile.REGTYPE, "a file"),
        (VECTORS, tarfile.SYMTYPE, "a link or device 'vectors.safetensors'"),
        (VECTORS, tarfile.LNKTYPE, "a link or device"),
        (VECTORS, tarfile.CHRTYPE, "a link or device"),
        (VECTORS, tarfile.DIRTYPE, "a folder"),
        (VECTORS, tarfile.XHDTYPE, "in place of vectors.safetensors"),
        (VECTORS, tarfile.GNUTYPE_SPARSE, "in place of vectors.safetensors"),
        (MANIFEST, tarfile.REGTYPE, "a file 'manifest.json'"),
        ("more", tarfile.REGTYPE, "a file 'more'"),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, str(outside)
        data = WHOLE[:place] + member.tobuf(tarfile.GNU_FORMAT) + WHOLE[place:]
        assert told in refused(data, tmp_path / "in")
        assert {path.name for path in tmp_path.rglob("*")} <= {"in", MANIFEST}
        (tmp_path / "in" / MANIFEST).unlink()


def _size(name: str) -> int:
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        return tar.getmember(name).size


def test_beginnings_that_are_none() -> None:
    assert "does not begin with snapshot.json" in refused(b"PK\x03\x04" + bytes(600))
    assert "in the middle" in refused(b"")
    assert "in place of snapshot.json" in refused(header("other.json", 5) + b"12345" + padding(5))
    assert "at most 16777216" in refused(header("snapshot.json", 2**30))
    for text in (
        b"[]",
        b"{",
        b'{"sensedict_snapshot": 2}',
        b"[" * 100_000,
        b'{"sensedict_snapshot": 1, "dictionary": 5}',
    ):
        told = refused(header("snapshot.json", len(text)) + text + padding(len(text)))
        assert "snapshot.json cannot be read" in told or "format 2, this version of sensedict reads 1" in told
    assert "more after the end" in refused(WHOLE + bytes(512))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255), st.booleans())
def test_no_byte_of_it_can_be_another(place: int, change: int, cut: bool) -> None:
    refused(WHOLE[:place] if cut else WHOLE[:place] + bytes([WHOLE[place] ^ change]) + WHOLE[place + 1 :])


def first(value: Any) -> Callable[[list[object]], list[object]]:
    return lambda values: [value, *values[1:]]


def last(value: Any) -> Callable[[list[object]], list[object]]:
    return lambda values: [*values[:-1], value]


ROWS: list[tuple[str, str, Callable[[list[object]], list[object]], str]] = [
    ("tokens.parquet", "token_id", first(1), "each token of the vocabulary once"),
    ("tokens.parquet", "sense_count", last(3), "number of senses of token 39 is 3, expected 1"),
    ("tokens.parquet", "first_sense", first(9), "first sense of token 0 is 9, expected 0"),
    ("tokens.parquet", "occurrences", first(-1), "count below 0"),
    ("senses.parquet", "sense_id", last(0), "sense 80 is 0, expected 80"),
    ("senses.parquet", "token_id", first(99), "token of sense 0 is 99, expected 1"),
    ("senses.parquet", "word_id", last(1), "word of sense 80 is 1"),
    ("senses.parquet", "ordinal", first(7), "ordinal of sense 0 is 7, expected 0"),
    ("words.parquet", "token_ids", first([40]), "tokens outside 0 .. 39"),
    ("words.parquet", "token_ids", first([]), "a word of no tokens"),
    ("words.parquet", "word_id", first(999), "the word 999"),
    ("words.parquet", "sense_count", first(1), "other senses than the token's"),
    ("contexts.parquet", "sense_id", last(81), "a sense that is not there"),
    ("contexts.parquet", "sense_id", first(80), "not in the order of senses"),
    ("contexts.parquet", "end", first(10_000), "outside its passage"),
    ("lexicon_words.parquet", "word", first("cold"), "has a word twice"),
    ("relations.parquet", "other_id", last(10**6), "the word 1000000 is named and is not there"),
    ("relations.parquet", "parent_id", first(5), "comes from itself or a later one"),
    ("relations.parquet", "source", first("nobody"), "no source of the manifest"),
    ("relations.parquet", "via", first("nobody"), "names the source 'nobody'"),
    ("relations.parquet", "relation_id", last(1), "not in the order of its ids"),
    ("relations.parquet", "word", first("another"), "spells a word otherwise"),
    ("relation_glosses.parquet", "gloss_id", first(10**6), "the gloss 1000000 is named"),
    ("forms.parquet", "lemma_id", first(10**6), "the word 1000000 is named"),
    ("judgements.parquet", "verdict", first("maybe"), "neither add nor reject"),
]


@pytest.mark.parametrize(("name", "what", "change", "told"), ROWS)
def test_rows_that_do_not_fit(
    folder: Path, tmp_path: Path, name: str, what: str, change: Callable[[list[object]], list[object]], told: str
) -> None:
    with pytest.raises(InvalidSnapshot) as caught:
        check(staged(spoilt(folder, tmp_path / "spoilt", name, column(what, change))))
    assert told in caught.value.detail


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("identity.name", "a\ud800", "a value that is none"),
        ("identity.version", "..", "is not name@version"),
        ("identity.senses", 2**62, "expected (4611686018427387904, 8)"),
        ("lexicon", 5, "lexicon: Input should be a valid string"),
        ("sources", [{"a": 1}], "0.name: Field required"),
        ("settings", [], "settings: Input should be an object"),
        ("settings.synonym_types", [1], "no types of relations"),
        ("record.published_at", "2026-01-01T00:00:00", "a time with its offset"),
        ("record.lexicon_created_at", "then", "a time with its offset"),
        ("record.tokens_with_senses", -1, "a count below 0"),
        ("record.words_with_senses", {}, "words_with_senses: Input should be a valid integer"),
        ("record.lexicon_settings", {"judgements": [5]}, "judgements otherwise than export"),
        ("record.lexicon_sources", [5], "lexicon_sources.0: Input should be an object"),
    ],
)
def test_manifests_of_other_values(folder: Path, tmp_path: Path, place: str, value: object, told: str) -> None:
    target = shutil.copytree(folder, tmp_path / "spoilt")
    manifest = json.loads((target / MANIFEST).read_bytes())
    *outer, last = place.split(".")
    within = manifest
    for name in outer:
        within = within[name]
    within[last] = value
    (target / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InvalidSnapshot) as caught:
        check(staged(target))
    assert told in caught.value.detail
    assert str(target) not in caught.value.detail  # where it was received is nobody's business


def test_files_that_are_no_tables_or_bombs(folder: Path, tmp_path: Path) -> None:
    def told(name: str, change: Callable[[pa.Table], pa.Table]) -> str:
        target = tmp_path / str(len(list(tmp_path.iterdir())))
        with pytest.raises(InvalidSnapshot) as caught:
            check(staged(spoilt(folder, target, name, change)))
        return caught.value.detail

    contexts = pq.read_table(folder / "contexts.parquet")
    assert "other columns than sense_id" in told("contexts.parquet", lambda table: table.drop_columns("end"))
    assert "other columns" in told("contexts.parquet", lambda table: table.append_column("x", table["end"]))
    assert "other columns" in told("glosses.parquet", lambda table: table.rename_columns(list("abcdef")))
    target = spoilt(folder, tmp_path / "bomb", "contexts.parquet", lambda table: table)
    # a text of 16 kB, nine thousand times: some kB on the disk
    text = pa.DictionaryArray.from_arrays(np.zeros(9_000, np.int32), ["x" * 2**14])
    columns = [
        pa.array(np.zeros(9_000), contexts.schema.field(name).type) for name in ("sense_id", "ordinal", "start", "end")
    ]
    columns.insert(2, text)
    fields = [pa.field(field.name, made.type, False) for field, made in zip(contexts.schema, columns, strict=True)]
    pq.write_table(
        pa.table(columns, pa.schema(fields)), target / "contexts.parquet", compression="zstd", store_schema=False
    )
    assert (target / "contexts.parquet").stat().st_size < 20_000
    with pytest.raises(InvalidSnapshot, match=r"bytes of text in a few rows|says that it unpacks to"):
        check(staged(resized(target)))
    long = contexts.slice(0, 1).set_column(2, contexts.schema.field("text"), pa.array(["x" * 2**22]))
    pq.write_table(long, target / "contexts.parquet", compression="zstd")
    with pytest.raises(InvalidSnapshot, match=r"contexts\.parquet has \d+ bytes and says that it unpacks to"):
        check(staged(resized(target)))
    (target / "contexts.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InvalidSnapshot, match=r"contexts\.parquet is not Parquet"):
        check(staged(resized(target)))


def test_vectors_that_are_no_numbers(folder: Path, tmp_path: Path) -> None:
    target = spoilt(folder, tmp_path / "spoilt", "tokens.parquet", lambda table: table)
    vectors = np.array(arrays.decode((folder / VECTORS).read_bytes())[0]["vectors"])
    vectors[3, 2] = np.inf
    (target / VECTORS).write_bytes(arrays.encode({"vectors": vectors}))
    with pytest.raises(InvalidSnapshot, match="holds NaN or infinity"):
        check(staged(put_right(target)))
    assert (folder / INDEX).exists()
