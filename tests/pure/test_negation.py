"""Negation by MorphoLEX's segmentations, on a few written by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from sensedict_server.lexicon.negation import Negation, check_segmentation, derive, find_negation
from sensedict_server.lexicon.relations import Relation, Segmentation

TABLE_1 = {  # the segmentations that DSKD's Table 1 needs
    "discontinue": "<dis<{(continue)}",
    "faultless": "{(fault)>less>}",
    "dissimilar": "<dis<{(simil)>ar>}",
    "unchangeable": "<un<{(change)}>able>",
    "unkind": "<un<(kind)",
    "disinterest": "<dis<(interest)",
}


def segmented(**texts: str) -> dict[str, Segmentation]:
    """Segmentations without parts of speech."""
    return {word: Segmentation(word, text) for word, text in texts.items()}


BASES = {"continue", "fault", "similar", "changeable", "kind", "interest"}


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        (("quit", "discontinue", "synonym"), ("quit", "continue", "antonym", "negation:dis-")),
        (("accurate", "faultless", "synonym"), ("accurate", "fault", "antonym", "negation:-less")),
        (("opposite", "dissimilar", "synonym"), ("opposite", "similar", "antonym", "negation:dis-")),
        (("variable", "unchangeable", "antonym"), ("variable", "changeable", "synonym", "negation:un-")),
        (("unkind", "friendly", "antonym"), ("kind", "friendly", "synonym", "negation:un-")),
        (("disinterest", "zeal", "antonym"), ("interest", "zeal", "synonym", "negation:dis-")),
    ],
)
def test_the_paper_s_table_1(given: tuple[str, str, str], derived: tuple[str, str, str, str]) -> None:
    (found,) = derive([Relation(*given)], segmented(**TABLE_1), BASES)
    assert (found.word, found.other, found.type, found.rule, found.parent) == (*derived, 0)


@pytest.mark.parametrize(
    ("word", "segmentation"),
    [
        ("universal", "<uni<(verse)>al>"),
        ("distract", "{<dis<(tract)}"),
        ("disposable", "{<dis<(pose)}>able>"),
        ("inhabit", "<in<(habit)"),
        ("predisposition", "<pre<<dis<(position)"),
        ("undischarged", "<un<<dis<{(charged)}"),  # two negations
        ("witlessness", "{(wit)>less>}>ness>"),  # -less is not at its end, and `witness` is no base
        ("unkempt", "<un<(kempt)"),  # no such base
    ],
)
def test_what_looks_negated_and_is_not(word: str, segmentation: str) -> None:
    attested = {"verse", "versal", "tract", "posable", "habit", "position", "charged", "witness", "wit"}
    assert find_negation(Segmentation(word, segmentation), attested) is None


@pytest.mark.parametrize(
    ("word", "segmentation", "attested", "expected"),
    [
        ("illegal", "<im<(legal)", {"legal"}, Negation("legal", "im-")),
        ("irregular", "<im<(regular)", {"regular"}, Negation("regular", "im-")),
        ("incorrect", "<im<(correct)", {"correct"}, Negation("correct", "im-")),
        ("ignoble", "<im<(noble)", {"noble"}, Negation("noble", "im-")),
        ("nonsense", "<non<(sense)", {"sense"}, Negation("sense", "non-")),
        ("unabated", "<un<(abate)", {"abate", "abated"}, Negation("abated", "un-")),  # the surface first
        ("unabated", "<un<(abate)", {"abate"}, Negation("abate", "un-")),  # else the morphemes
    ],
)
def test_the_base_is_the_surface_or_else_the_morphemes(
    word: str, segmentation: str, attested: set[str], expected: Negation
) -> None:
    assert find_negation(Segmentation(word, segmentation), attested) == expected


def test_with_both_sides_negated_both_rules_apply() -> None:
    segmentations = segmented(unkind="<un<(kind)", dishonest="<dis<(honest)")
    found = derive([Relation("unkind", "dishonest", "synonym")], segmentations, {"kind", "honest"})
    assert [(r.word, r.other, r.type, r.rule) for r in found] == [
        ("kind", "honest", "synonym", "negation:un-+dis-"),
        ("kind", "dishonest", "antonym", "negation:un-"),
        ("unkind", "honest", "antonym", "negation:dis-"),
    ]


def test_a_base_may_be_a_segmented_word_or_stand_in_a_relation() -> None:
    unkind = Relation("unkind", "cruel", "synonym")
    assert derive([unkind], segmented(unkind="<un<(kind)")) == []
    assert len(derive([unkind], segmented(unkind="<un<(kind)", kind="(kind)"))) == 1
    assert len(derive([unkind, Relation("kind", "soft", "related")], segmented(unkind="<un<(kind)"))) == 1


def test_a_word_and_its_own_negation_give_nothing() -> None:
    skipped: Counter[str] = Counter()
    relations = [Relation("kind", "unkind", "antonym"), Relation("kind", "unkind", "negation")]
    assert derive(relations, segmented(unkind="<un<(kind)"), skipped=skipped) == []
    assert skipped == {"derived: same word at both ends": 1}


def test_a_reversal_gives_a_reversal() -> None:
    skipped: Counter[str] = Counter()
    relations = [Relation("undo", "cancel", "synonym"), Relation("undo", "make", "antonym")]
    (found,) = derive(relations, segmented(undo="<un<(do)"), {"do"}, {"undo"}, skipped)
    assert (found.word, found.other, found.type, found.rule, found.parent) == (
        "do",
        "cancel",
        "reversal",
        "reversal:un-",
        0,
    )
    assert skipped == {"derived: synonym by reversal": 1}


@pytest.mark.parametrize("segmentation", ["", "kind", "<un(kind)", "{(kind)", "(kind)}", "<un<(kind) "])
def test_a_segmentation_that_cannot_be_read(segmentation: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        check_segmentation(segmentation)
