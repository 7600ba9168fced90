"""Every reader of text on what goes wrong with files: each gives an error that names file and place, or counts."""

from __future__ import annotations

import gzip
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.readers import READERS, File, Notes
from sensedict_server.lexicon.relations import MOST_CHARACTERS

# A whole file of each kind, in which `warm` is a word of line 2.
SAMPLES = {
    "moby": ("moby.txt", "hot,burning\nwarm,hot\nhot,warm\n"),
    "synonyms": ("pairs.txt", "hot heated\nwarm tepid\ncold chilly\n"),
    "antonyms": ("pairs.tsv", "hot\tcold\nwarm\tcool\nup\tdown\n"),
    "typed": ("mine.tsv", "hot\tcold\tantonym\nwarm\ttepid\tsynonym\nup\tdown\tantonym\n"),
    "typed csv": ("mine.csv", "word,other,type\nwarm,tepid,synonym\nup,down,antonym\n"),
    "morpholex": ("morpholex.csv", "Word,MorphoLexSegm\nwarm,{(warm)}\nhotly,{(hot)}>ly>\n"),
    "morphynet": (
        "eng.json",
        '{"kind": {"pos": "J", "derives_to": {"unkind": {"pos": "J", "affix": "un", "affix_type": "prefix"}}},\n'
        '"able": {"pos": "J", "derives_to": {"warm": {"pos": "J", "affix": "un", "affix_type": "prefix"}}}}\n',
    ),
    "mythes": ("th_en.dat", "UTF-8\nwarm|1\n(adj)|tepid|hot (similar term)\n"),
    "roget": ("roget.txt", "1. Heat -- Adj. hot, burning;\nwarm, tepid.\nV. glow, burn.\n"),
    "wiktextract": (
        "raw.jsonl",
        '{"word": "hot", "lang_code": "en", "pos": "adj", "senses": [], "synonyms": [{"word": "heated"}]}\n'
        '{"word": "hot", "lang_code": "en", "pos": "adj", "senses": [], "synonyms": [{"word": "warm"}]}\n',
    ),
}
KINDS = sorted(SAMPLES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def load(kind: str, path: Path) -> Collection:
    collection = Collection()
    reader, notes = READERS[kind.split()[0]], Notes()
    collection.add(kind, reader.read(File(path), notes))
    collection.skipped[kind].update(notes.skipped)
    return collection


def load_or_refuse(kind: str, path: Path) -> tuple[Collection, str | None]:
    try:
        return load(kind, path), None
    except InvalidInput as refusal:
        return Collection(), str(refusal)


def write(folder: Path, kind: str, content: bytes | None = None, suffix: str = "") -> Path:
    name, sample = SAMPLES[kind]
    path = folder / f"{name}{suffix}"
    path.write_bytes(sample.encode() if content is None else content)
    return path


def sample(kind: str) -> bytes:
    return SAMPLES[kind][1].encode()


def test_every_reader_of_a_file_is_tried() -> None:
    assert {kind for kind, reader in READERS.items() if reader.takes == "file"} == {kind.split()[0] for kind in KINDS}


@every_kind
def test_a_whole_file_is_read(tmp_path: Path, kind: str) -> None:
    assert load(kind, write(tmp_path, kind)).all_words()


@every_kind
@pytest.mark.parametrize("change", ["lines end in CR LF", "a byte order mark"])
def test_marks_of_windows_make_no_difference(tmp_path: Path, kind: str, change: str) -> None:
    whole = load(kind, write(tmp_path, kind))
    content = b"\xef\xbb\xbf" + sample(kind) if change == "a byte order mark" else sample(kind).replace(b"\n", b"\r\n")
    changed = load(kind, write(tmp_path, kind, content))
    assert changed.relations == whole.relations
    assert changed.all_words() == whole.all_words()


@every_kind
def test_a_word_of_ten_megabytes_is_passed_over_or_named(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, sample(kind).replace(b"warm", b"w" * 10_000_000))
    tracemalloc.start()
    try:
        collection, refusal = load_or_refuse(kind, path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 150e6
    assert all(len(word) <= MOST_CHARACTERS for word in collection.all_words())
    if refusal is None:
        assert sum(collection.skipped[kind].values()) > 0
    else:
        assert f"{path.name}, line " in refusal
        assert len(refusal) < 500


@every_kind
def test_a_line_in_another_encoding_is_named(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, sample(kind).replace(b"warm", "wärm".encode("latin-1")))
    with pytest.raises(InvalidInput, match=rf"{path.name}, line 2: .*(UTF-8|utf-8|codec|encoding)"):
        load(kind, path)


@every_kind
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, kind: str, encoding: str) -> None:
    path = write(tmp_path, kind, SAMPLES[kind][1].encode(encoding))
    with pytest.raises(InvalidInput, match=rf"{path.name}, line 1: no UTF-8 but UTF-16 \(save it as UTF-8\)"):
        load(kind, path)


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@every_kind
@pytest.mark.parametrize("suffix", COMPRESSED)
def test_compressed_files(tmp_path: Path, kind: str, suffix: str) -> None:
    whole = COMPRESSED[suffix](sample(kind))
    assert load(kind, write(tmp_path, kind, whole, suffix)).all_words() == load(kind, write(tmp_path, kind)).all_words()
    for cut in (len(whole) - 5, len(whole) // 2, 8):
        path = write(tmp_path, kind, whole[:cut], suffix)
        with pytest.raises(InvalidInput, match=rf"{path.name}: cannot be read after line \d+: .*is it whole"):
            load(kind, path)
    path = write(tmp_path, kind, sample(kind), suffix)
    with pytest.raises(InvalidInput, match=rf"{path.name}: not what its name says, a {suffix} file"):
        load(kind, path)
    path = write(tmp_path, kind, whole)
    with pytest.raises(InvalidInput, match=rf"{path.name}, line 1: no text but a {suffix} file \(name it so"):
        load(kind, path)


@every_kind
@pytest.mark.parametrize("suffix", ["", *COMPRESSED])
def test_an_empty_file(tmp_path: Path, kind: str, suffix: str) -> None:
    path = write(tmp_path, kind, COMPRESSED[suffix](b"") if suffix else b"", suffix)
    with pytest.raises(InvalidInput, match=rf"{path.name}: the file is empty"):
        load(kind, path)


@every_kind
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{tmp_path.name}: cannot be read: Is a directory; expected a file"):
        load(kind, tmp_path)
    with pytest.raises(InvalidInput, match=r"nowhere.txt: cannot be read: No such file"):
        load(kind, tmp_path / "nowhere.txt")


@every_kind
def test_a_binary_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(10_000))
    with pytest.raises(InvalidInput, match=rf"{path.name}, line \d+: "):
        load(kind, path)


@every_kind
def test_nul_bytes_become_no_word(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, sample(kind).replace(b"warm", b"wa\0rm"))
    collection, refusal = load_or_refuse(kind, path)
    assert not any("\0" in word for word in collection.all_words())
    assert sum(collection.skipped.get(kind, {}).values()) > 0 or (refusal and f"{path.name}, line 2: " in refusal)
