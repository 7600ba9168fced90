"""A word's senses among those of the words around it, with a place for each on a plane (DSKD Figure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensedict import wire
from sensedict.lookup import Word
from sensedict_server.catalogue import Catalogue
from sensedict_server.plane import principal_plane
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.related import Placed, placed_senses, related_words
from sensedict_server.routes.nearby import nearest_words

_RELATED: tuple[tuple[wire.MapRelation, tuple[str, ...]], ...] = (
    ("synonym", ("synonym",)),
    ("antonym", ("antonym", "negation")),
)
_ENOUGH = 3  # senses for a plane of their own


@dataclass(frozen=True)
class _Shown:
    """A word on the map, and which of its senses."""

    text: str
    token: int | None
    relation: wire.MapRelation
    senses: Sequence[int]


def map_around(
    shared: Catalogue, named: Dictionary, word: Word, related_id: int | None, *, related: int, neighbours: int
) -> wire.SenseMap:
    """The map of a word: `related` synonyms and antonyms, and `neighbours` nearest others of each sense.

    Args:
        related_id: of the word in whose relations they are looked up; None: it has none.
    """
    if not word.sense_count:
        return wire.SenseMap(word=word.text, matched=word.matched, words=[], explained=(0.0, 0.0), reason=word.reason)
    shown = _related(shared, named, word, related_id, related)
    fitted = sum(len(owner.senses) for owner in shown)
    if neighbours:
        shown += _near(shared, named, word, shown, neighbours)
    ids = [sense for owner in shown for sense in owner.senses]
    vectors = shared.snapshot(named).get_senses(np.array(ids))
    places, explained = principal_plane(vectors, fitted if fitted >= _ENOUGH else len(ids))
    nearest, distances = _to_own(vectors, word.sense_count)
    with shared.engine.connect() as connection:
        told = placed_senses(connection, named.id, ids)
    senses = iter(
        [
            _wire(
                sense,
                told[sense],
                shared.contexts,
                places[row].tolist(),
                word.first_sense + int(nearest[row]),
                float(distances[row]),
            )
            for row, sense in enumerate(ids)
        ]
    )
    return wire.SenseMap(
        word=word.text,
        matched=word.matched,
        words=[
            wire.MappedWord(
                text=owner.text,
                owner="word" if owner.token is None else "token",
                token=owner.token,
                relation=owner.relation,
                senses=[next(senses) for _ in owner.senses],
            )
            for owner in shown
        ],
        explained=explained,
        reason=None,
    )


def _related(shared: Catalogue, named: Dictionary, word: Word, related_id: int | None, limit: int) -> list[_Shown]:
    """The word itself, its synonyms, its antonyms; each range of senses once."""
    own = range(word.first_sense, word.first_sense + word.sense_count)
    shown = [_Shown(word.text, word.token_ids[0] if len(word.token_ids) == 1 else None, "own", own)]
    if related_id is None or not limit:
        return shown
    taken = {word.first_sense}
    with shared.engine.connect() as connection:
        for relation, types in _RELATED:
            # one more of each: the word's own token may stand under another spelling
            found = related_words(connection, named.id, named.lexicon_id, related_id, types, limit + len(taken))
            fresh = [other for other in found if other.first_sense not in taken][:limit]
            taken |= {other.first_sense for other in fresh}
            shown += [
                _Shown(
                    other.text,
                    other.token_id,
                    relation,
                    range(other.first_sense, other.first_sense + other.sense_count),
                )
                for other in fresh
            ]
    return shown


def _near(shared: Catalogue, named: Dictionary, word: Word, shown: Sequence[_Shown], limit: int) -> list[_Shown]:
    """The senses that lie nearest to those of the word and are not there yet, by owner."""
    there = {sense for owner in shown for sense in owner.senses}
    owners: dict[tuple[str, int | None], list[int]] = {}
    for near in nearest_words(shared, named, word, limit).values():
        for found in near:
            if found.id not in there:
                there.add(found.id)
                owners.setdefault((found.text, found.token), []).append(found.id)
    return [_Shown(text, token, "neighbour", sorted(ids)) for (text, token), ids in owners.items()]


def _to_own(vectors: NDArray[np.float16], own: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each vector (n, D) which of the first `own` lies nearest, and its ‖a − b‖² / D."""
    exact = vectors.astype(np.float64)
    squares = np.stack([np.square(exact - exact[row]).mean(axis=1) for row in range(own)])
    nearest = squares.argmin(axis=0)
    return nearest, squares[nearest, np.arange(len(exact))]


def _wire(
    sense: int, told: Placed, contexts: bool, place: Sequence[float], nearest: int, distance: float
) -> wire.MappedSense:
    passage = told.context if contexts else None
    return wire.MappedSense(
        id=sense,
        ordinal=told.ordinal,
        count=told.count,
        x=place[0],
        y=place[1],
        nearest=nearest,
        distance=round(distance, 6),
        context=None if passage is None else wire.Context(text=passage[0], start=passage[1], end=passage[2]),
    )
