"""Sources of text beside plain files: Parquet, wiki extracts, data sets; and what is said of those that are broken."""

from __future__ import annotations

import bz2
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from sensedict.errors import InvalidInput
from sensedict_trainer import text_files
from sensedict_trainer.text_sources import check_sources, read_documents, sources_hash
from sensedict_trainer.text_streams import Stream, parse_stream


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    shown = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    yield
    if not shown:
        datasets.enable_progress_bars()


def _read(*sources: str | Path) -> list[tuple[str, str]]:
    check_sources(sources)
    return [(document.id, document.text) for document in read_documents(sources)]


def test_long_plain_text_comes_in_pieces_cut_between_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "_PIECE", 64)
    path = tmp_path / "long.txt"
    for text, ends in (
        ("the river is cold\n" * 40, "\n"),
        ("the river is cold " * 40, "ersd"),  # before a blank
        ("川は冷たい" * 60, "川は冷たい"),
        ("short", "t"),
    ):
        path.write_text(text, "utf-8")
        found = _read(path)
        assert "".join(part for _, part in found) == text
        assert all(part[-1] in ends for _, part in found[:-1])
        assert all(len(part.encode()) < 128 for _, part in found)
        assert [name for name, _ in found[:3]] == ["long.txt", "long.txt:2", "long.txt:3"][: len(found)]
    path.write_bytes(b"the river is cold\n" * 30 + b"\xff\n")
    with pytest.raises(InvalidInput, match=r"long\.txt, line 31: not UTF-8"):
        _read(path)


def test_other_compressions(tmp_path: Path) -> None:
    raw = b'{"text": "one"}\n{"text": "two"}\n' * 500
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress(raw))
    frames = [zstandard.ZstdCompressor().compress(part) for part in (raw[:1000], raw[1000:])]
    (tmp_path / "b.jsonl.zst").write_bytes(b"".join(frames))
    found = _read(tmp_path)
    assert len(found) == 2000
    assert found[1999] == ("b.jsonl.zst:1000", "two")
    for name in ("a.jsonl.bz2", "b.jsonl.zst"):
        whole = (tmp_path / name).read_bytes()
        for damaged in (whole[:-9], b"not packed at all" + whole[17:]):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(InvalidInput, match=rf"{name}: the compressed file is broken or cut short"):
                _read(tmp_path / name)


def test_parquet(tmp_path: Path) -> None:
    texts = [f"text {i}" if i % 7 else None for i in range(600)]
    pq.write_table(pa.table({"id": range(600), "title": ["t"] * 600, "text": texts}), tmp_path / "a.parquet")
    only = pa.table({"n": [1, 2], "body": pa.array(["x", "y"]).dictionary_encode()})
    pq.write_table(only, tmp_path / "b.parquet")
    found = _read(tmp_path)
    assert found == [(str(i), text) for i, text in enumerate(texts) if text] + [
        ("b.parquet:1", "x"),
        ("b.parquet:2", "y"),
    ]


def test_parquet_without_text_is_named_before_it_is_read(tmp_path: Path) -> None:
    for columns, message in (
        ({"title": ["a"], "body": ["b"]}, "a.parquet: no column `text` of strings, and 2 of the columns title, body"),
        ({"text": [1]}, "a.parquet: no column `text` of strings, and none of the columns text"),
    ):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        with pytest.raises(InvalidInput, match=message):
            check_sources([tmp_path])
    pq.write_table(pa.table({"text": pa.array([None], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match=r"a\.parquet: the file holds no text"):
        _read(tmp_path)


def test_broken_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(3000)]}), path, write_page_checksum=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InvalidInput, match=r"a\.parquet: no Parquet file, or a broken one"):
        check_sources([path])
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    with pytest.raises(InvalidInput, match=r"a\.parquet: cannot be read \(.*checksum"):
        _read(path)
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"one\xff\xfe"))
    pq.write_table(pa.table({"text": bad}), path)
    with pytest.raises(InvalidInput, match=r"a\.parquet, row 2: not UTF-8"):
        _read(path)


def test_wiki_extracts(tmp_path: Path) -> None:
    (tmp_path / "AA").mkdir()
    (tmp_path / "AA" / "wiki_00").write_text(
        '<doc id="12" url="https://x?curid=12" title="A &amp; B">\nA & B\n\nA &lt; B.\nSo it is.\n\n</doc>\n\n'
        '<doc id="25" url="https://x?curid=25" title="Fire">\n</doc>\n',
        "utf-8",
    )
    (tmp_path / "AB").mkdir()
    row = {"id": "39", "revid": "1", "url": "u", "title": "Snow", "text": "Snow &amp; wind."}
    (tmp_path / "AB" / "wiki_01.bz2").write_bytes(bz2.compress(json.dumps(row).encode() + b"\n"))
    (tmp_path / "wiki_index.html").write_text("not ours")
    assert _read(tmp_path) == [("12", "A & B\n\nA < B.\nSo it is."), ("25", ""), ("39", "Snow & wind.")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '<doc id="1" url="u" title="t">\none\n</doc>\n<doc id="2" url="u" title="t">\ntwo\n',
            "line 4: the article 2 has",
        ),
        ("one\n", "line 1: neither <doc"),
        ('<doc id="1" url="u" title="t">\none\n</doc>\n{"text": \n', "line 4: not JSON"),
    ],
)
def test_a_broken_wiki_extract_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "wiki_00").write_text(content)
    with pytest.raises(InvalidInput, match=rf"wiki_00, {message}"):
        _read(tmp_path / "wiki_00")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two splits."""
    found = tmp_path / "books"
    found.mkdir()
    for split, texts in (("train", ["one", None, "two"]), ("validation", ["three"])):
        rows = pa.table({"text": pa.array(texts, pa.string()), "n": range(len(texts))})
        pq.write_table(rows, found / f"{split}-00000.parquet")
    return found


def test_a_data_set_in_a_folder(folder: Path) -> None:
    assert _read(f"datasets:{folder}") == [("books:train:1", "one"), ("books:train:3", "two")]
    assert _read(f"datasets:{folder}:default#validation") == [("books:validation:1", "three")]
    for more, message in (("#test", "Bad split: test"), (":nosuch", "'nosuch' not found"), ("/nosuch", "no folder")):
        with pytest.raises(InvalidInput, match=message):
            check_sources([f"datasets:{folder}{more}"])


def test_a_data_set_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 7, "body": "one"}\n{"id": 8, "body": "two"}\n')
    assert _read(f"datasets:{tmp_path}") == [("7", "one"), ("8", "two")]
    (tmp_path / "a.jsonl").write_text('{"title": "a", "body": "one"}\n')
    with pytest.raises(InvalidInput, match="no column `text` of strings, and 2 of the columns title, body"):
        _read(f"datasets:{tmp_path}")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": \n')
    with pytest.raises(InvalidInput, match=r"datasets:.*(cannot be opened|row \d: cannot be read): "):
        _read(f"datasets:{tmp_path}")


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"id": [4, 5], "title": ["a", "b"], "text": ["one", "two"]})
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "more")
    assert _read(f"datasets:{tmp_path}/one") == _read(f"datasets:{tmp_path}/more") == [("4", "one"), ("5", "two")]
    assert _read(f"datasets:{tmp_path}/more#test") == [("5", "two")]
    with pytest.raises(InvalidInput, match="there is no split dev; it has train, test"):
        check_sources([f"datasets:{tmp_path}/more#dev"])
    with pytest.raises(InvalidInput, match="the folder holds one split"):
        check_sources([f"datasets:{tmp_path}/one#dev"])
    with pytest.raises(InvalidInput, match="what `datasets` saved is named as datasets:FOLDER"):
        check_sources([tmp_path / "one"])


def test_a_data_set_that_the_hub_does_not_give_is_named() -> None:
    with pytest.raises(InvalidInput, match="datasets:nosuch/nosuch: cannot be opened: "):
        check_sources(["datasets:nosuch/nosuch"])
    with pytest.raises(InvalidInput, match="datasets:nosuch/nosuch: cannot be opened: "):
        sources_hash(["datasets:nosuch/nosuch"])


def test_how_a_data_set_is_named() -> None:
    assert parse_stream("datasets:a/b") == Stream("a/b")
    for text in ("datasets:a/b:c#d", "datasets:a/b#d", "datasets:a/b:c", "datasets:/some/folder"):
        assert str(parse_stream(text)) == text
    for text in ("datasets:", "datasets:a:", "datasets:a#", "datasets:#train"):
        with pytest.raises(InvalidInput, match="a data set is named as datasets:NAME"):
            parse_stream(text)


def test_the_hash_goes_by_content_and_not_by_place(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (name, digest), *_ = sources_hash([tmp_path / "a.txt"])
    assert (name, digest) == ("a.txt", hashlib.sha256(b"one").hexdigest())
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "books"))
    both: list[list[list[str]]] = []
    for place in (folder, copy):
        both.append(sources_hash([place, f"datasets:{place}", f"datasets:{place}#validation"]))
    assert both[0] == both[1]
    assert [name for name, _ in both[0]] == ["books", "datasets:books", "datasets:books#validation"]
    assert len({digest for _, digest in both[0]}) == 3
    (copy / "README.txt.orig").write_text("of no kind of text")
    pq.write_table(pa.table({"text": ["four"], "n": [0]}), copy / "validation-00000.parquet")
    changed = sources_hash([copy, f"datasets:{copy}"])
    assert all(a != b for a, b in zip(both[0], changed, strict=False))
