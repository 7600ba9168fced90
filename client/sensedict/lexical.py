"""Lexical relations as they are stored, seen from one of their words, filtered, and explained (DSKD §3.2)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sensedict import wire
from sensedict.errors import InvalidInput

_LISTED = 20  # values that a message names


@dataclass(frozen=True)
class Relation:
    """A relation as it is stored.

    Attributes:
        word_id, other_id: its ends, `word` and `other` their texts; a directed one runs from `word` to `other`.
        via, via_licence: the source whose segmentations a derived one leans on.
        glosses: (word_id, text) of each sense that its source lists it under: what one of its ends means there; None
            in place of none.
    """

    id: int
    word_id: int
    other_id: int
    word: str
    other: str
    type: str
    directed: bool
    source: str
    licence: str
    version: str
    via: str | None
    via_licence: str | None
    rule: str | None
    parent_id: int | None
    conflict: bool
    pos: str | None
    glosses: Sequence[tuple[int, str]] | None


@dataclass(frozen=True)
class Filter:
    """Which relations are wanted; what is not given lets all pass.

    Attributes:
        types: any of these.
        direction: `out`, those that lead from a word, or `in`, those that lead to it; symmetric ones do both.
        rule: a whole rule, `negation:un-`, or its kind, `negation`.
    """

    types: tuple[str, ...] = ()
    direction: wire.Direction = "both"
    source: str | None = None
    rule: str | None = None
    pos: str | None = None


@dataclass(frozen=True)
class FilterValues:
    """The values that a lexicon has, each set in alphabetical order; of a published one they never change.

    Attributes:
        types, sources, pos: of its relations.
        rules: whole ones, `negation:un-`; kinds: what stands before their colon, `negation`.
        word_pos: parts of speech that its sources know words as, by relations, glosses or forms.
    """

    types: tuple[str, ...]
    sources: tuple[str, ...]
    rules: tuple[str, ...]
    kinds: tuple[str, ...]
    pos: tuple[str, ...]
    word_pos: tuple[str, ...]


@dataclass(frozen=True)
class Segmentation:
    """How a source says that a word is built."""

    word: str
    text: str
    source: str
    licence: str
    version: str


def check_filter(lexicon: str, wanted: Filter, values: FilterValues) -> None:
    """Let pass a filter whose every value some relation of the lexicon has.

    A misspelt type is an error, not the answer that there are no relations.

    Raises:
        InvalidInput: none has; names the value, those that there are, and the nearest.
    """
    for type in wanted.types:
        _check(lexicon, "relations of type", type, values.types)
    _check(lexicon, "relations of source", wanted.source, values.sources)
    _check(lexicon, "relations of rule", wanted.rule, (*values.kinds, *values.rules))
    _check(lexicon, "relations of pos", wanted.pos, values.pos)


def check_pos(lexicon: str, pos: str, values: FilterValues) -> None:
    """Let pass a part of speech that the lexicon's sources know some word as.

    Raises:
        InvalidInput: there is none; names those that there are.
    """
    _check(lexicon, "words of pos", pos, values.word_pos)


def seen_from(word_id: int, relation: Relation, depth: int) -> wire.Relation:
    """The relation with that end as its `word`."""
    turned = word_id == relation.other_id
    direction: wire.Direction = "both" if not relation.directed else "in" if turned else "out"
    return wire.Relation(
        id=relation.id,
        word=relation.other if turned else relation.word,
        other=relation.word if turned else relation.other,
        type=relation.type,
        source=relation.source,
        licence=relation.licence,
        source_version=relation.version,
        rule=relation.rule,
        parent=relation.parent_id,
        conflict=relation.conflict,
        direction=direction,
        via=None if relation.via is None else wire.Via(name=relation.via, licence=relation.via_licence or ""),
        pos=relation.pos,
        glosses=[
            wire.RelationGloss(word=relation.word if of == relation.word_id else relation.other, text=text)
            for of, text in relation.glosses or ()
        ],
        depth=depth,
    )


def relation_not_found(relation: int, lexicon: str, ref: str) -> str:
    """What to say of a relation that the dictionary's lexicon does not hold."""
    return (
        f"relation {relation} is not in {lexicon}, the lexicon of {ref}: take an id of `relations?word=…`; another "
        "version has other ids"
    )


def replaced(parent: Relation, child: Relation) -> list[tuple[str, str]]:
    """(negated word, base) of each word of the parent that the child has no more; a base is like its word."""
    words, bases = (parent.word, parent.other), (child.word, child.other)
    kept = [word for word in words if word in bases]
    if kept:
        return [(word, base) for word in words if word != kept[0] for base in bases if base != kept[0]]
    straight = [(words[0], bases[0]), (words[1], bases[1])]
    crossed = [(words[0], bases[1]), (words[1], bases[0])]
    return max(straight, crossed, key=lambda pairs: sum(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs))


def derivation(parent: Relation, child: Relation, built: Mapping[str, Segmentation]) -> wire.Derivation:
    """How the child comes from its parent; `built` says of the negated words how they are."""
    rule = child.rule or ""
    pairs = replaced(parent, child)
    labels = rule.partition(":")[2].split("+")
    # A label a side, in the order in which the source lists them, which a symmetric relation does not keep.
    if len(labels) == len(pairs) == 2:
        labels = max(labels, labels[::-1], key=lambda order: sum(map(_fits, order, (word for word, _ in pairs))))
    return wire.Derivation(
        relation=child.id,
        parent=parent.id,
        rule=rule,
        negated=[
            _negated(word, base, label.split(","), built.get(word))
            for (word, base), label in zip(pairs, labels, strict=False)
        ],
    )


def _negated(word: str, base: str, affixes: list[str], built: Segmentation | None) -> wire.Negated:
    source = None if built is None else wire.Source(name=built.source, licence=built.licence, version=built.version)
    return wire.Negated(
        word=word,
        base=base,
        affixes=affixes,
        segmentation=None if built is None else built.text,
        source=source,
    )


def _fits(label: str, word: str) -> int:
    """How many letters of the affixes the word begins or ends with."""
    return sum(
        len(affix.strip("-"))
        for affix in label.split(",")
        if word.startswith(affix.strip("-")) or word.endswith(affix.strip("-"))
    )


def _check(lexicon: str, what: str, value: str | None, there: Sequence[str]) -> None:
    if value is None or value in there:
        return
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    listed = f"it has {', '.join(there[:_LISTED])}{more}" if there else "it has none of any"
    near = difflib.get_close_matches(value[:100], there, 1)
    meant = f". Did you mean {near[0]!r}?" if near else ""
    raise InvalidInput(f"the lexicon {lexicon} has no {what} {value[:40]!r}: {listed}{meant}")
