"""WordNet by its own files and by the library wn: small ones made here, and WordNet 3.0 where it is at hand."""

from __future__ import annotations

import doctest
import gc
import lzma
import os
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sensedict.errors import ConfigurationError, InvalidInput, MissingExtra
from sensedict_server.build.sources import parse_source
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.readers import READERS, File, Notes, wn_library, wordnet
from sensedict_server.lexicon.relations import Entry, Form, Gloss, Relation

FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}
HEAD = "  1 To be given away freely.  \n  2 SmallNet 1.2 Copyright 2020 by nobody.  \n"


@dataclass
class Line:
    """A synset of a small WordNet; pointers are (symbol, key of the other synset, source and target in hexadecimal)."""

    type: str
    words: list[str]
    gloss: str = ""
    pointers: list[tuple[str, str, str]] = field(default_factory=list)

    def written(self, offset: int, places: dict[str, tuple[str, int]]) -> str:
        words = " ".join(f"{word} 0" for word in self.words)
        pointers = "".join(f" {s} {places[to][1]:08d} {places[to][0]} {ends}" for s, to, ends in self.pointers)
        frames = " 01 + 02 00" if self.type == "v" else ""
        count = f"{len(self.words):02x}"
        return (
            f"{offset:08d} 00 {self.type} {count} {words} {len(self.pointers):03d}{pointers}{frames} | {self.gloss}  \n"
        )


def small_wordnet() -> dict[str, Line]:
    return {
        "animal": Line(
            "n", ["animal", "beast"], 'a living being that moves; "animals of the wood"', [("~", "dog", "0000")]
        ),
        "dog": Line(
            "n",
            ["dog", "domestic_dog", "Canis_minor"],
            'it barks: man\'s "best" friend; "the dog barked"; "dogs bark"',
            [("@", "animal", "0000"), ("#m", "pack", "0000"), ("+", "bark", "0101"), ("?!", "pack", "0000")],
        ),
        "rex": Line("n", ["Rex"], "a dog in a film", [("@i", "dog", "0000")]),
        "pack": Line("n", ["pack"], "hunting animals", [("%m", "dog", "0000")]),
        "bark": Line("v", ["bark", "yap"], "speak as dogs do"),
        "wet": Line("a", ["wet"], "with water; ", [("!", "dry", "0102"), ("&", "damp", "0000")]),
        "damp": Line("s", ["damp", "moist(p)", "damp"], "a little wet", [("&", "wet", "0000")]),
        "dry": Line("a", ["arid", "dry(a)"], "", [("!", "wet", "0201")]),
        "wetly": Line("r", ["wetly"], "in a wet way"),
    }


def write(folder: Path, lines: dict[str, Line], head: str = HEAD) -> Path:
    """Data files with true byte offsets: they are all eight digits wide, so two rounds settle them."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {key: ("a" if line.type == "s" else line.type, 0) for key, line in lines.items()}
    for _ in range(2):
        contents = dict.fromkeys(FILES, head)
        for key, line in lines.items():
            pos = places[key][0]
            places[key] = (pos, len(contents[pos].encode()))
            contents[pos] += line.written(places[key][1], places)
    for pos, name in FILES.items():
        (folder / name).write_bytes(contents[pos].encode())
    (folder / "verb.exc").write_text("barkt bark\nyipped yip yap_up\n")
    return folder


def read(path: Path) -> tuple[list[Entry], Notes]:
    notes = Notes()
    return list(READERS["wordnet"].read(File(path), notes)), notes


def triples(entries: list[Entry]) -> set[tuple[str, str, str]]:
    return {(entry.word, entry.other, entry.type) for entry in entries if isinstance(entry, Relation)}


def test_relations_of_synsets(tmp_path: Path) -> None:
    entries, notes = read(write(tmp_path, small_wordnet()))
    assert triples(entries) == {
        ("animal", "beast", "synonym"),
        ("dog", "domestic dog", "synonym"),
        ("dog", "Canis minor", "synonym"),
        ("domestic dog", "Canis minor", "synonym"),
        ("bark", "yap", "synonym"),
        ("damp", "moist", "synonym"),
        ("arid", "dry", "synonym"),
        ("dog", "animal", "hypernym"),
        ("domestic dog", "animal", "hypernym"),
        ("Canis minor", "animal", "hypernym"),
        ("Rex", "dog", "hypernym"),
        ("dog", "pack", "holonym"),
        ("domestic dog", "pack", "holonym"),
        ("Canis minor", "pack", "holonym"),
        ("wet", "dry", "antonym"),
        ("dry", "wet", "antonym"),
        ("damp", "wet", "related"),
        ("moist", "wet", "related"),
    }
    assert notes.version == "SmallNet 1.2"
    assert notes.licence is None
    assert notes.skipped == {"pointer of another kind: derivationally related form": 1}
    assert notes.counted["pointers of an unknown kind ?!"] == 1
    assert {entry.pos for entry in entries if isinstance(entry, Relation) and entry.word in ("damp", "wet")} == {
        "adjective"
    }


def test_every_word_has_the_glosses_of_its_synsets(tmp_path: Path) -> None:
    entries, _ = read(write(tmp_path, small_wordnet()))
    collection = Collection()
    collection.add("wordnet", entries)
    glosses = {(word, text, pos) for _, word, text, pos in collection.glosses}
    bark = 'it barks: man\'s "best" friend'
    assert {(word, bark, "noun") for word in ("dog", "domestic dog", "Canis minor")} <= glosses
    assert ("wetly", "in a wet way", "adverb") in glosses
    assert ("wet", "with water", "adjective") in glosses
    assert len(glosses) == 2 + 3 + 1 + 1 + 2 + 1 + 2 + 1  # dry has none
    assert {relation.gloss for relation in collection.relations if relation.word == "Canis minor"} == {bark}


def test_irregular_forms(tmp_path: Path) -> None:
    entries, notes = read(write(tmp_path, small_wordnet()))
    assert [entry for entry in entries if isinstance(entry, Form)] == [
        Form("barkt", "bark", "verb"),
        Form("yipped", "yip", "verb"),
        Form("yipped", "yap up", "verb"),
    ]
    assert notes.counted["no noun.exc, so no irregular forms of it"] == 1
    (tmp_path / "noun.exc").write_text("geese goose\n\nmice\n")
    with pytest.raises(InvalidInput, match=r"noun\.exc, line 3: expected a form and its lemmas"):
        read(tmp_path)


def test_offsets_are_those_of_the_files_at_hand(tmp_path: Path) -> None:
    short, _ = read(write(tmp_path / "short", small_wordnet(), head=""))
    long, notes = read(write(tmp_path / "long" / "dict", small_wordnet(), head=HEAD.replace("freely", "fréely") * 3))
    assert short == long
    again, _ = read(tmp_path / "long")  # the parent of dict
    assert again == long
    assert notes.version == "SmallNet 1.2"


def test_another_licence_in_the_head(tmp_path: Path) -> None:
    head = "  1 Under the Creative Commons licence (CC-BY 4.0).  \n  2 OpenNet 2024 Copyright 2024 by us.  \n"
    _, notes = read(write(tmp_path, small_wordnet(), head))
    assert (notes.version, notes.licence) == ("OpenNet 2024", "CC BY 4.0")


@pytest.mark.parametrize("name", FILES.values())
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write(tmp_path, small_wordnet()) / name).unlink()
    with pytest.raises(InvalidInput, match=rf"{name} is missing: `wordnet:` takes WordNet's folder"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("\n", "\r\n", r"line 4: points at byte \d+ of .*data\.noun, where no synset begins"),
        ("freely", "free", r"line 4: points at byte \d+ of .*data\.noun, where no synset begins"),
        (" n 03 ", " n 0x ", r"line 4: '0x' is no hexadecimal number"),
        (" n 03 ", " n 00 ", r"line 4: expected 00 \(hexadecimal\) words"),
        (" n 03 ", " n 30 ", r"line 4: expected 30 \(hexadecimal\) words"),
        (" 004 ", " 404 ", r"line 4: expected 404 pointers of four fields each"),
        ("n 0000 +", "n zzzz +", r"line 4: 'zz' is no hexadecimal number"),
        ("n 0000 +", "n 0009 +", r"line 4: points at a word that is not there"),
        ("n 0000 +", "q 0000 +", r"line 4: expected a pointer as"),
        (" n 03 ", " x 03 ", r"line 4: expected a synset"),
        ("domestic", "dom\udcffstic", r"line 4: not UTF-8"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    path = write(tmp_path, small_wordnet()) / "data.noun"
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new).encode(errors="surrogateescape"))
    with pytest.raises(InvalidInput, match=rf"data\.noun, (?:{fault})"):
        read(tmp_path)


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, small_wordnet()) / "data.adj"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(InvalidInput, match=r"data\.adj, line \d"):
        read(tmp_path)


def test_example_of_the_module() -> None:
    assert doctest.testmod(wordnet).failed == 0


@pytest.fixture(scope="module")
def princeton(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Entry], Notes]:
    """WordNet 3.0, whole."""
    data = os.environ.get("SENSEDICT_TEST_DATA")
    if not data:
        pytest.skip("SENSEDICT_TEST_DATA is unset: set it to the folder that holds lexical/wordnet-3.0-dict.tar.xz")
    folder = tmp_path_factory.mktemp("wordnet")
    with tarfile.open(Path(data) / "lexical" / "wordnet-3.0-dict.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return read(folder / "wordnet-3.0")


def test_antonyms_of_wordnet_3_0(princeton: tuple[list[Entry], Notes]) -> None:
    data = Path(os.environ["SENSEDICT_TEST_DATA"]) / "lexical" / "wordnet-3.0-antonyms.tsv.xz"
    listed = set()
    for line in lzma.decompress(data.read_bytes()).decode().splitlines()[1:]:
        pos, *words = line.replace("_", " ").split("\t")[:3]
        listed.add(({"adj": "adjective", "adv": "adverb"}.get(pos, pos), *sorted(words)))
    found = {
        (entry.pos, *sorted((entry.word.lower(), entry.other.lower())))
        for entry in princeton[0]
        if isinstance(entry, Relation) and entry.type == "antonym"
    }
    assert len(listed) == 3_628
    assert found == listed


def test_all_of_wordnet_3_0(princeton: tuple[list[Entry], Notes]) -> None:
    entries, notes = princeton
    counts = Counter(entry.type if isinstance(entry, Relation) else type(entry) for entry in entries)
    assert notes.version == "WordNet 3.0"
    assert not notes.counted
    assert counts == {
        Gloss: 206_978,
        Form: 6_053,
        "synonym": 157_992,
        "hypernym": 175_009,
        "holonym": 43_518,
        "related": 20_336,
        "antonym": 7_979,
    }
    assert ("dog", "canine", "hypernym") in triples(entries)
    assert ("wheel", "wheeled vehicle", "holonym") in triples(entries)
    assert ("arid", "dry", "related") in triples(entries)


LMF_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
<Lexicon id="small" label="SmallNet" language="en" email="a@example.org" version="{version}"
 license="https://creativecommons.org/licenses/by-sa/4.0/">
"""
LMF_RELATIONS = {
    "@": "hypernym",
    "@i": "instance_hypernym",
    "#m": "holo_member",
    "%m": "mero_member",
    "&": "similar",
    "!": "antonym",
    "+": "derivation",
}


def lmf(lines: dict[str, Line], version: str) -> str:
    """The same small WordNet as XML (WN-LMF), each word an entry with one sense a synset."""
    entries, synsets = [], []
    for key, line in lines.items():
        words = list(dict.fromkeys(word.split("(")[0].replace("_", " ") for word in line.words))
        related = "".join(
            f'<SynsetRelation relType="{LMF_RELATIONS[s]}" target="small-{to}"/>'
            for s, to, _ in line.pointers
            if s in LMF_RELATIONS and s not in "!+"
        )
        members = " ".join(f"small-{key}-{place}" for place in range(1, len(words) + 1))
        definition = line.gloss.split('; "')[0].strip(" ;")
        synsets.append(
            f'<Synset id="small-{key}" ili="" partOfSpeech="{line.type}" members="{members}">'
            f"<Definition>{definition}</Definition>{related}</Synset>"
        )
        for place, word in enumerate(words, 1):
            sense = "".join(
                f'<SenseRelation relType="{LMF_RELATIONS[s]}" target="small-{to}-{int(ends[2:])}"/>'
                for s, to, ends in line.pointers
                if s in "!+" and int(ends[:2]) == place
            )
            form = '<Form writtenForm="barkt"/>' if word == "bark" else ""
            entries.append(
                f'<LexicalEntry id="small-{key}-e{place}">'
                f'<Lemma writtenForm="{word}" partOfSpeech="{line.type}"/>{form}'
                f'<Sense id="small-{key}-{place}" synset="small-{key}">{sense}</Sense></LexicalEntry>'
            )
    return LMF_HEAD.format(version=version) + "\n".join([*entries, *synsets, "</Lexicon></LexicalResource>"])


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Any]:
    """The library wn with an empty folder of data, as it was afterwards."""
    wn = pytest.importorskip("wn", reason="the library wn is not installed: pip install wn")
    before = wn.config.data_directory
    wn.config.data_directory = tmp_path / "wn"
    yield wn
    connection = wn._db.pool.pop(wn.config.database_path, None)  # the library never closes it, which Python warns of
    if connection is not None:
        connection.close()
    wn.config.data_directory = before


def add(library: Any, folder: Path, version: str) -> None:
    (folder / "small.xml").write_text(lmf(small_wordnet(), version), encoding="utf-8")
    library.add(folder / "small.xml", progress_handler=None)


def read_library(name: str) -> tuple[list[Entry], Notes]:
    notes = Notes()
    return list(READERS["wn"].read(File(Path(name)), notes)), notes


def test_the_library_gives_what_the_files_give(tmp_path: Path, library: Any) -> None:
    add(library, tmp_path, "1.2")
    from_library, notes = read_library("small:1.2")
    from_files, _ = read(write(tmp_path / "dict", small_wordnet()))
    assert (notes.version, notes.licence) == ("SmallNet 1.2", "CC BY-SA 4.0")
    assert notes.skipped == {"relation of another kind: derivation": 1}
    assert {e for e in from_library if not isinstance(e, Form)} == {e for e in from_files if not isinstance(e, Form)}
    assert [e for e in from_library if isinstance(e, Form)] == [Form("barkt", "bark", "verb")]


def test_a_lexicon_that_the_library_has_not(tmp_path: Path, library: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"no such lexicon .*: python -m wn download oewn:2024"):
        read_library("oewn:2024")
    assert not library.config.database_path.exists()
    add(library, tmp_path, "1.2")
    with pytest.raises(ConfigurationError, match="python -m wn download small:3"):
        read_library("small:3")
    add(library, tmp_path, "1.3")
    with pytest.raises(ConfigurationError, match=r"small:\* may be any of small:1.2, small:1.3: write one of them"):
        read_library("small:*")


def test_a_name_means_what_the_library_has_now(tmp_path: Path, library: Any) -> None:
    add(library, tmp_path, "1.2")
    small, exact = parse_source("wn:small"), parse_source("wn:small:1.2")
    first = small.fingerprint()
    assert first == small.fingerprint() == exact.fingerprint()
    library.remove("small:1.2", progress_handler=None)
    with pytest.raises(ConfigurationError, match="no such lexicon"):
        small.fingerprint()
    add(library, tmp_path, "1.3")
    assert small.fingerprint() != first
    library.remove("small:1.3", progress_handler=None)
    text = lmf(small_wordnet(), "1.2").replace('<Form writtenForm="barkt"/>', "")
    (tmp_path / "other.xml").write_text(text.replace('partOfSpeech="n"', 'partOfSpeech="v"'), encoding="utf-8")
    library.add(tmp_path / "other.xml", progress_handler=None)
    assert exact.fingerprint() != first  # of the same version, with other content


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_database_of_the_library_that_is_none(library: Any) -> None:
    (library.config.data_directory / "wn.db").write_bytes(b"no database at all, but longer than its header " * 10)
    with pytest.raises(ConfigurationError, match=r"wn:small:1: .*wn\.db cannot be read: "):
        read_library("small:1")
    gc.collect()  # the library drops the connection unclosed: Python 3.13 warns of it here, not in another test


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wn", None)  # as Python has it where a package is not installed
    with pytest.raises(MissingExtra, match="pip install wn"):
        read_library("oewn:2024")


def test_example_of_the_library_reader() -> None:
    assert doctest.testmod(wn_library).failed == 0
