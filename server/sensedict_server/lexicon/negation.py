"""Morphological negation: what a relation of `unkind` says about `kind` (DSKD §3.2, Table 1).

Segmentations are MorphoLEX's: prefixes `<un<`, roots `(kind)`, suffixes `>less>`, braces round a free base. A prefix
negates only outside the braces: `<dis<{(trust)}` does, `{<dis<(tract)}` does not.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sensedict.lemmas import lemma_candidates
from sensedict_server.lexicon.affixes import Affix, AffixTable, shipped_affixes
from sensedict_server.lexicon.relations import ANTONYM, REVERSAL, SYMMETRIC, SYNONYM, Relation, Segmentation

_MORPHEME = re.compile(r"<(?P<prefix>[^<>(){}]+)<|\((?P<root>[^<>(){}]+)\)|>(?P<suffix>[^<>(){}]+)>|(?P<brace>[{}])")
_NEVER_UNDO = frozenset({"adjective", "adverb"})
_PARTS = _NEVER_UNDO | {"noun", "verb"}  # what a source calls otherwise cannot be compared
_PARTICIPLES = ("ed", "ing")


@dataclass(frozen=True)
class Negation:
    """A word that negates another.

    Attributes:
        base: the word without its negating affixes.
        label: the affixes, e.g. `un-`.
        undoes: whether it undoes its base, a verb, rather than denying it: untie, of tie.
        changes_pos: whether the base is of another part of speech: faultless, of fault.
        adjective: whether the word may be an adjective, as far as is known.
    """

    base: str
    label: str
    undoes: bool = False
    changes_pos: bool = False
    adjective: bool = False


@dataclass(frozen=True)
class _Morpheme:
    text: str
    kind: str  # prefix, root or suffix
    depth: int  # braces round it


def find_negation(
    segmentation: Segmentation, attested: Container[str], affixes: AffixTable | None = None
) -> Negation | None:
    """The word's negation, when it has an odd number of negating affixes and a base that exists; None otherwise.

    The base is the surface with another ending (careful, of careless), else without the affixes, else the re-spelled
    morphemes, whichever is attested first.

    >>> find_negation(Segmentation("unkind", "<un<(kind)"), {"kind"})
    Negation(base='kind', label='un-', undoes=False, changes_pos=False, adjective=False)
    >>> find_negation(Segmentation("untie", "<un<(tie)", frozenset({"verb"})), {"tie"}).undoes
    True
    >>> find_negation(Segmentation("distract", "{<dis<(tract)}"), {"tract"}) is None
    True

    Args:
        segmentation: of the word; without parts of speech nothing is known to undo.
        attested: the words that exist.
        affixes: the shipped ones unless given.

    Raises:
        ValueError: the segmentation cannot be read.
    """
    table = shipped_affixes() if affixes is None else affixes
    word = segmentation.word
    morphemes = _parse(segmentation.text)
    front, back = _negating(morphemes, table)
    if (len(front) + len(back)) % 2 == 0 or _listed(word, table.lookalikes):
        return None
    base = _surface(word, front, back)
    counterpart = _counterpart(base, (*front, *back), attested, table)
    if counterpart is not None:
        return counterpart
    if base is None or base not in attested:
        # only where the word itself starts or ends so: witlessness is no witness, and `witness` no base of it
        if not _spelt(word, front[:1], back):
            return None
        base = "".join(morpheme.text for morpheme in morphemes[len(front) : len(morphemes) - len(back)])
        if base == word or base not in attested:
            return None
    cut = (*front, *back)
    return Negation(
        base,
        ",".join(affix.label for affix in cut),
        _undoes(segmentation, cut, table, attested),
        any(affix.changes_pos for affix in cut),
        "adjective" in segmentation.pos,
    )


def find_negations(
    words: Iterable[str],
    segmentations: Mapping[str, Segmentation],
    attested: Container[str],
    affixes: AffixTable | None = None,
) -> dict[str, Negation]:
    """The negations among the words; a base is attested as a segmented word or in `attested`."""
    known = _Either(segmentations, attested)
    found = {}
    for word in words:
        segmentation = segmentations.get(word)
        negation = None if segmentation is None else find_negation(segmentation, known, affixes)
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
    segmentations: Mapping[str, Segmentation],
    attested: Container[str] = frozenset(),
    reversals: Container[str] = frozenset(),
    skipped: Counter[str] | None = None,
    affixes: AffixTable | None = None,
) -> list[Relation]:
    """What the synonyms and antonyms among the relations say of the bases of their negated words (DSKD Table 1).

    A relation of sign s (synonym +1, antonym −1) gives the relation of sign s · polarity(a) · polarity(b) of the bases;
    with both sides negated, also the one of each base with the other side as it is. `parent` is the place in
    `relations`. Where a side undoes rather than denies, the opposite is a reversal in place of an antonym, and the rule
    says so: untie–free synonyms, tie–free a reversal; untie–bind antonyms, tie–bind synonyms. A word undoes where it is
    in `reversals` and no adjective (unlike), or where its segmentation says that it is a verb and the table of affixes
    that the affix reverses. A base of another part of speech may be opposed to a word, but is no synonym of it:
    accurate–fault, not flawed–fault. Where the relation has a part of speech, it goes before the segmentation's:
    adjectives and adverbs undo nothing, and a base that the relations know as other parts only is none (capacitate and
    valid, of the verbs incapacitate and invalid). A derived relation has its parent's part of speech; where an affix
    has changed a side's, it has one only where both its words are known to be of the same.

    Args:
        relations: what to derive from; other types are passed over.
        segmentations: word to MorphoLEX segmentation.
        attested: words that count as bases, beside the segmented ones and those of `relations`.
        reversals: words known to undo their base, as `untie`; from MorphyNet or a source's own reversals.
        skipped: counts what was not derived and why.
        affixes: the shipped ones unless given.
    """
    skipped = Counter() if skipped is None else skipped
    table = shipped_affixes() if affixes is None else affixes
    vocabulary = {word for relation in relations for word in (relation.word, relation.other)}
    negations = find_negations(vocabulary, segmentations, _Either(vocabulary, attested), table)
    undoing = {word for word, found in negations.items() if found.undoes or (word in reversals and not found.adjective)}
    parts = _parts_of_speech(relations)
    derived = []
    for place, relation in enumerate(relations):
        if relation.type not in (SYNONYM, ANTONYM):
            continue
        for word, other, undone in _replacements(relation, negations):
            if word == other:
                skipped["derived: same word at both ends"] += 1
                continue
            same = (relation.type == SYNONYM) != (len(undone) % 2 == 1)
            if same and sum(negations[side].changes_pos for side in undone) == 1:
                skipped["derived: synonym of another part of speech"] += 1
                continue
            if any(_is_another_part(negations[side], relation.pos, parts) for side in undone):
                skipped["derived: base of another part of speech"] += 1
                continue
            reverses = 0 if relation.pos in _NEVER_UNDO else sum(side in undoing for side in undone)
            kind = SYNONYM if same else REVERSAL if reverses % 2 == 1 else ANTONYM
            rule = "+".join(sorted(negations[side].label for side in undone))  # whichever end stands first
            pos = _derived_pos(relation.pos, [negations[side] for side in undone], parts, segmentations)
            derived.append(Relation(word, other, kind, f"{REVERSAL if reverses else 'negation'}:{rule}", place, pos))
    return derived


def _parts_of_speech(relations: Iterable[Relation]) -> dict[str, set[str]]:
    """Of the words of symmetric relations that have one, and of the first words of directed ones."""
    parts: dict[str, set[str]] = defaultdict(set)
    for relation in relations:
        if relation.pos in _PARTS:
            for word in (relation.word, relation.other) if relation.type in SYMMETRIC else (relation.word,):
                parts[word].add(relation.pos)
    return parts


def _derived_pos(
    pos: str | None,
    undone: Sequence[Negation],
    parts: Mapping[str, set[str]],
    segmentations: Mapping[str, Segmentation],
) -> str | None:
    """Of what a relation with `pos` says of the bases: the same, unless an affix has changed it.

    Fault and flaw, of faultless and flawless, are nouns where nothing knows them as anything else; fault and accurate
    have no part of speech in common.
    """
    changed = [negation.base for negation in undone if negation.changes_pos]
    if pos is None or not changed:
        return pos
    known = [set(parts.get(base, ())) for base in changed]
    for base, found in zip(changed, known, strict=True):
        if base in segmentations:
            found |= segmentations[base].pos
    return min(known[0]) if len(known) == 2 and known[0] == known[1] and len(known[0]) == 1 else None


def _is_another_part(negation: Negation, pos: str | None, parts: Mapping[str, set[str]]) -> bool:
    """Whether the base is never of the part of speech that its word has in the relation, though the affix keeps it.

    A participle may be an adjective where only its verb is listed: bending, of unbending.
    """
    known = parts.get(negation.base)
    if pos == "adjective" and negation.base.endswith(_PARTICIPLES):
        return False
    return pos in _PARTS and known is not None and pos not in known and not negation.changes_pos


def _replacements(relation: Relation, negations: Mapping[str, Negation]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
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


def _negating(morphemes: Sequence[_Morpheme], table: AffixTable) -> tuple[list[Affix], list[Affix]]:
    """The run of negating prefixes at the start, outside braces, and the suffix where it is the last morpheme."""
    front: list[Affix] = []
    for morpheme in morphemes:
        affix = table.find("prefix", morpheme.text) if morpheme.kind == "prefix" and not morpheme.depth else None
        if affix is None:
            break
        front.append(affix)
    last = morphemes[-1]
    back = table.find(last.kind, last.text) if last.kind != "prefix" else None
    if back is None or len(morphemes) - len(front) < 2:  # free alone is no suffix
        return front, []
    return front, [back]


def _surface(word: str, front: Sequence[Affix], back: Sequence[Affix]) -> str | None:
    """The word with the affixes cut off, when they can be."""
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
    return rest


def _counterpart(
    stem: str | None, affixes: Sequence[Affix], attested: Container[str], table: AffixTable
) -> Negation | None:
    """The opposite with another ending in the place of the word's, where there is such a word: careful, of careless."""
    if stem is None or len(affixes) != 1:
        return None
    for ending in affixes[0].instead:
        if stem + ending in attested and stem + ending not in table.lookalikes:
            return Negation(stem + ending, f"{affixes[0].label}/-{ending}")
    return None


def _spelt(word: str, front: Sequence[Affix], back: Sequence[Affix]) -> bool:
    starts = all(word.startswith(affix.spellings) for affix in front)
    return starts and all(word.endswith(affix.spellings) for affix in back)


def _undoes(segmentation: Segmentation, affixes: Sequence[Affix], table: AffixTable, attested: Container[str]) -> bool:
    """Whether the word is a verb, and its one affix one that reverses verbs.

    What may be an adjective denies (unabated), and so does a participle without a verb (unvarying: there is no unvary).
    """
    word = segmentation.word
    if len(affixes) != 1 or not affixes[0].reverses or _listed(word, table.denying):
        return False
    if "verb" not in segmentation.pos or "adjective" in segmentation.pos:
        return False
    return not word.endswith(_PARTICIPLES) or any(lemma in attested for lemma, _ in lemma_candidates(word))


def _listed(word: str, lemmas: Container[str]) -> bool:
    """Whether the word, or what it may be an inflected form of, is in the list."""
    return word in lemmas or any(lemma in lemmas for lemma, _ in lemma_candidates(word))


class _Either:
    """Membership in one of two collections, without a third."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, word: object) -> bool:
        return word in self._first or word in self._second
