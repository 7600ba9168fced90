"""Nearest senses with their owners: the vectors come from the file set, the owners from the database."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sensedict import wire
from sensedict.lookup import Word
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.senses import Owner, owners_of
from sensedict_server.routes.shared import LIMITS


def nearest_of_others(shared: Catalogue, named: Dictionary, sense: int, limit: int) -> list[wire.NearWord]:
    """At most `limit` nearest senses that are not of the owner of `sense`."""
    (near,), owners = _nearest(shared, named, [sense])
    others = [(id, distance) for id, distance in near if owners[id] != owners[sense]]
    return [_wire(id, distance, owners[id]) for id, distance in others[:limit]]


def nearest_words(shared: Catalogue, named: Dictionary, word: Word, limit: int) -> dict[int, list[wire.NearWord]]:
    """By sense of the word, the nearest sense of each of the nearest words; spellings that fold alike are one word."""
    senses = range(word.first_sense, word.first_sense + word.sense_count)
    nearest, owners = _nearest(shared, named, senses)
    found = {}
    for sense, near in zip(senses, nearest, strict=True):
        first: dict[str, wire.NearWord] = {}
        for id, distance in near:
            first.setdefault(_folded(owners[id].text), _wire(id, distance, owners[id]))
        first.pop(_folded(word.text), None)
        found[sense] = list(first.values())[:limit]
    return found


def _nearest(
    shared: Catalogue, named: Dictionary, senses: Sequence[int]
) -> tuple[list[list[tuple[int, float]]], dict[int, Owner]]:
    """(id, distance) of what lies nearest to each sense, and the owners of all of them, the senses themselves too."""
    snapshot = shared.snapshot(named)
    vectors = snapshot.get_senses(np.array(senses))
    found = snapshot.nearest_senses(vectors, LIMITS.max_nearest)
    pairs = list(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
    with shared.engine.connect() as connection:
        owners = owners_of(connection, named.id, sorted({*senses, *found.ids.tolist()}))
    return [pairs[start:stop] for start, stop in pairwise(found.offsets.tolist())], owners


def _wire(id: int, distance: float, owner: Owner) -> wire.NearWord:
    kind: wire.Owned = "word" if owner.token_id is None else "token"
    return wire.NearWord(id=id, distance=distance, owner=kind, token=owner.token_id, text=owner.text)


def _folded(text: str) -> str:
    return text.strip().casefold()
