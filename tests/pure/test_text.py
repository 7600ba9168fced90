"""Text files to windows, and what is said of files that are none."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer import text as text_module
from sensedict_trainer.text import (
    Document,
    TokenWindow,
    cut_windows,
    iter_windows,
    overlapping,
    read_documents,
    text_hash,
)
from tiny_teacher import save_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return loaded


def test_files_folders_and_compressions(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("a whole file", "utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "one", "id": "x"}\n\n{"text": "two"}\n', "utf-8")
    with gzip.open(tmp_path / "c.txt.gz", "wt") as out:
        out.write("packed")
    with lzma.open(tmp_path / "d.jsonl.xz", "wt") as out:
        out.write(json.dumps({"text": "packed harder"}))
    (tmp_path / "notes.md").write_text("not text of ours")
    found = [(d.id, d.text) for d in read_documents([tmp_path])]
    assert found == [
        ("x", "one"),
        ("a.jsonl:3", "two"),
        ("b.txt", "a whole file"),
        ("c.txt.gz", "packed"),
        ("d.jsonl.xz:1", "packed harder"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "one"}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"text": "one"}\n{"txt": "two"}\n', r"a\.jsonl, line 2: a JSON object with a string `text`"),
        ("a.jsonl", b'{"text": "one"}\n{"text": "\xff"}\n', r"a\.jsonl, line 2: not UTF-8"),
        ("a.txt", b"one\ntwo\n\xff\n", r"a\.txt, line 3: not UTF-8"),
        ("a.txt", b" \n", r"a\.txt: the file holds no text"),
        ("a.jsonl", b"", r"a\.jsonl: the file holds no text"),
        ("a.txt.gz", b"not packed", r"a\.txt\.gz: the compressed file is broken"),
        ("a.txt.xz", b"not packed", r"a\.txt\.xz: the compressed file is broken"),
        ("a.pdf", b"%PDF", r"a\.pdf: a file of text is \.txt or \.jsonl"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        list(read_documents([tmp_path / name]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r'{"text": "a \ud800 b"}', r"line 2: half a character, '\\ud800'"),
        ('{"text": "a", "n": ' + "1" * 5000 + "}", "line 2: JSON that cannot be read"),
        ("[" * 100_000, "line 2: JSON that cannot be read"),
    ],
)
def test_json_that_python_chokes_on_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' + line + "\n")
    with pytest.raises(InvalidInput, match=message):
        list(read_documents([tmp_path / "a.jsonl"]))


def test_a_damaged_compressed_file_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"the hot and the cold river " * 5000))
    packed[40:60] = bytes(20)
    (tmp_path / "a.txt.gz").write_bytes(packed)
    with pytest.raises(InvalidInput, match=r"a\.txt\.gz: the compressed file is broken"):
        list(read_documents([tmp_path / "a.txt.gz"]))


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no such file or folder"):
        list(read_documents([tmp_path / "nosuch.txt"]))
    with pytest.raises(InvalidInput, match=r"no text in this folder; a file of text is \.txt or \.jsonl"):
        list(read_documents([tmp_path]))


def test_windows_are_the_documents_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "the hot and the cold river in the night " * 10
    windows = cut_windows([Document("a", text), Document("b", text)], tokenizer, length=32)
    whole = tokenizer(text)["input_ids"]
    of_a = [window for window in windows if window.id.startswith("a#")]
    assert np.concatenate([window.ids for window in of_a]).tolist() == whole[: sum(len(w.ids) for w in of_a)]
    assert [window.id for window in of_a] == [f"a#{i}" for i in range(len(of_a))]
    assert all(len(window.ids) == 32 for window in of_a[:-1])
    assert len(whole) - sum(len(w.ids) for w in of_a) < 8  # only a short tail is dropped


def test_no_more_tokens_than_asked_for(tokenizer: PreTrainedTokenizerBase) -> None:
    documents = [Document(str(i), "the hot and the cold river in the night " * 5) for i in range(20)]
    for wanted in (8, 50, 333):
        total = sum(len(window.ids) for window in cut_windows(documents, tokenizer, 32, wanted))
        assert wanted - 8 <= total <= wanted
    with pytest.raises(InvalidInput, match="no window of at least 8 tokens"):
        cut_windows([Document("a", "hot")], tokenizer, 32)


def test_documents_of_one_name_do_not_share_one(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "the hot and the cold river in the night"
    windows = cut_windows([Document(n, text + " of snow" * i) for i, n in enumerate(["a", "a", "a~2"])], tokenizer, 64)
    assert [window.id for window in windows] == ["a#0", "a~2#0", "a~2~2#0"]
    assert text_hash(windows) != text_hash(windows[::-1])


def test_many_names_are_free_once(tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module._Names, "_RECENT", 5)
    names = text_module._Names()
    wanted = [*(f"n{i}" for i in range(12)), "n3", "n3~2", "n11", "same", "n3", *(["same"] * 40)]
    found = [names.free(name) for name in wanted]
    assert len(set(found)) == len(wanted)
    assert found[12:17] == ["n3~2", "n3~2~2", "n11~2", "same", "n3~3"]
    assert found[-1] == "same~41"


def test_windows_come_while_documents_are_read(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["the hot and the cold river in the night " * (1 + i % 7) for i in range(60)]
    whole = cut_windows([Document(str(i), t) for i, t in enumerate(texts)], tokenizer, 16)
    read = 0

    def documents() -> Iterator[Document]:
        nonlocal read
        for i, text in enumerate(texts):
            read += 1
            yield Document(str(i), text)

    monkeypatch.setattr(text_module, "TOKENIZED_CHARACTERS", 1000)
    windows = iter_windows(documents(), tokenizer, 16)
    first = next(windows)
    assert read < 15  # a thousand characters
    assert text_hash([first, *windows]) == text_hash(whole)
    assert read == 60


def test_text_that_is_in_both_is_found_wherever_it_stands() -> None:
    random = np.random.default_rng(0)

    def window(name: str, *parts: list[int]) -> TokenWindow:
        return TokenWindow(name, np.array([i for part in parts for i in part], dtype=np.int32))

    shared, short = random.integers(0, 1000, 70).tolist(), random.integers(0, 1000, 12).tolist()
    fill = [random.integers(1000, 2000, n).tolist() for n in (5, 90, 7)]
    training = [window("t1", fill[1]), window("t2", fill[0], shared), window("t3", short)]
    held_out = [window("h1", shared, fill[2]), window("h2", fill[2] * 9), window("h3", short), window("h4", short, [1])]
    assert overlapping(held_out, training) == [("h1", "t2"), ("h3", "t3")]
