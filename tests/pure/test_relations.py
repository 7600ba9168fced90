"""Words made uniform, each pair once a source and type, contradictions found."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensedict_server.lexicon.relations import MOST_CHARACTERS, Collection, Relation, UnusableWord, normalise


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
