"""The thesaurus files of LibreOffice."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.readers import File, Notes, mythes
from sensedict_server.lexicon.relations import Relation


def read(path: Path) -> tuple[list[Relation], Notes]:
    notes = Notes()
    return list(mythes.READER.read(File(path), notes)), notes


def write(folder: Path, text: str, encoding: str = "utf-8", name: str = "th.dat") -> Path:
    data = text.encode(encoding)
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder / name


@pytest.mark.parametrize("name", ["th.dat", "th.dat.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_items_by_their_marks(tmp_path: Path, name: str, end: str) -> None:
    lines = [
        "UTF-8",
        "big|2",
        "(adj)|large|sizeable thing|small (antonym)|grown (similar term)|size (related term)",
        "(adv)|in a big way|",
        "(so-called) art|0",
        "1|1",
        "(noun)|one|figure (generic term)|ace (in cards)",
        "-|1",
        "-|dash",
        "xyz|2",
        "|nothing",
        "(interjection)|ouch",
    ]
    found, notes = read(write(tmp_path, end.join(lines) + end, name=name))
    assert found == [
        Relation("big", "large", "synonym", pos="adjective"),
        Relation("big", "sizeable thing", "synonym", pos="adjective"),
        Relation("big", "small", "antonym", pos="adjective"),
        Relation("big", "grown", "related", pos="adjective"),
        Relation("big", "size", "related", pos="adjective"),
        Relation("big", "in a big way", "synonym", pos="adverb"),
        Relation("1", "one", "synonym", pos="noun"),
        Relation("1", "figure", "hypernym", pos="noun"),
        Relation("1", "ace (in cards)", "synonym", pos="noun"),
        Relation("-", "dash", "synonym"),
        Relation("xyz", "nothing", "synonym"),
        Relation("xyz", "ouch", "synonym", pos="interjection"),
    ]
    assert notes.skipped == {"empty item": 1}


def test_a_headword_is_spelt_as_its_meaning_spells_it(tmp_path: Path) -> None:
    lines = [
        "UTF-8",
        "china|2",
        "(noun)|Cathay|China|Asian country (generic term)",
        "(noun)|porcelain|china (related term)|China (similar term)",
        "équine|1",
        "(noun)|équine|mount",
        "ÄON|1",
        "(noun)|äon",
    ]
    found, notes = read(write(tmp_path, "\n".join(lines)))
    assert found == [
        Relation("China", "Cathay", "synonym", pos="noun"),
        Relation("China", "Asian country", "hypernym", pos="noun"),
        Relation("china", "porcelain", "synonym", pos="noun"),
        Relation("china", "china", "related", pos="noun"),
        Relation("china", "China", "related", pos="noun"),
        Relation("équine", "mount", "synonym", pos="noun"),
    ]
    assert notes.counted == {mythes.SPELLING: 3}


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("UTF-8", "utf-8"), ("\ufeffUTF-8", "utf-8"), ("ISO8859-1", "latin-1"), ("microsoft-cp1252", "cp1252")],
)
def test_the_encoding_of_the_first_line(tmp_path: Path, name: str, encoding: str) -> None:
    found, _ = read(write(tmp_path, f"{name}\ncafé|1\n(noun)|tea-room\n", encoding))
    assert found == [Relation("café", "tea-room", "synonym", pos="noun")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\n", r"line 1: expected the name of an encoding, such as UTF-8, got ''"),
        ("big|1\n(adj)|large\n", r"line 1: expected the name of an encoding"),
        ("base64\nbig|1\n", r"line 1: expected the name of an encoding"),
        ("UTF-16\nbig|1\n", r"line 1: (?:a file in UTF-16|expected the name)"),
        ("ascii\nbig|1\n(adj)|énorme\n", r"line 3: not ascii, the encoding that line 1 names"),
        ("UTF-8\nbig\n", r"line 2: expected word\|n"),
        ("UTF-8\n |1\n(adj)|large\n", r"line 2: "),
        ("UTF-8\nbig|one\n", r"line 2: expected word\|n"),
        ("UTF-8\nbig|2\n(adj)|large\nhot|1\n(adj)|warm\n", r"line 4: expected \(pos\)\|item\|…: 'big' announces 2"),
        ("UTF-8\nbig|2\n(adj)|large\n", r"line 3: .*'big' announces 2 meanings at line 2, got 'the end of the file'"),
        ("UTF-8\nbig|2\n(adj)|large\n\n(adj)|great", r"line 4: .*'big' announces 2"),
        ("UTF-8\nbig|1\n(adj)|large\n(adj)|great\nhot|0\n", r"line 4: one meaning more than the headword above"),
    ],
)
def test_faults_name_the_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InvalidInput, match=rf"th\.dat, {fault}"):
        read(write(tmp_path, text))


def test_the_english_thesaurus() -> None:
    data = os.environ.get("SENSEDICT_TEST_DATA")
    if not data:
        pytest.skip("SENSEDICT_TEST_DATA is unset: set it to the folder that holds lexical/mythes-th_en_US_v2.dat.xz")
    found, notes = read(Path(data) / "lexical" / "mythes-th_en_US_v2.dat.xz")
    assert Counter(relation.type for relation in found) == {
        "synonym": 321_477,  # of the file's 365,075; the rest spell their headword with capitals
        "antonym": 13_060,
        "hypernym": 358_978,
        "related": 63_699,
    }
    assert {relation.pos for relation in found} == {"noun", "verb", "adjective", "adverb"}
    assert not notes.skipped
    assert notes.counted == {mythes.SPELLING: 43_598}
