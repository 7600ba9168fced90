"""The senses that lie nearest to a sense, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sensedict import wire
from sensedict.lookup import Word
from sensedict.snapshot import Snapshot


@dataclass(frozen=True)
class Owner:
    """The token or composed word that a sense belongs to; a word has no token id."""

    token_id: int | None
    text: str

    @property
    def kind(self) -> wire.Owned:
        """Whether it is a token or a composed word."""
        return "word" if self.token_id is None else "token"


Owners = Callable[[Sequence[int]], Mapping[int, Owner]]  # of senses, by id
_Near = tuple[list[list[tuple[int, float]]], Mapping[int, Owner]]


def nearest_of_others(snapshot: Snapshot, owners_of: Owners, sense: int, limit: int) -> list[wire.NearWord]:
    """At most `limit` nearest senses that are not of the owner of `sense`."""
    (near,), owners = _nearest(snapshot, owners_of, [sense])
    others = [(id, distance) for id, distance in near if owners[id] != owners[sense]]
    return [_wire(id, distance, owners[id]) for id, distance in others[:limit]]


def nearest_words(snapshot: Snapshot, owners_of: Owners, word: Word, limit: int) -> dict[int, list[wire.NearWord]]:
    """By sense of the word, the nearest sense of each of the nearest words; spellings that fold alike are one word."""
    senses = range(word.first_sense, word.first_sense + word.sense_count)
    nearest, owners = _nearest(snapshot, owners_of, senses)
    found = {}
    for sense, near in zip(senses, nearest, strict=True):
        first: dict[str, wire.NearWord] = {}
        for id, distance in near:
            first.setdefault(_folded(owners[id].text), _wire(id, distance, owners[id]))
        first.pop(_folded(word.text), None)
        found[sense] = list(first.values())[:limit]
    return found


def _nearest(snapshot: Snapshot, owners_of: Owners, senses: Sequence[int]) -> _Near:
    """(id, distance) of what lies nearest to each sense, and the owners of all of them, the senses themselves too."""
    vectors = snapshot.get_senses(np.array(senses))
    found = snapshot.nearest_senses(vectors, wire.OWN_LIMITS.max_nearest)
    pairs = list(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
    near: Iterable[int] = found.ids.tolist()
    owners = owners_of(sorted({*senses, *near}))
    return [pairs[start:stop] for start, stop in pairwise(found.offsets.tolist())], owners


def _wire(id: int, distance: float, owner: Owner) -> wire.NearWord:
    return wire.NearWord(id=id, distance=distance, owner=owner.kind, token=owner.token_id, text=owner.text)


def _folded(text: str) -> str:
    return text.strip().casefold()
