"""Negation on real data: counts on HG2Vec's pairs with MorphoLEX, beside those of an independent program."""

from __future__ import annotations

import csv
import lzma
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sensedict_server.lexicon.affixes import shipped_affixes
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.negation import derive
from sensedict_server.lexicon.readers import READERS, File, Notes
from sensedict_server.lexicon.relations import ANTONYM, REVERSAL, SYNONYM, Relation, Segmentation

pytestmark = pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
DENIED = {SYNONYM: 2_702, ANTONYM: 7_906}
DEFAULT = {SYNONYM: 2_702, ANTONYM: 7_535, REVERSAL: 371}
RELEASE = {SYNONYM: 3_644, ANTONYM: 10_300}
BY_RULE = {  # derived relations, not distinct edges; with one side negated
    ("negation:un-", ANTONYM): 3_167,
    ("negation:un-", SYNONYM): 924,
    ("negation:im-", ANTONYM): 2_328,
    ("negation:im-", SYNONYM): 742,
    ("negation:dis-", ANTONYM): 968,
    ("negation:dis-", SYNONYM): 295,
    ("negation:non-", ANTONYM): 125,
    ("negation:non-", SYNONYM): 19,
    ("negation:-less", ANTONYM): 623,
    ("negation:-less/-ful", ANTONYM): 366,
    ("negation:-less/-ful", SYNONYM): 112,
    ("reversal:un-", REVERSAL): 199,
    ("reversal:un-", SYNONYM): 35,
    ("reversal:dis-", REVERSAL): 173,
    ("reversal:dis-", SYNONYM): 29,
}
BY_RULE_RELEASE = {
    "negation:un-": 4_363,
    "negation:im-": 3_249,
    "negation:dis-": 2_182,
    "negation:non-": 141,
    "negation:-less": 1_489,
    "negation:a-": 889,
    "negation:de-": 711,
    "negation:anti-": 70,
    "negation:-free": 26,
}
TAGS = {"NN": "noun", "VB": "verb", "JJ": "adjective", "RB": "adverb"}


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(os.environ["SENSEDICT_TEST_DATA"])


@pytest.fixture(scope="module")
def relations(folder: Path) -> list[Relation]:
    collection = Collection()
    for kind, name in (("synonyms", "syn"), ("antonyms", "ant")):
        collection.add("pairs", READERS[kind].read(File(folder / f"hg2vec-{name}-pairs.txt.xz"), Notes()))
    return collection.relations


@pytest.fixture(scope="module")
def segmentations(folder: Path) -> dict[str, Segmentation]:
    """MorphoLEX as it is in the copy without braces."""
    with lzma.open(folder / "lexical" / "morpholex-en-flat.csv.xz", "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    found: dict[str, Segmentation] = {}
    for row in rows:
        pos = frozenset(TAGS[tag] for tag in row["POS"].split("|") if tag in TAGS)
        word = row["Word"].lower()
        found.setdefault(word, Segmentation(word, row["MorphoLexSegm_flat"], pos))
    return found


def edges(derived: Iterable[Relation]) -> Counter[str]:
    return Counter(type for _, type in {(relation.pair, relation.type) for relation in derived})


def between_bases(derived: Iterable[Relation]) -> Counter[str]:
    """One derived edge a parent, with every negated side replaced; a parent that gives both bases alike gives none."""
    by_parent: dict[int | None, list[Relation]] = {}
    for relation in derived:
        by_parent.setdefault(relation.parent, []).append(relation)
    return edges(found[0] for found in by_parent.values() if len(found) != 2)


def without_pos(segmentations: Mapping[str, Segmentation]) -> dict[str, Segmentation]:
    return {word: replace(segmentation, pos=frozenset()) for word, segmentation in segmentations.items()}


def test_the_affixes_alone_give_what_an_independent_program_gives(
    relations: list[Relation], segmentations: dict[str, Segmentation]
) -> None:
    # It counts 3,288 and 6,287. Five of its antonyms are wrong: four take the dis- out of the middle of predisposition
    # (preposition), one the -less out of witlessness (witness). docs/negation.md explains.
    shipped = {key: replace(affix, changes_pos=False, instead=()) for key, affix in shipped_affixes().affixes.items()}
    affixes = replace(shipped_affixes(), affixes=shipped, lookalikes=frozenset())
    derived = derive(relations, without_pos(segmentations), affixes=affixes)
    assert between_bases(derived) == {SYNONYM: 3_288, ANTONYM: 6_287 - 5}
    # … and with both sides negated, each side alone too
    assert edges(derived) == {SYNONYM: 3_364, ANTONYM: 9_032}
    listed = {(relation.pair, relation.type) for relation in relations}
    new = edges(relation for relation in derived if (relation.pair, relation.type) not in listed)
    assert new == {SYNONYM: 2_068, ANTONYM: 7_332 - 5}


def test_lookalikes_are_left_out_and_verbs_undone(
    relations: list[Relation], segmentations: dict[str, Segmentation]
) -> None:
    denied = derive(relations, without_pos(segmentations))
    assert edges(denied) == DENIED
    derived = derive(relations, segmentations)
    assert edges(derived) == DEFAULT
    assert {relation.pair for relation in derived} == {relation.pair for relation in denied}
    assert Counter((r.rule, r.type) for r in derived if r.rule and "+" not in r.rule) == BY_RULE


def test_preset_release(relations: list[Relation], segmentations: dict[str, Segmentation]) -> None:
    derived = derive(relations, segmentations, affixes=shipped_affixes("release"))
    assert edges(derived) == RELEASE
    single = Counter(relation.rule for relation in derived if relation.rule and "+" not in relation.rule)
    assert single == BY_RULE_RELEASE
