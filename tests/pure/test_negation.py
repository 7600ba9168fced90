"""Negation by MorphoLEX's segmentations, on a few written by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

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


@pytest.mark.parametrize("braces", [True, False])  # some copies of MorphoLEX have lost them
@pytest.mark.parametrize(
    ("word", "segmentation"),
    [
        ("universal", "{<uni<(verse)}>al>"),
        ("underwater", "<under<{(water)}"),
        ("underway", "<under<{(way)}"),
        ("inhabit", "{<in<(habit)}"),
        ("invaluable", "<im<{(value)>able>}"),  # here MorphoLEX has the prefix outside: the list of lookalikes decides
        ("inflammable", "<in<{(flame)}>able>"),
        ("disgruntled", "{(disgruntle)}"),
        ("dismiss", "{<dis<(miss)}"),
        ("dismissing", "{<dis<(miss)}"),
        ("distract", "{<dis<(tract)}"),
        ("distracted", "{<dis<(tract)}"),
        ("discount", "{<dis<(count)}"),
        ("discounts", "{<dis<(count)}"),
        ("impair", "{<im<(pair)}"),
        ("witlessness", "{(wit)}>less>>ness>"),
        ("predisposition", "<pre<{<dis<(posit)>ion>}"),
    ],
)
def test_what_looks_negated_with_and_without_braces(word: str, segmentation: str, braces: bool) -> None:
    text = segmentation if braces else segmentation.replace("{", "").replace("}", "")
    bases = "verse versal derwater water way habit valuable value flammable flame gruntled gruntle miss missing tract"
    bases += " tracted count counts pair wit witness position preposition"
    segmentations = {
        word: Segmentation(word, text),
        **{base: Segmentation(base, f"({base})") for base in bases.split()},
    }
    skipped: Counter[str] = Counter()
    assert derive([Relation(word, "other", "synonym")], segmentations, skipped=skipped) == []
    assert skipped == {}


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
        ("kind", "honest", "synonym", "negation:dis-+un-"),
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


UNTIE = Segmentation("untie", "<un<(tie)", frozenset({"verb"}))
UNDO = Segmentation("undo", "<un<(do)", frozenset({"verb"}))


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        (("untie", "free", "synonym"), [("tie", "free", "reversal", "reversal:un-")]),
        (("untie", "bind", "antonym"), [("tie", "bind", "synonym", "reversal:un-")]),
        (
            ("untie", "undo", "synonym"),
            [
                ("tie", "do", "synonym", "reversal:un-+un-"),
                ("tie", "undo", "reversal", "reversal:un-"),
                ("untie", "do", "reversal", "reversal:un-"),
            ],
        ),
        (
            ("untie", "undo", "antonym"),
            [
                ("tie", "do", "antonym", "reversal:un-+un-"),
                ("tie", "undo", "synonym", "reversal:un-"),
                ("untie", "do", "synonym", "reversal:un-"),
            ],
        ),
        (
            ("untie", "unkind", "synonym"),
            [
                ("tie", "kind", "synonym", "reversal:un-+un-"),
                ("tie", "unkind", "reversal", "reversal:un-"),
                ("untie", "kind", "antonym", "negation:un-"),
            ],
        ),
    ],
)
def test_what_undoes_gives_reversals(given: tuple[str, str, str], derived: list[tuple[str, str, str, str]]) -> None:
    segmentations = {"untie": UNTIE, "undo": UNDO, "unkind": Segmentation("unkind", "<un<(kind)")}
    found = derive([Relation(*given)], segmentations, {"tie", "do", "kind"})
    assert [(r.word, r.other, r.type, r.rule) for r in found] == derived
    named = {word: replace(s, pos=frozenset()) for word, s in segmentations.items()}
    assert derive([Relation(*given)], named, {"tie", "do", "kind"}, {"untie", "undo"}) == found


@pytest.mark.parametrize(
    ("word", "segmentation", "pos", "undoes"),
    [
        ("unlock", "<un<(lock)", "verb", True),
        ("disconnect", "<dis<{(connect)}", "verb", True),
        ("disconnected", "<dis<{(connect)}", "verb", True),
        ("disconnected", "<dis<{(connect)}", "verb adjective", False),  # of what was never connected too
        ("unabated", "<un<{(abate)}", "adjective", False),
        ("undone", "<un<{(done)}", "verb", True),
        ("unvarying", "<un<(vary)", "verb", False),  # there is no `unvary`
        ("dislike", "<dis<{(like)}", "verb noun", False),
        ("disliking", "<dis<{(like)}", "verb noun", False),
        ("distrusts", "<dis<{(trust)}", "noun verb", False),
        ("disservice", "<dis<{(serve)>ice>}", "noun", False),
        ("unlock", "<un<(lock)", "", False),  # nothing is known
        ("invalidate", "<im<{(valid)>ate>}", "verb", False),  # im- reverses nothing
    ],
)
def test_a_verb_is_undone_unless_it_denies(word: str, segmentation: str, pos: str, undoes: bool) -> None:
    known = "lock connect connected abate abated done vary varying like liking trust trusts service validate disconnect"
    negation = find_negation(Segmentation(word, segmentation, frozenset(pos.split())), set(known.split()))
    assert negation is not None
    assert negation.undoes == undoes


def test_an_adjective_denies_whatever_a_source_calls_it() -> None:
    unlike = Segmentation("unlike", "<un<{(like)}", frozenset({"adjective"}))  # some source has a verb `unlike`
    (found,) = derive([Relation("unlike", "different", "synonym")], {"unlike": unlike}, {"like"}, {"unlike"})
    assert (found.type, found.rule) == ("antonym", "negation:un-")


UNDONE = Segmentation("undone", "<un<{(do)}", frozenset({"verb"}))


def test_an_adjective_of_a_source_undoes_nothing() -> None:
    relations = [
        Relation("undone", "sunk", "synonym", pos="adjective"),
        Relation("undone", "reversed", "synonym", pos="verb"),
        Relation("done", "made", "related", pos="adjective"),
        Relation("done", "made", "related", pos="verb"),
    ]
    found = derive(relations, {"undone": UNDONE, "undo": Segmentation("undo", "<un<(do)")})
    assert [(r.other, r.type, r.rule) for r in found] == [
        ("sunk", "antonym", "negation:un-"),
        ("reversed", "reversal", "reversal:un-"),
    ]


VALID = Relation("valid", "sound", "related", pos="adjective")


@pytest.mark.parametrize(
    ("pos", "known", "kept"),
    [
        ("verb", VALID, False),  # no verb `valid`
        ("adjective", VALID, True),
        ("verb", Relation("sound", "valid", "hypernym", pos="adjective"), True),  # the word's part, not the other's
        ("verb", replace(VALID, pos=None), True),  # nothing is known
        (None, VALID, True),
        ("v.", VALID, True),  # another name for it cannot be compared
        ("verb", replace(VALID, pos="adj."), True),
    ],
)
def test_a_base_is_of_the_part_of_speech_that_the_relation_has(pos: str | None, known: Relation, kept: bool) -> None:
    skipped: Counter[str] = Counter()
    relations = [Relation("invalid", "void", "synonym", pos=pos), known]
    found = derive(relations, segmented(invalid="<im<(valid)"), skipped=skipped)
    assert len(found) == kept
    assert skipped["derived: base of another part of speech"] == (not kept)


def test_a_participle_may_be_an_adjective_and_less_changes_the_part_of_speech() -> None:
    relations = [
        Relation("unbending", "stiff", "synonym", pos="adjective"),
        Relation("bending", "bowing", "synonym", pos="noun"),
        Relation("faultless", "accurate", "synonym", pos="adjective"),
        Relation("fault", "flaw", "synonym", pos="noun"),
    ]
    found = derive(relations, segmented(unbending="<un<(bend)>ing>", faultless="{(fault)>less>}"))
    assert [(r.word, r.other, r.type) for r in found] == [
        ("bending", "stiff", "antonym"),
        ("fault", "accurate", "antonym"),
    ]


@pytest.mark.parametrize("pos", [None, "adjective", "adj."])
def test_a_derived_relation_has_its_parent_s_part_of_speech(pos: str | None) -> None:
    segmentations = segmented(unkind="<un<(kind)", careless="{(care)>less>}")
    relations = [Relation("unkind", "cruel", "synonym", pos=pos), Relation("careless", "unkind", "synonym", pos=pos)]
    found = derive(relations, segmentations, {"kind", "careful"})
    assert len(found) == 4
    assert {relation.pos for relation in found} == {pos}


FAULTS = segmented(faultless="{(fault)>less>}", flawless="{(flaw)>less>}", fault="(fault)")


@pytest.mark.parametrize(
    ("pos", "known", "segmentations", "expected"),
    [
        ("adjective", ["fault noun", "flaw noun"], FAULTS, "noun"),
        ("adjective", ["fault noun"], FAULTS, None),  # a flaw may be anything
        ("adjective", ["fault noun", "flaw noun", "fault verb"], FAULTS, None),
        ("adjective", ["fault noun", "flaw verb"], FAULTS, None),
        ("adjective", ["fault n.", "flaw n."], FAULTS, None),  # another name for it tells nothing
        (None, ["fault noun", "flaw noun"], FAULTS, None),  # the parent's source tells none
        (
            "adjective",
            ["flaw noun"],
            {**FAULTS, "fault": Segmentation("fault", "(fault)", frozenset({"noun"}))},
            "noun",
        ),
        (
            "adjective",
            ["fault noun", "flaw noun"],
            {**FAULTS, "fault": Segmentation("fault", "(fault)", frozenset({"noun", "verb"}))},
            None,
        ),
    ],
)
def test_where_the_affix_changes_the_part_of_speech_it_must_be_certain(
    pos: str | None, known: list[str], segmentations: dict[str, Segmentation], expected: str | None
) -> None:
    both = Relation("faultless", "flawless", "synonym", pos=pos)
    told = [Relation(word, "thing", "hypernym", pos=of) for word, of in (each.split() for each in known)]
    found = derive([both, *told], segmentations, {"fault", "flaw"})
    assert [(r.word, r.other, r.type, r.pos) for r in found] == [
        ("fault", "flaw", "synonym", expected),
        ("fault", "flawless", "antonym", None),  # a noun and an adjective
        ("faultless", "flaw", "antonym", None),
    ]


@pytest.mark.parametrize(
    ("word", "segmentation", "base"),
    [
        ("eyeless", "{(eye)}>less>", "eye"),  # an eyeful is a measure
        ("disgracefully", "{<dis<(grace)>ful>}>ly>", None),
        ("distasteful", "<dis<{(taste)>ful>}", None),
        ("discriminatory", "<dis<(criminate)>ory>", None),
        ("penniless", "{(penni)}>less>", None),
        ("unsex", "<un<(sex)", None),
    ],
)
def test_words_that_a_larger_vocabulary_gives_a_base(word: str, segmentation: str, base: str | None) -> None:
    known = {"eye", "eyeful", "gracefully", "tasteful", "criminatory", "penni", "sex"}
    negation = find_negation(Segmentation(word, segmentation), known)
    assert (negation.base if negation else None) == base


@pytest.mark.parametrize(
    ("word", "attested", "expected"),
    [
        ("careless", "care careful", Negation("careful", "-less/-ful")),
        ("careless", "care", Negation("care", "-less", changes_pos=True)),
        ("shameless", "shame shameful", Negation("shame", "-less", changes_pos=True)),  # both are bad
    ],
)
def test_an_adjective_in_ful_goes_before_the_noun(word: str, attested: str, expected: Negation) -> None:
    segmentation = Segmentation(word, f"{{({word.removesuffix('less')})}}>less>")
    assert find_negation(segmentation, set(attested.split())) == expected


def test_a_noun_is_no_synonym_of_an_adjective() -> None:
    skipped: Counter[str] = Counter()
    segmentations = segmented(faultless="{(fault)}>less>", flawless="{(flaw)}>less>", unmarred="<un<{(mar)}")
    relations = [
        Relation("faultless", "flawed", "antonym"),
        Relation("faultless", "unmarred", "synonym"),
        Relation("faultless", "flawless", "synonym"),
    ]
    found = derive(relations, segmentations, {"fault", "flaw", "marred"}, skipped=skipped)
    assert [(r.word, r.other, r.type) for r in found] == [
        ("fault", "unmarred", "antonym"),
        ("faultless", "marred", "antonym"),
        ("fault", "flaw", "synonym"),
        ("fault", "flawless", "antonym"),
        ("faultless", "flaw", "antonym"),
    ]
    assert skipped == {"derived: synonym of another part of speech": 2}  # fault–flawed, fault–marred


@pytest.mark.parametrize("segmentation", ["", "kind", "<un(kind)", "{(kind)", "(kind)}", "<un<(kind) "])
def test_a_segmentation_that_cannot_be_read(segmentation: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        check_segmentation(segmentation)
