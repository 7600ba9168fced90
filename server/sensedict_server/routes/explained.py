"""Relations as the contract has them: seen from one of their words, and explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from itertools import pairwise

from sqlalchemy import Connection

from sensedict import wire
from sensedict_server.queries.explain import Segmentation, judgement_of, segmentations_of
from sensedict_server.queries.relations import Relation
from sensedict_server.queries.words import Gloss, glosses_of


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


def glosses(found: Sequence[Gloss]) -> list[wire.Gloss]:
    """The glosses as the contract has them."""
    return [wire.Gloss(**asdict(gloss)) for gloss in found]


def explanation(connection: Connection, lexicon_id: int, chain: Sequence[Relation]) -> wire.Explanation:
    """What there is to say of a relation and of those that it comes from, the original one last."""
    first, original = chain[0], chain[-1]
    judged = judgement_of(connection, lexicon_id, original)
    return wire.Explanation(
        chain=[seen_from(relation.word_id, relation, 1) for relation in chain],
        derivations=[_derivation(connection, lexicon_id, child, parent) for child, parent in pairwise(chain)],
        source=wire.Source(name=original.source, licence=original.licence, version=original.version),
        glosses={word: glosses(glosses_of(connection, lexicon_id, word)) for word in (first.word, first.other)},
        judgement=None
        if judged is None
        else wire.Judgement(id=judged.id, reason=judged.reason, author=judged.author, created_at=judged.created_at),
    )


def _derivation(connection: Connection, lexicon_id: int, child: Relation, parent: Relation) -> wire.Derivation:
    rule = child.rule or ""
    replaced = _replaced((parent.word, parent.other), (child.word, child.other))
    built = segmentations_of(connection, lexicon_id, [word for word, _ in replaced], child.via)
    labels = rule.partition(":")[2].split("+")
    # A label a side, in the order in which the source lists them, which a symmetric relation does not keep.
    if len(labels) == len(replaced) == 2:
        labels = max(labels, labels[::-1], key=lambda order: sum(map(_fits, order, (word for word, _ in replaced))))
    return wire.Derivation(
        relation=child.id,
        parent=parent.id,
        rule=rule,
        negated=[
            _negated(word, base, label.split(","), built.get(word))
            for (word, base), label in zip(replaced, labels, strict=False)
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


def _replaced(parent: tuple[str, str], child: tuple[str, str]) -> list[tuple[str, str]]:
    """(negated word, base) of each word of the parent that the child has no more; a base is like its word."""
    kept = [word for word in parent if word in child]
    if kept:
        return [(word, base) for word in parent if word != kept[0] for base in child if base != kept[0]]
    straight = [(parent[0], child[0]), (parent[1], child[1])]
    crossed = [(parent[0], child[1]), (parent[1], child[0])]
    return max(straight, crossed, key=lambda pairs: sum(SequenceMatcher(None, *pair).ratio() for pair in pairs))


def _fits(label: str, word: str) -> int:
    """How many letters of the affixes the word begins or ends with."""
    return sum(
        len(affix.strip("-"))
        for affix in label.split(",")
        if word.startswith(affix.strip("-")) or word.endswith(affix.strip("-"))
    )
