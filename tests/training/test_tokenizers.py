"""Tokenizers out of files of every format, told apart by what is in them."""

from __future__ import annotations

import base64
import json
import lzma
import os
from pathlib import Path

import pytest
from transformers.convert_slow_tokenizer import import_protobuf

from sensedict.errors import ConfigurationError
from sensedict_trainer.tokenizers import load_tokenizer
from tiny_teacher import save_tokenizer

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # types of a SentencePiece model's pieces


def sentencepiece(kind: str = "BPE", bytes_too: bool = True) -> bytes:
    """A model with the pieces of ` hot` and ` cold`, and one for each byte."""
    model = import_protobuf().ModelProto()
    model.trainer_spec.model_type = getattr(model.trainer_spec, kind)
    model.trainer_spec.byte_fallback = bytes_too
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    pieces = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    pieces += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)] if bytes_too else []
    words = ["▁hot", "▁cold", "ot", "▁h", "old", "ld", "▁c", *"▁hotcld"]
    for at, (text, type) in enumerate([*pieces, *((word, NORMAL) for word in words)]):
        model.pieces.add(piece=text, score=-float(at), type=type)
    return bytes(model.SerializeToString())


def ranks(*longer: bytes) -> bytes:
    """A file of ranks: every byte, and these."""
    tokens = [bytes([byte]) for byte in range(256)] + list(longer)
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


def ids(path: Path, text: str) -> list[int]:
    found: list[int] = load_tokenizer(str(path))(text, add_special_tokens=False)["input_ids"]
    return found


def test_a_folder_and_its_tokenizer_json_are_the_same(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    folder, file = load_tokenizer(str(tmp_path)), load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert folder("a hot day")["input_ids"] == file("a hot day", add_special_tokens=False)["input_ids"]
    assert file.unk_token_id is None


def test_two_kinds_of_tokenizer_model(tmp_path: Path) -> None:
    for name, content in (("one", sentencepiece()), ("two", ranks(b" h", b"ot", b" hot"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.model").write_bytes(content)
    mark = load_tokenizer(str(tmp_path / "one" / "tokenizer.model"))
    assert mark("hot hot")["input_ids"] == [259, 259]  # 3 special pieces and 256 bytes come before
    assert mark.convert_ids_to_tokens(mark("日")["input_ids"]) == ["▁", "<0xE6>", "<0x97>", "<0xA5>"]
    assert mark.unk_token_id == 0
    level = load_tokenizer(str(tmp_path / "two" / "tokenizer.model"))
    assert level(" hot hot")["input_ids"] == [258, 258]
    assert level("日")["input_ids"] == list("日".encode())
    assert level.unk_token_id is None


@pytest.mark.parametrize("kind", ["BPE", "UNIGRAM"])
def test_a_sentencepiece_model_without_bytes_has_unknown_characters(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some.model"
    path.write_bytes(sentencepiece(kind, bytes_too=False))
    tokenizer = load_tokenizer(str(path))
    assert tokenizer.convert_ids_to_tokens(tokenizer("hot cold")["input_ids"]) == ["▁hot", "▁cold"]
    assert tokenizer.unk_token_id in tokenizer("日")["input_ids"]


@pytest.mark.parametrize(("longer", "pieces"), [((b"12", b"123"), 2), ((b"ot",), 4)])
def test_digits_are_cut_as_the_ranks_have_them(tmp_path: Path, longer: tuple[bytes, ...], pieces: int) -> None:
    path = tmp_path / "vocabulary.tiktoken"
    path.write_bytes(ranks(*longer))
    assert len(ids(path, "1234")) == pieces


def test_packed_files(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    plain = {"a.json": (tmp_path / "tokenizer.json").read_bytes(), "b.model": sentencepiece(), "c": ranks(b" hot")}
    for name, content in plain.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"{name}.xz").write_bytes(lzma.compress(content))
        assert ids(tmp_path / name, "a hot day") == ids(tmp_path / f"{name}.xz", "a hot day")


def test_a_file_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_tokenizers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "ranks").write_bytes(ranks(b" hot"))
    monkeypatch.syspath_prepend(tmp_path)
    assert load_tokenizer("package:some_tokenizers/ranks")(" hot")["input_ids"] == [256]


BROKEN = {
    "empty": (b"", "is empty"),
    "half packed": (lzma.compress(ranks())[:-20], "damaged, or cut short"),
    "no json": (b'{"model": ', "no tokenizer.json"),
    "other json": (b'{"name": "x"}', "no tokenizer.json"),
    "a broken line": (ranks() + b"!!! 256\n", "line 257"),
    "a line too short": (ranks() + b"aG90\n", "line 257"),
    "cut ranks": (ranks()[:500], r"line \d+|256 bytes"),
    "no ranks of bytes": (b"aG90 0\naA== 1\n", "256 bytes"),
    "cut sentencepiece": (sentencepiece()[:-3], "no tokenizer that is known|damaged"),
    "prose": (b"It was a hot day.\n" * 9, "no tokenizer that is known"),
    "noise": (bytes(range(255, 0, -1)), "no tokenizer that is known"),
    "zeros": (bytes(100), "no tokenizer that is known"),
    "gguf": (b"GGUF" + bytes(60), "teacher convert"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_tokenizer(tmp_path: Path, name: str) -> None:
    content, words = BROKEN[name]
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as refused:
        load_tokenizer(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("spec", ["/no/such/file", "./none.json", "a/b/c", "package:nosuch_package/x"])
def test_what_is_not_there(spec: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no|not installed"):
        load_tokenizer(spec)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "vocabulary", "hello"),
    [
        ("gpt2.tokenizer.json.xz", 50_257, [15496, 995]),
        ("mistral-7b-v0.1.spm.model", 32_000, [22557, 1526]),
        ("qwen2.5.tiktoken.xz", 151_643, [9707, 1879]),
    ],
)
def test_real_files(file: str, vocabulary: int, hello: list[int]) -> None:
    folder = os.environ.get("SENSEDICT_TEST_DATA")
    if folder is None:
        pytest.skip("SENSEDICT_TEST_DATA is not set")
    tokenizer = load_tokenizer(str(Path(folder) / "tokenizers" / file))
    assert len(tokenizer) == vocabulary
    assert tokenizer("Hello world", add_special_tokens=False)["input_ids"] == hello
