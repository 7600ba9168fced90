"""Roget's Thesaurus: which words of a head become synonyms, which are related, and which are passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.readers import READERS, File, Notes
from sensedict_server.lexicon.relations import Relation

TOP = "***START OF THE EBOOK***\n\nCLASS I\nWORDS; OF ALL KINDS\n\n1. FIRST THINGS\n\n"
END = "\n\n    ***END OF THE EBOOK\n\n7. Licence -- N. royalty, fee.\n"


def read(folder: Path, text: str) -> tuple[list[Relation], Notes]:
    path, notes = folder / "roget.txt", Notes()
    path.write_text(TOP + text + END, "utf-8")
    return [entry for entry in READERS["roget"].read(File(path), notes) if isinstance(entry, Relation)], notes


def pairs(folder: Path, text: str, type_: str = "synonym") -> list[tuple[str, str]]:
    return [(relation.word, relation.other) for relation in read(folder, text)[0] if relation.type == type_]


def test_neighbours_in_a_group_are_synonyms_and_others_near_them_related(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "5. Glee -- N. glee; joy, mirth, fun.\nV. be glad; exult, crow.\nAdj. gay, merry.\n")
    assert [(r.word, r.other, r.type, r.pos) for r in found] == [
        ("joy", "mirth", "synonym", "noun"),
        ("joy", "fun", "related", "noun"),
        ("mirth", "fun", "synonym", "noun"),
        ("exult", "crow", "synonym", "verb"),
        ("gay", "merry", "synonym", "adjective"),
    ]
    assert not notes.skipped
    assert all(r.gloss is None and r.rule is None for r in found)


def test_opposites_next_to_each_other_are_related(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "5. Kin -- N. son, daughter, girl.\nV. add, subtract.\n")
    assert [(r.word, r.other, r.type) for r in found] == [
        ("son", "daughter", "related"),
        ("son", "girl", "related"),
        ("daughter", "girl", "synonym"),
        ("add", "subtract", "related"),
    ]
    assert notes.counted == {"neighbours that our list of opposites has, taken as related": 2}


def test_words_far_apart_are_counted(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "5. Glee -- V. a, b, c, d, e, f, g, h.\n")
    assert len(found) == 8 * 7 // 2 - 1
    assert notes.skipped == {"words more than 6 apart in a group": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("V. rue &c 3, moan &c (grieve) 839.1, wail &c v., sob", [("rue", "moan"), ("moan", "wail"), ("wail", "sob")]),
        ("Adj. sad &c adj.. low, blue; glum, &c 901.", [("low", "blue")]),
        ("Adj. sad, low etc; (gloomy) 837 dim, dull &c\n422.", [("sad", "low"), ("dim", "dull")]),
        ("V. walk off, go\naway; ill-\ntreat, mis-\nuse.", [("walk off", "go away"), ("ill-treat", "mis-use")]),
        ("V. scold, rate\n     chide, blame.", [("scold", "rate"), ("chide", "blame")]),
        ("V. scold\n\t chide, blame.", [("chide", "blame")]),
        ("    Adj. sour, tart\n    , acid.", [("sour", "tart"), ("tart", "acid")]),
        ("Adj. [of food] sour, tart; lief [Obs.], peart [U.S.].", [("sour", "tart"), ("lief", "peart")]),
        ("V. stab, rip [G.\n     Eliot], tear.", [("stab", "rip"), ("rip", "tear")]),
        ("V. m=elang=er, p_eter, or mix!", [("melanger", "peter"), ("peter", "mix")]),
        ("N. row boat, ferry boat; Muses, Graces; mail, chain mail.", []),
        ("Adj. rational, irrational; fit, unfit.", []),
        ("V. weep, shed a tear; sulk, mope about.", [("sulk", "mope about")]),
        ("N. [list of tools] adze, axe.", []),
        ("Int. pooh!, fudge!", []),
    ],
)  # fmt: skip
def test_what_stands_round_a_word(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(tmp_path, f"5. [Low spirits; in\n     man.] Gloom {{ant.\n     4}} --\n{text}\n") == expected


def test_nouns_of_heads_that_name_things_are_kinds(tmp_path: Path) -> None:
    text = "273. Ship -- N. skiff, punt.\nV. row, scull.\n"
    assert pairs(tmp_path, text) == [("row", "scull")]
    assert pairs(tmp_path, text, "related") == [("skiff", "punt")]


@pytest.mark.parametrize(
    ("text", "reason", "count"),
    [
        ("Phr. all is lost; woe, woe.", "phrase", 3),
        ("N. gloom, ennui [Fr.], taedium &c 841 [Lat.].", "foreign word", 2),
        ("V. weep; drop tears of joy [Old Play].", "quotation", 1),
        ("V. weep, sit down by the waters.", "more than 4 words", 1),
        ('N. "%", 5 cents, over-.', "not a word", 3),
    ],
)
def test_what_is_passed_over_is_counted(tmp_path: Path, text: str, reason: str, count: int) -> None:
    found, notes = read(tmp_path, f"5. Gloom -- {text}\n")
    assert (found, notes.skipped) == ([], {reason: count})


def test_a_word_passed_over_keeps_its_place(tmp_path: Path) -> None:
    assert pairs(tmp_path, "5. Gloom -- N. gloom, ennui [Fr.], dumps.\n") == []
    assert pairs(tmp_path, "5. Gloom -- N. gloom, ennui [Fr.], dumps.\n", "related") == [("gloom", "dumps")]


def test_headings_between_heads_and_the_licence_are_no_words(tmp_path: Path) -> None:
    text = "5a. Gloom -- N. gloom, dumps.\n\n2. SECOND THINGS\n1. Of old; of late\n\n\n6 Glee -- N. joy, mirth.\n"
    found, notes = read(tmp_path, text)
    assert [(r.word, r.other) for r in found] == [("gloom", "dumps"), ("joy", "mirth")]
    assert notes.skipped == {"paragraph outside a head": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hot cold\nup down\n", "no head such as `1. Existence -- N. existence, being` in it; expected the plain text"),
        ("", "no head such as"),
        ("5. Gloom -- N. gloom &amp;c adj.\n", r"roget.txt, line 8: this is HTML"),
        ("x\n" + "gloom, dumps,\n" * 90_000, r"roget.txt, line 8: no blank line after this one"),
    ],
)
def test_a_file_that_is_no_roget(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(tmp_path, text)


@pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
def test_the_whole_thesaurus() -> None:
    path = Path(os.environ["SENSEDICT_TEST_DATA"]) / "lexical/roget-1911-pg10681.txt.xz"
    notes, collection = Notes(), Collection()
    collection.add("roget", READERS["roget"].read(File(path), notes))
    assert "paragraph outside a head" not in notes.skipped
    synonyms = {relation.pair for relation in collection.relations if relation.type == "synonym"}
    assert 30_000 < len(synonyms) < 31_000
    assert {("avoid", "shun"), ("alteration", "change"), ("sharpen", "whet")} <= synonyms
    assert not any("Gutenberg" in word or "[" in word or "&" in word for word in collection.words())
