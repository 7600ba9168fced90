"""Candidate sets under the types that a dictionary chooses: no pair in both sets, and directed types one way alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, update

from sensedict.snapshot import Snapshot
from sensedict.source import Ranges
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.settings import Settings
from sensedict_server.tables import lexicons, relation_sources, relations, words
from tiny_dictionary import TOKENS, WORDS

Sets = Callable[[str], tuple[list[str], list[str]]]
Choose = Callable[[list[str], list[str]], Sets]

# (word, other, type, source, directed); the two sources stand for any
LISTED = [
    ("hot", "warm", "synonym", "first", False),
    ("hot", "warm", "reversal", "second", False),
    ("hot", "cold", "reversal", "first", False),
    ("hot", "happy", "synonym", "first", False),
    ("big", "small", "hypernym", "first", True),
    ("small", "big", "opposed by", "second", True),
    ("glad", "happy", "hypernym", "first", True),
    ("happy", "sad", "hypernym", "first", True),
    ("warm", "kind", "related", "first", False),
    ("warm", "kind", "antonym", "second", False),
    ("warm", "big", "related", "second", False),
]


@pytest.fixture
def choose(database: Engine, settings: Settings, tiny_draft: Draft) -> Choose:
    """Publishes a dictionary of chosen types; gives a function from a word to the words of its two sets."""
    with database.begin() as connection:
        lexicon = connection.execute(
            insert(lexicons).values(name="chosen", version="1").returning(lexicons.c.id)
        ).scalar_one()
        sources = {
            name: connection.execute(
                insert(relation_sources)
                .values(lexicon_id=lexicon, name=name, licence="CC0-1.0", version="1")
                .returning(relation_sources.c.id)
            ).scalar_one()
            for name in ("first", "second")
        }
        ids = {row.text: row.id for row in connection.execute(select(words.c.text, words.c.id))}
        island = [("New York", word, "beside", "first", True) for word in WORDS if word != "New York"]
        for word, other, type_, source, directed in LISTED + island:  # every word of a draft is in a relation
            ends = (ids[word], ids[other]) if directed else sorted((ids[word], ids[other]))
            connection.execute(
                insert(relations).values(
                    lexicon_id=lexicon,
                    word_id=ends[0],
                    other_id=ends[1],
                    type=type_,
                    source_id=sources[source],
                    directed=directed,
                )
            )
        connection.execute(update(lexicons).where(lexicons.c.id == lexicon).values(state="published"))

    def choose(synonyms: list[str], antonyms: list[str]) -> Sets:
        chosen = {"synonym_types": synonyms, "antonym_types": antonyms}
        publish(database, settings.files, replace(tiny_draft, lexicon_id=lexicon, settings=chosen))

        def of(word: str) -> tuple[list[str], list[str]]:
            with Snapshot.open(settings.files / "tiny@1") as snapshot:
                found = snapshot.candidate_sets(np.array([WORDS[word][0]]))
            return _owners(found.synonyms), _owners(found.antonyms)

        return of

    return choose


def _owners(ranges: Ranges) -> list[str]:
    """The words that the ranges belong to."""
    firsts = np.cumsum([0, *(size for _, size in TOKENS)])
    owner = {first: text.strip() for first, (text, size) in zip(firsts.tolist(), TOKENS, strict=False) if size}
    return sorted(owner[first] for first in ranges.first.tolist())


def test_a_pair_that_contradicts_itself_is_in_neither_set(choose: Choose) -> None:
    sets = choose(["synonym"], ["antonym", "negation", "reversal"])
    assert sets("hot") == (["happy"], ["cold"])  # warm is a synonym and a reversal
    assert sets("warm") == ([], ["kind"])
    assert sets("cold") == ([], ["hot"])


def test_without_the_reversals_the_pair_is_of_synonyms(choose: Choose) -> None:
    sets = choose(["synonym"], ["antonym", "negation"])
    assert sets("hot") == (["happy", "warm"], [])
    assert sets("warm") == (["hot"], ["kind"])


@pytest.mark.parametrize(("contrary", "left"), [("antonym", ["big", "hot"]), ("reversal", ["big", "kind"])])
def test_any_types_may_contradict_each_other(choose: Choose, contrary: str, left: list[str]) -> None:
    assert choose(["related", "synonym"], [contrary])("warm") == (left, [])


def test_a_directed_type_leads_from_its_word_to_the_other(choose: Choose) -> None:
    sets = choose(["hypernym"], ["antonym"])
    assert sets("glad") == (["happy"], [])
    assert sets("happy") == (["sad"], [])  # not glad, of which it is the hypernym
    assert sets("sad") == ([], [])
    assert sets("kind") == ([], ["warm"])  # symmetric types lead both ways


def test_a_directed_type_may_be_contrary(choose: Choose) -> None:
    sets = choose(["synonym"], ["hypernym"])
    assert sets("happy") == (["hot"], ["sad"])
    assert sets("sad") == ([], [])


def test_contradicting_relations_may_run_against_each_other(choose: Choose) -> None:
    sets = choose(["hypernym"], ["opposed by"])
    assert sets("big") == sets("small") == ([], [])
    assert sets("happy") == (["sad"], [])
