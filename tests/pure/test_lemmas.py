"""Lemmas by the ending of a word."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensedict import lemmas
from sensedict.lemmas import lemma_candidates

ENDINGS = ("s", "es", "ies", "ves", "ses", "men", "ed", "ied", "ing", "ying", "er", "ier", "est", "iest", "tted", "")


@pytest.mark.parametrize(
    ("word", "lemma", "pos"),
    [
        ("dogs", "dog", "noun"),
        ("classes", "class", "noun"),
        ("horses", "horse", "noun"),
        ("wolves", "wolf", "noun"),
        ("boxes", "box", "noun"),
        ("sizes", "size", "noun"),
        ("buzzes", "buzz", "noun"),
        ("quartzes", "quartz", "noun"),
        ("churches", "church", "noun"),
        ("wishes", "wish", "verb"),
        ("firemen", "fireman", "noun"),
        ("ponies", "pony", "noun"),
        ("ties", "tie", "noun"),
        ("buses", "bus", "noun"),
        ("heroes", "hero", "noun"),
        ("knives", "knife", "noun"),
        ("TVs", "TV", "noun"),
        ("walks", "walk", "verb"),
        ("tries", "try", "verb"),
        ("hopes", "hope", "verb"),
        ("goes", "go", "verb"),
        ("walked", "walk", "verb"),
        ("hoped", "hope", "verb"),
        ("tried", "try", "verb"),
        ("stopped", "stop", "verb"),
        ("travelled", "travel", "verb"),
        ("freed", "free", "verb"),
        ("running", "run", "verb"),
        ("being", "be", "verb"),
        ("dying", "die", "verb"),
        ("untying", "untie", "verb"),
        ("falling", "fall", "verb"),
        ("taller", "tall", "adjective"),
        ("tallest", "tall", "adjective"),
        ("nicer", "nice", "adjective"),
        ("finest", "fine", "adjective"),
        ("bigger", "big", "adjective"),
        ("happier", "happy", "adjective"),
        ("faster", "fast", "adverb"),
    ],
)
def test_inflections(word: str, lemma: str, pos: str) -> None:
    assert (lemma, pos) in lemma_candidates(word)


@pytest.mark.parametrize(
    ("word", "better", "worse"),
    [
        ("hoping", "hope", "hop"),
        ("hopping", "hop", "hopp"),
        ("starred", "star", "starre"),
        ("stared", "stare", "star"),
        ("passed", "pass", "pas"),
        ("adding", "add", "ad"),
        ("serves", "serve", "serf"),
        ("uses", "use", "us"),
        ("pleased", "please", "pleas"),
        ("later", "late", "lat"),
        ("heated", "heat", "heate"),
        ("freed", "free", "fre"),
        ("seeing", "see", "seee"),
    ],
)
def test_the_better_guess_comes_first(word: str, better: str, worse: str) -> None:
    found = [lemma for lemma, _ in lemma_candidates(word)]
    assert found[0] == better
    assert worse in found[1:]


@pytest.mark.parametrize("word", ["", "s", "as", "red", "king", "glass", "walk", "best", "her", "東京", "WALKED"])
def test_words_that_are_no_inflection(word: str) -> None:
    assert lemma_candidates(word) == []


@given(st.text(max_size=30), st.sampled_from(ENDINGS))
def test_never_the_word_itself_never_empty_never_many(stem: str, ending: str) -> None:
    found = lemma_candidates(stem + ending)
    assert len(found) == len(set(found)) <= 12
    for lemma, pos in found:
        assert lemma
        assert lemma != stem + ending
        assert pos in ("noun", "verb", "adjective", "adverb")


def test_examples_of_the_module() -> None:
    assert doctest.testmod(lemmas).failed == 0
