"""Each reader on a small file, whole and broken."""

from __future__ import annotations

import doctest
import gzip
import json
import lzma
import os
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from sensedict.errors import InvalidInput
from sensedict_server.lexicon import types
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.readers import (
    READERS,
    File,
    Notes,
    opposites,
    parts,
    wiktextract_notes,
    wiktextract_targets,
)
from sensedict_server.lexicon.readers.morphynet_rules import judge, spelt
from sensedict_server.lexicon.relations import Gloss, Relation, normalise

Triple = tuple[str, str, str]


def read(kind: str, path: Path) -> tuple[list[Triple], Counter[str]]:
    notes = Notes()
    found = [r for r in READERS[kind].read(File(path), notes) if isinstance(r, Relation)]
    return [(r.word, r.other, r.type) for r in found], notes.skipped


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    data = content.encode("utf-8")
    if name.endswith(".gz"):
        data = gzip.compress(data)
    if name.endswith(".xz"):
        data = lzma.compress(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["moby.txt", "moby.txt.gz", "moby.txt.xz"])
def test_moby_takes_pairs_that_list_each_other(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, "hot,warm,heated,hot\r\nwarm,hot,cold\r\ncold,ice cold\r\nice cold,cold,hot\r\n")
    found, skipped = read("moby", path)
    assert found == [("hot", "warm", "synonym"), ("cold", "ice cold", "synonym")]
    assert skipped == {"term without a list of its own": 1, "same word at both ends": 1, "listed one way only": 2}


@pytest.mark.parametrize("line", ["alone", "alone,", ",hot", "alone, "])
def test_moby_names_a_broken_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, "moby.txt", f"hot,warm\n\n{line}\nwarm,hot\n")
    with pytest.raises(InvalidInput, match=r"moby.txt, line 3: expected root,term"):
        read("moby", path)


def test_pairs_by_blanks_or_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.txt", "\ufeffhot cold\nice cream\tsoup\n\n  up   down \n")
    assert read("antonyms", path)[0] == [
        ("hot", "cold", "antonym"),
        ("ice cream", "soup", "antonym"),
        ("up", "down", "antonym"),
    ]
    assert {type_ for _, _, type_ in read("synonyms", path)[0]} == {"synonym"}


@pytest.mark.parametrize("line", ["one", "one two three", "one\ttwo\tthree", "one\t"])
def test_pairs_name_a_broken_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, "pairs.txt", f"hot cold\n{line}\nup down\n")
    with pytest.raises(InvalidInput, match=r"pairs.txt, line 2: expected two words"):
        read("synonyms", path)


def test_pairs_bear_one_broken_line_in_a_hundred(tmp_path: Path) -> None:
    lines = [f"a{i} b{i}" for i in range(99)]
    found, skipped = read("synonyms", write(tmp_path, "pairs.txt", "\n".join([*lines, " consign"])))
    assert (len(found), skipped) == (99, {"line that is not two words, the first is line 100 of pairs.txt": 1})
    found, skipped = read("synonyms", write(tmp_path, "pairs.txt", "\n".join([*lines, "", "a b c", *lines, "d"])))
    assert (len(found), skipped) == (198, {"lines that are not two words, the first is line 101 of pairs.txt": 2})


def test_typed_relations(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.tsv", "New York\tbig apple\tnickname\nhot\tcold\tantonym \n")
    assert read("typed", path)[0] == [("New York", "big apple", "nickname"), ("hot", "cold", "antonym")]


@pytest.mark.parametrize("line", ["hot\tcold", "hot cold antonym", "hot\t\tantonym", "hot\tcold\tIs Opposite"])
def test_typed_names_a_broken_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, "mine.tsv", f"a\tb\tsynonym\n{line}\n")
    with pytest.raises(InvalidInput, match=r"mine.tsv, line 2: "):
        read("typed", path)


@pytest.mark.parametrize(
    ("type_", "meant"),
    [
        ("synonim", "synonym"),
        ("Synonym", "synonym"),
        ("synonyms", "synonym"),
        ("ANTONYMS", "antonym"),
        ("negaton", "negation"),
        ("reversals", "reversal"),
        ("Related", "related"),
        ("co-ordinate", "coordinate"),
        ("hypernim", "hypernym"),
        ("hyperonym", "hypernym"),
        ("holonyms", "holonym"),
        ("hiponym", "hyponym"),
        ("Meronym", "meronym"),
    ],
)
def test_typed_refuses_a_misspelt_type(tmp_path: Path, type_: str, meant: str) -> None:
    path = write(tmp_path, "mine.tsv", f"a\tb\tsynonym\nlight\tbright\t{type_}\n")
    with pytest.raises(InvalidInput, match=f"mine.tsv, line 2: type '{type_}': write '{meant}', which is meant"):
        read("typed", path)


@pytest.mark.parametrize("type_", ["hypernym", "cohyponym", "homonym", "near-synonym", "nickname", "inverse"])
def test_typed_takes_types_of_other_names(tmp_path: Path, type_: str) -> None:
    assert read("typed", write(tmp_path, "mine.tsv", f"a\tb\t{type_}\n"))[0] == [("a", "b", type_)]


def test_typed_turns_hyponyms_and_meronyms_round(tmp_path: Path) -> None:
    content = "word,other,type,pos,gloss\nanimal,dog,hyponym,n,it moves\ncar,wheel,meronym,,\ndog,pet,hypernym,N,\n"
    assert list(READERS["typed"].read(File(write(tmp_path, "mine.csv", content)), Notes())) == [
        Relation("dog", "animal", "hypernym", pos="noun"),
        Gloss("animal", "it moves", "noun"),
        Relation("wheel", "car", "holonym"),
        Relation("dog", "pet", "hypernym", pos="noun"),
    ]


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.xz", "mine.csv.gz"])
def test_typed_csv_with_quotes(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, '"salt, sea",pepper,goes-with\r\n"the ""best""",worst,antonym\r\n')
    assert read("typed", path)[0] == [("salt, sea", "pepper", "goes-with"), ('the "best"', "worst", "antonym")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.csv", 'gloss,type,Word,OTHER\n"a pet,\nthat barks",hypernym,dog,animal\n,antonym,hot,cold\n'),
        ("mine.tsv", "gloss\ttype\tword\tother\na pet, that barks\thypernym\tdog\tanimal\n\tantonym\thot\tcold\n"),
    ],
)  # fmt: skip
def test_typed_columns_by_name(tmp_path: Path, name: str, content: str) -> None:
    collection = Collection()
    collection.add("mine", READERS["typed"].read(File(write(tmp_path, name, content)), Notes()))
    assert collection.relations == [
        Relation("dog", "animal", "hypernym", gloss="a pet, that barks"),
        Relation("hot", "cold", "antonym"),
    ]
    assert [relation.directed for relation in collection.relations] == [True, False]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("Adj", "adjective"),
        ("intj", "interjection"),
        ("prep", "preposition"),
        ("name", "proper noun"),
        ("Clitic", "Clitic"),
    ],
)
def test_parts_of_speech_are_one_vocabulary(tmp_path: Path, tag: str, name: str) -> None:
    path = write(tmp_path, "mine.tsv", f"word\tother\ttype\tpos\na\tb\tsynonym\t{tag}\n")
    assert list(READERS["typed"].read(File(path), Notes())) == [Relation("a", "b", "synonym", pos=name)]


def test_typed_parts_of_speech(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.tsv", "pos\tword\tother\ttype\nnoun\tdog\tanimal\thypernym\n \thot\tcold\tantonym\n")
    found = [entry for entry in READERS["typed"].read(File(path), Notes()) if isinstance(entry, Relation)]
    assert [relation.pos for relation in found] == ["noun", None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "word,other,type,glos\n", "line 1: column 'glos' of the header is none of word, other"),
        ("m.csv", "word,other,type,word\n", "line 1: column 'word' stands in the header twice"),
        ("m.csv", "word,other,type,pos\nhot,cold,antonym\n", "line 2: expected word, other, type and pos with commas"),
        ("m.csv", "hot;cold;antonym\n", "line 1: expected word, other and type with commas between them"),
        ("m.csv", 'a,"b\nc",d\n\nhot,"cold,antonym\nup,down,antonym\n', "line 4: no CSV: .* is a quote left open"),
        ("m.csv", 'hot,"cold" x,antonym\n', "line 1: no CSV"),
        ("m.csv", "a,b," + "c" * 200_000 + "\n", "line 1: no CSV: field larger than"),
        ("m.tsv", "word\tother\ttype\tpos\nup\tdown\tantonym\t" + "x" * 99, "line 2: part of speech 'xxx"),
        ("m.tsv", "word\tother\n", "line 1: expected word, other and type with tabs between them"),
    ],
)  # fmt: skip
def test_typed_names_a_broken_table(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read("typed", write(tmp_path, name, content))


def test_bytes_that_are_no_text_and_a_cut_file(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("hot cold\nété summer\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"latin.txt, line 2: not UTF-8"):
        read("synonyms", latin)
    for name in ("pairs.txt.xz", "pairs.txt.gz"):
        path = write(tmp_path, name, "".join(f"{i * i} {i}\n" for i in range(5000)))
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(InvalidInput, match=rf"{name}: cannot be read"):
            read("synonyms", path)


def test_progress_is_told_of_every_byte(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.txt.xz", "".join(f"{i * i} {i}\n" for i in range(50_000)))
    told: list[int] = []
    assert sum(1 for _ in File(path, told.append).lines()) == 50_000
    assert sum(told) == path.stat().st_size


def test_the_opposites_are_many_sound_and_once_each() -> None:
    found, skipped = read("opposites", opposites.PATH)
    assert len(found) >= 350
    assert not skipped
    pairs = [frozenset((word, other)) for word, other, _ in found]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)
    assert all(normalise(word) == word for pair in pairs for word in pair)
    assert {frozenset(("hot", "cold")), frozenset(("up", "down"))} <= set(pairs)


def morphynet(folder: Path, *entries: tuple[str, str, str, str, str, str]) -> Path:
    content: dict[str, dict[str, object]] = {}
    for base, base_pos, derived, derived_pos, affix, affix_type in entries:
        entry = content.setdefault(base, {"pos": base_pos, "derives_to": {}, "derived_from": None})
        entry["derives_to"][derived] = {"pos": derived_pos, "affix": affix, "affix_type": affix_type}  # type: ignore[index]
    return write(folder, "eng.json", json.dumps(content, indent=2, ensure_ascii=False))


def test_morphynet_gives_negations_and_reversals(tmp_path: Path) -> None:
    path = morphynet(
        tmp_path,
        ("happy", "J", "unhappy", "J", "un", "prefix"),
        ("happy", "J", "happiness", "N", "ness", "suffix"),
        ("legal", "J", "illegal", "J", "il", "prefix"),
        ("possible", "J", "impossible", "J", "in", "prefix"),
        ("side", "N", "inside", "N", "in", "prefix"),
        ("hope", "N", "hopeless", "J", "less", "suffix"),
        ("tie", "V", "untie", "V", "un", "prefix"),
        ("agree", "V", "disagree", "V", "dis", "prefix"),
        ("cover", "V", "discover", "V", "dis", "prefix"),
        ("existing", "V", "non-referenceable", "V", "non", "prefix"),
        ("pore", "N", "porin", "N", "in", "suffix"),
    )
    found, skipped = read("morphynet", path)
    assert found == [
        ("happy", "unhappy", "negation"),
        ("legal", "illegal", "negation"),
        ("possible", "impossible", "negation"),
        ("hope", "hopeless", "negation"),
        ("tie", "untie", "reversal"),
        ("agree", "disagree", "negation"),
    ]
    assert skipped == {"neither negation nor reversal": 2, "not spelt as base and affix": 1}


@pytest.mark.parametrize(
    ("affix", "base", "base_pos", "derived", "derived_pos", "expected"),
    [
        ("un", "crucified", "V", "uncrucified", "J", "negation"),
        ("un", "certainty", "N", "uncertainty", "N", "negation"),
        ("un", "winter", "N", "unwinter", "N", None),
        ("non", "payment", "N", "nonpayment", "N", "negation"),
        ("non", "dog", "N", "nondog", "N", None),
        ("dis", "armament", "N", "disarmament", "N", "reversal"),
        ("dis", "agreement", "N", "disagreement", "N", "negation"),
        ("in", "habitable", "J", "inhabitable", "J", None),
        ("in", "dwelling", "V", "indwelling", "J", None),
        ("in", "justice", "N", "injustice", "N", "negation"),
        ("un", "packed", "V", "unpacked", "V", None),
        ("less", "b", "N", "bless", "J", None),
    ],
)
def test_judgements(affix: str, base: str, base_pos: str, derived: str, derived_pos: str, expected: str | None) -> None:
    assert derived in spelt(affix, base)
    assert judge(affix, base, base_pos, derived, derived_pos) == expected


def test_morphynet_reads_in_windows(tmp_path: Path) -> None:
    entries = [(f"able{i}", "J", f"unable{i}", "J", "un", "prefix") for i in range(30_000)]
    path = morphynet(tmp_path, *entries)
    assert path.stat().st_size > 3 * 2**20
    assert len(read("morphynet", path)[0]) == 30_000
    lines = path.read_text("utf-8").splitlines()
    number = next(at for at, line in enumerate(lines) if line.startswith('  "able29000"'))
    lines[number] = lines[number].replace(":", ";")
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InvalidInput, match=rf"eng.json, line {number + 1}: broken JSON"):
        read("morphynet", path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[]", 1),
        ('{\n"happy": {"pos": "J",\n "derives_to": {\n', 3),
        ('{\n"happy": {"pos": "J"}}', 2),
        ('{\n\n"happy": []}', 3),
        ('{"happy": {"pos": "J", "derives_to": {}}', 1),
    ],
)
def test_morphynet_names_a_broken_line(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(InvalidInput, match=rf"eng.json, line {line}: "):
        read("morphynet", write(tmp_path, "eng.json", content))


@pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
@pytest.mark.parametrize(("kind", "name", "pairs"), [("synonyms", "syn", 103_726), ("antonyms", "ant", 15_806)])
def test_the_pairs_of_hg2vec_are_as_many_as_an_independent_count_says(kind: str, name: str, pairs: int) -> None:
    collection = Collection()
    path = Path(os.environ["SENSEDICT_TEST_DATA"]) / f"hg2vec-{name}-pairs.txt.xz"
    collection.add(kind, READERS[kind].read(File(path), Notes()))
    assert len(collection.relations) == pairs


@pytest.mark.parametrize("module", [types, parts, wiktextract_notes, wiktextract_targets])
def test_the_examples_are_right(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
