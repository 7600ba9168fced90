"""Words made uniform, each pair once a source and type, contradictions found."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.relations import MOST_CHARACTERS, Gloss, Relation, UnusableWord, normalise


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hot", "hot"),
        ("  ice \t  cream\u00a0", "ice cream"),
        ("e\u0301te\u0301", "été"),
        ("New York", "New York"),
        ("and/or", "and/or"),
        ("日本", "日本"),
        ("x" * MOST_CHARACTERS, "x" * MOST_CHARACTERS),
    ],
)
def test_normalise(text: str, word: str) -> None:
    assert normalise(text) == word


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty word"),
        (" \n ", "empty word"),
        ("a\x00b", "control character in a word"),
        ("a\x7f", "control character in a word"),
        ("\ud83d", "control character in a word"),
        ("x" * (MOST_CHARACTERS + 1), "word longer than 256 characters"),
    ],
)
def test_a_text_that_is_no_word_says_why(text: str, reason: str) -> None:
    with pytest.raises(UnusableWord, match=reason):
        normalise(text)


@given(st.text(max_size=40))
def test_a_normal_word_stays_as_it_is(text: str) -> None:
    try:
        word = normalise(text)
    except UnusableWord:
        return
    assert normalise(word) == word
    assert unicodedata.is_normalized("NFC", word)
    assert word == word.strip()


def test_each_pair_is_kept_once_a_source_and_type() -> None:
    collection = Collection()
    collection.add(
        "one",
        [
            Relation("hot", "cold", "antonym"),
            Relation("cold ", "hot", "antonym"),
            Relation("cold", "hot", "related"),
            Relation("hot", " hot", "synonym"),
            Relation("", "hot", "synonym"),
            Relation("a\x01", "hot", "synonym"),
        ],
    )
    collection.add("two", [Relation("hot", "cold", "antonym")])
    assert [(r.word, r.other, r.type) for r in collection.relations] == [
        ("hot", "cold", "antonym"),
        ("cold", "hot", "related"),
        ("hot", "cold", "antonym"),
    ]
    assert collection.sources == ["one", "one", "two"]
    assert collection.of_source("two") == [2]
    assert collection.skipped["one"] == {
        "listed before": 1,
        "same word at both ends": 1,
        "empty word": 1,
        "control character in a word": 1,
    }
    assert collection.words() == {"hot", "cold"}


def test_a_relation_hangs_on_every_gloss_that_it_is_listed_under() -> None:
    collection = Collection()
    collection.add(
        "one",
        [
            Relation("cold", "hot", "antonym"),
            Gloss("hot", "of high temperature", "adjective"),
            Relation("hot", "cold", "antonym", pos="adjective", gloss="of much spice"),
            Relation("hot", "cold", "antonym", pos="adjective", gloss=" of  high temperature"),
            Relation("cold", "hot", "antonym", pos="adjective", gloss="of low temperature"),
            Relation("cold", "hot", "antonym", gloss="low"),
            # nothing new
            Relation("hot", "cold", "antonym", pos="adjective", gloss="of much spice"),
            Relation("cold", "hot", "antonym", pos="adjective", gloss="of low temperature"),
            Relation("cold", "hot", "antonym", pos="adjective"),
            Relation("cold", "hot", "antonym", pos="adjective", gloss=" "),
            Gloss("hot", "\x00"),
        ],
    )
    collection.add("two", [Relation("hot", "cold", "antonym", pos="adjective", gloss="of much spice")])
    assert [(r.word, r.other, r.pos) for r in collection.relations] == [
        ("cold", "hot", None),
        ("hot", "cold", "adjective"),
        ("hot", "cold", "adjective"),
    ]
    told = [[collection.glosses[gloss] for gloss in collection.glosses_of(place)] for place in range(3)]
    assert told == [
        [("one", "cold", "low", None)],
        [
            ("one", "hot", "of high temperature", "adjective"),
            ("one", "hot", "of much spice", "adjective"),
            ("one", "cold", "of low temperature", "adjective"),
        ],
        [("two", "hot", "of much spice", "adjective")],
    ]
    assert collection.skipped == {"one": {"listed before": 4, "empty gloss": 1}, "two": {}}
    collection.remove({0})
    assert collection.glosses_of(0) == [0, 1, 2]


def test_a_derived_relation_is_kept_once_a_parent() -> None:
    collection = Collection()
    collection.add(
        "one",
        [
            Relation("unkind", "friendly", "antonym"),
            Relation("unkind", "unfriendly", "synonym"),
            Relation("small", "large", "antonym", pos="adjective"),
            Relation("unsmall", "large", "synonym"),
        ],
    )
    derived = [
        Relation("kind", "friendly", "synonym", "negation:un-", 0),
        Relation("friendly", "kind", "synonym", "negation:un-+un-", 1),
        Relation("kind", "friendly", "synonym", "negation:un-", 1),
        Relation("large", "small", "antonym", "negation:un-", 3),  # listed, as an adjective
        Relation("large", "small", "antonym", "negation:un-", 3, "adverb"),
    ]
    collection.add("one", derived)
    assert collection.relations[4:] == derived[:3]
    assert collection.skipped["one"] == {"derived: listed before": 2}
    collection.add("two", [Relation("friendly", "kind", "synonym")])
    collection.add("two", [Relation("large", "small", "antonym", "negation:un-", 3)])  # what another source lists
    assert len(collection.relations) == 9
    collection.remove({0, 1})
    assert [(r.word, r.rule, r.parent) for r in collection.relations[2:]] == [
        ("kind", "negation:un-", None),  # of two parents
        ("friendly", "negation:un-+un-", None),
        ("friendly", None, None),
        ("large", "negation:un-", 1),
    ]
    assert len(collection.sources) == 6


def test_a_text_is_in_memory_once() -> None:
    collection = Collection()
    listed = [(f"word {i % 2}", "the same " + "text" * 3) for i in range(3)]
    collection.add("one", [Gloss(word, "".join(text)) for word, text in listed])
    collection.add("one", [Relation(word, "other", "synonym", gloss="".join(text)) for word, text in listed])
    assert len({id(text) for _, _, text, _ in collection.glosses}) == 1
    assert {id(relation.gloss) for relation in collection.relations} == {id(collection.glosses[0][2])}
    assert len({id(relation.other) for relation in collection.relations}) == 1


def test_a_pair_of_both_signs_is_a_conflict_across_sources() -> None:
    collection = Collection()
    collection.add("thesaurus", [Relation("warm", "cold", "synonym"), Relation("kind", "unkind", "synonym")])
    collection.add(
        "opposites",
        [
            Relation("cold", "warm", "antonym"),
            Relation("unkind", "kind", "negation"),
            Relation("cold", "warm", "related"),
            Relation("tie", "untie", "reversal"),
        ],
    )
    collection.add("other", [Relation("tie", "untie", "synonym")])
    conflicts = collection.conflicts()
    assert conflicts == {("cold", "warm"), ("kind", "unkind")}
    flags = [collection.in_conflict(place, conflicts) for place in range(len(collection.relations))]
    assert flags == [True, True, True, True, False, False, False]
