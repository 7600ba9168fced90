"""Morphological negation: what a relation of `unkind` says about `kind` (DSKD §3.2, Table 1).

Segmentations are MorphoLEX's: prefixes `<un<`, roots `(kind)`, suffixes `>less>`, braces round a free base. A prefix
negates only outside the braces: `<dis<{(trust)}` does, `{<dis<(tract)}` does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sensedict_server.lexicon.relations import ANTONYM, REVERSAL, SYNONYM, Relation


@dataclass(frozen=True)
class Affix:
    """A negating affix.

    Attributes:
        morpheme: as MorphoLEX writes it.
        label: as a rule names it.
        spellings: as words have it.
    """

    morpheme: str
    label: str
    spellings: tuple[str, ...]


# MorphoLEX writes negative in-, il-, ir- and im- always as `im`; its `in` is the directional prefix (inhabit, income).
PREFIXES = {
    affix.morpheme: affix
    for affix in (
        Affix("un", "un-", ("un-", "un")),
        Affix("im", "im-", ("in", "il", "ir", "im", "ig")),
        Affix("dis", "dis-", ("dis-", "dis")),
        Affix("non", "non-", ("non-", "non")),
    )
}
LESS = Affix("less", "-less", ("-less", "less"))

# Before a verb, un- and dis- undo (tie, untie); before these, dis- denies.
_DENYING = """
    disaccord disagree disallow disapprove disavow disbelieve disclaim disconfirm discontinue discredit disfavor
    disfavour dishonor dishonour dislike disobey disown displease dispraise disprefer disprove disregard disrespect
    dissatisfy distrust disvalue
"""
DENYING_VERBS = frozenset(_DENYING.split())

_MORPHEME = re.compile(r"<(?P<prefix>[^<>(){}]+)<|\((?P<root>[^<>(){}]+)\)|>(?P<suffix>[^<>(){}]+)>|(?P<brace>[{}])")


@dataclass(frozen=True)
class Negation:
    """A word that negates another.

    Attributes:
        base: the word without its negating affixes.
        label: the affixes, e.g. `un-`.
    """

    base: str
    label: str


@dataclass(frozen=True)
class _Morpheme:
    text: str
    kind: str  # prefix, root or suffix
    depth: int  # braces round it


def find_negation(word: str, segmentation: str, attested: Container[str]) -> Negation | None:
    """The word's negation, when it has an odd number of negating affixes and a base that exists; None otherwise.

    The base is the surface without the affixes, else the re-spelled morphemes, whichever is attested first.

    >>> find_negation("unkind", "<un<(kind)", {"kind"})
    Negation(base='kind', label='un-')
    >>> find_negation("distract", "{<dis<(tract)}", {"tract"}) is None
    True

    Raises:
        ValueError: the segmentation cannot be read.
    """
    morphemes = _parse(segmentation)
    front, back = _negating(morphemes)
    affixes = [*front, *back]
    if len(affixes) % 2 == 0:
        return None
    base = _surface(word, front, back, attested)
    if base is None:
        # -less is cut only at the end of a word: witlessness is no witness, and `witness` no base of it
        if back and not any(word.endswith(spelling) for spelling in LESS.spellings):
            return None
        kept = morphemes[len(front) : len(morphemes) - len(back)]
        base = "".join(morpheme.text for morpheme in kept)
        if base not in attested or base == word:
            return None
    return Negation(base, ",".join(affix.label for affix in affixes))


def find_negations(
    words: Iterable[str], segmentations: Mapping[str, str], attested: Container[str]
) -> dict[str, Negation]:
    """The negations among the words; a base is attested as a segmented word or in `attested`."""
    known = _Either(segmentations, attested)
    found = {}
    for word in words:
        segmentation = segmentations.get(word)
        negation = None if segmentation is None else find_negation(word, segmentation, known)
        if negation is not None:
            found[word] = negation
    return found


def check_segmentation(segmentation: str) -> None:
    """Let pass what can be read.

    Raises:
        ValueError: it is of no such form.
    """
    _parse(segmentation)


def derive(
    relations: Sequence[Relation],
    segmentations: Mapping[str, str],
    attested: Container[str] = frozenset(),
    reversals: Container[str] = frozenset(),
    skipped: Counter[str] | None = None,
) -> list[Relation]:
    """What the synonyms and antonyms among the relations say of the bases of their negated words (DSKD Table 1).

    A relation of sign s (synonym +1, antonym −1) gives the relation of sign s · polarity(a) · polarity(b) of the bases;
    with both sides negated, also the one of each base with the other side as it is. `parent` is the place in
    `relations`. A side that undoes rather than denies (`reversals`) gives a reversal in place of an antonym, and
    nothing in place of a synonym. A segmentation does not tell undoing from denying: an un- or dis- verb that is not in
    `reversals` gives antonyms, untie–free synonyms: tie–free antonyms.

    Args:
        relations: what to derive from; other types are passed over.
        segmentations: word to MorphoLEX segmentation.
        attested: words that count as bases, beside the segmented ones and those of `relations`.
        reversals: words known to undo their base, as `untie`; from MorphyNet or a source's own reversals.
        skipped: counts what was not derived and why.
    """
    skipped = Counter() if skipped is None else skipped
    vocabulary = {word for relation in relations for word in (relation.word, relation.other)}
    negations = find_negations(vocabulary, segmentations, _Either(vocabulary, attested))
    derived = []
    for place, relation in enumerate(relations):
        if relation.type not in (SYNONYM, ANTONYM):
            continue
        for word, other, undone in _replacements(relation, negations):
            if word == other:
                skipped["derived: same word at both ends"] += 1
                continue
            flips = len(undone) % 2 == 1
            same = (relation.type == SYNONYM) != flips
            reverses = any(side in reversals for side in undone)
            if reverses and same:
                skipped["derived: synonym by reversal"] += 1
                continue
            rule = "+".join(negations[side].label for side in undone)
            kind = REVERSAL if reverses else SYNONYM if same else ANTONYM
            derived.append(Relation(word, other, kind, f"{REVERSAL if reverses else 'negation'}:{rule}", place))
    return derived


def _replacements(relation: Relation, negations: Mapping[str, Negation]) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    """(word, other, the negated sides that their bases stand for) for each choice of sides to replace."""
    a, b = relation.word, relation.other
    if a in negations and b in negations:
        yield negations[a].base, negations[b].base, (a, b)
    if a in negations:
        yield negations[a].base, b, (a,)
    if b in negations:
        yield a, negations[b].base, (b,)


def _parse(segmentation: str) -> list[_Morpheme]:
    morphemes, depth, at = [], 0, 0
    for match in _MORPHEME.finditer(segmentation):
        if match.start() != at:
            break
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "brace":
            depth += 1 if match.group() == "{" else -1
        else:
            morphemes.append(_Morpheme(match.group(kind), kind, depth))
    if at != len(segmentation) or depth != 0 or not morphemes:
        raise ValueError(f"segmentation {segmentation!r} is not of the form <prefix<{{(root)>suffix>}}")
    return morphemes


def _negating(morphemes: Sequence[_Morpheme]) -> tuple[list[Affix], list[Affix]]:
    """The run of negating prefixes at the start, outside braces, and -less where it is the last morpheme."""
    front: list[Affix] = []
    for morpheme in morphemes:
        if morpheme.kind != "prefix" or morpheme.depth or morpheme.text not in PREFIXES:
            break
        front.append(PREFIXES[morpheme.text])
    last = morphemes[-1]
    return front, [LESS] if last.kind == "suffix" and last.text == LESS.morpheme else []


def _surface(word: str, front: Sequence[Affix], back: Sequence[Affix], attested: Container[str]) -> str | None:
    """The word with the affixes cut off, when they can be and the rest is attested."""
    rest = word
    for affix in front:
        spelling = next((s for s in affix.spellings if rest.startswith(s)), None)
        if spelling is None:
            return None
        rest = rest.removeprefix(spelling)
    for affix in back:
        spelling = next((s for s in affix.spellings if rest.endswith(s)), None)
        if spelling is None:
            return None
        rest = rest.removesuffix(spelling)
    return rest if rest in attested else None


class _Either:
    """Membership in one of two collections, without a third."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, word: object) -> bool:
        return word in self._first or word in self._second
