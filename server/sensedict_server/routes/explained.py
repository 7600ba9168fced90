"""Relations explained: where the database has them from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise

from sqlalchemy import Connection

from sensedict import wire
from sensedict.lexical import Relation, derivation, replaced, seen_from
from sensedict_server.queries.explain import judgement_of, segmentations_of
from sensedict_server.queries.words import Gloss, glosses_of


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
    words = [word for word, _ in replaced(parent, child)]
    return derivation(parent, child, segmentations_of(connection, lexicon_id, words, child.via))
