"""Walks along relations: what lies within so many steps of a word, and the shortest way between two words.

Both go breadth-first, level by level, and look up the relations of a chunk of words at a time, in a database or a file
set. Published relations do not change, so the same walk gives the same answer every time, page after page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sensedict.lexical import Relation
from sensedict.wire import Direction

Bound = Literal["words", "relations"]
# Ids and far ends, in rising id, of the relations that lead on from any of the words in that direction.
Expand = Callable[[list[int], Direction], tuple[list[int], list[int]]]
Lookup = Callable[[Sequence[int]], list[Relation]]  # relations by id, in that order

_BACK: dict[Direction, Direction] = {"both": "both", "out": "in", "in": "out"}  # the same way, walked from its end

# Words of one chunk, so that a chunk brings about 4,000 relations: the walk may stop after each, and one of a few hubs
# already brings more than the walk may reach.
_FIRST_CHUNK = 8
_LARGEST_CHUNK = 1024
_RELATIONS_OF_A_CHUNK = 4000


@dataclass(frozen=True)
class Walk:
    """The relations that a walk found, each once.

    Attributes:
        places: (depth, id) of each relation, in order; its depth is the steps from the word to its far end, on the way
            that found it: 1 for the word's own relations.
        distances: steps from the word to each word reached.
        cut: whether more words than wanted lie within the depth; relations to those left out are left out too.
        direction: in which it went.
    """

    places: list[tuple[int, int]]
    distances: dict[int, int]
    cut: bool
    direction: Direction

    def after(self, depth: int, id: int, limit: int) -> list[tuple[int, int]]:
        """At most `limit` of the places that come after that one."""
        at = bisect_right(self.places, (depth, id))
        return self.places[at : at + limit]

    def near_end(self, relation: Relation) -> int:
        """The end that the walk came from: the nearer one, or the one that a directed relation may be walked from."""
        if relation.directed and self.direction != "both":
            return relation.word_id if self.direction == "out" else relation.other_id
        first, second = self.distances[relation.word_id], self.distances[relation.other_id]
        return relation.word_id if first <= second else relation.other_id


@dataclass(frozen=True)
class Path:
    """A shortest way between two words.

    Attributes:
        steps: (relation, the end that the step leaves from), in order; empty where none was found.
        bound: what ended the search before it could tell whether there is a way.
    """

    found: bool
    steps: tuple[tuple[Relation, int], ...] = ()
    bound: Bound | None = None


def walk(expand: Expand, word_id: int, direction: Direction, *, depth: int, most: int) -> Walk:
    """Follow relations from the word for `depth` steps, to at most `most` words, the word itself included.

    Words are expanded in the order in which they were reached: by depth, and in a chunk by the relation's id.
    """
    distances = {word_id: 0}
    levels: dict[int, int] = {}  # relation to the depth at which it was found
    places: list[tuple[int, int]] = []
    frontier, cut = [word_id], False
    for level in range(1, depth + 1):
        reached: list[int] = []
        found: list[int] = []
        for ids, far in _chunks(expand, frontier, direction):
            for id, word in zip(ids, far, strict=True):
                if word not in distances:
                    if len(distances) == most:
                        cut = True
                        continue
                    distances[word] = level
                    reached.append(word)
                if id not in levels:
                    levels[id] = level
                    found.append(id)
            if cut:
                break
        places += [(level, id) for id in sorted(found)]
        frontier = reached
        if cut or not frontier:
            break
    return Walk(places, distances, cut, direction)


@dataclass
class _Side:
    """One end of the search for a path: the words reached from it, each with the relation that reached it."""

    direction: Direction
    start: int
    reached: dict[int, int]
    frontier: list[int]

    @staticmethod
    def at(word_id: int, direction: Direction) -> _Side:
        return _Side(direction, word_id, {word_id: 0}, [word_id])

    def back(self, lookup: Lookup, word_id: int) -> list[tuple[Relation, int, int]]:
        """(relation, nearer end, farther end) from the word back to the start."""
        steps = []
        while word_id != self.start:
            (relation,) = lookup([self.reached[word_id]])
            nearer = relation.other_id if relation.word_id == word_id else relation.word_id
            steps.append((relation, nearer, word_id))
            word_id = nearer
        return steps


def shortest_path(
    expand: Expand, lookup: Lookup, word_id: int, other_id: int, direction: Direction, *, longest: int, most: int
) -> Path:
    """A shortest way along relations, of at most `longest` of them; at most `most` words are looked at.

    The search goes from both words, whole levels at a time and first where fewer words stand, so the first meeting is
    on a shortest way.
    """
    if word_id == other_id:
        return Path(found=True)
    here = _Side.at(word_id, direction)
    there = _Side.at(other_id, _BACK[direction])
    for _ in range(longest):
        if not here.frontier or not there.frontier:
            return Path(found=False)
        side, facing = (here, there) if len(here.frontier) <= len(there.frontier) else (there, here)
        met = _advance(expand, side, facing, most)
        if met == "words":
            return Path(found=False, bound="words")
        if met is not None:
            forth = [(relation, near) for relation, near, _ in reversed(here.back(lookup, met))]
            on = [(relation, far) for relation, _, far in there.back(lookup, met)]
            return Path(found=True, steps=(*forth, *on))
    ended = not here.frontier or not there.frontier
    return Path(found=False, bound=None if ended else "relations")


def _advance(expand: Expand, side: _Side, facing: _Side, most: int) -> int | Literal["words"] | None:
    """Take the side one level on; gives the word where it met the other side, or that the bound was met."""
    new: list[int] = []
    for ids, far in _chunks(expand, side.frontier, side.direction):
        for id, word_id in zip(ids, far, strict=True):
            if word_id not in side.reached:
                side.reached[word_id] = id
                new.append(word_id)
                if word_id in facing.reached:
                    return word_id
        if len(side.reached) + len(facing.reached) > most:
            return "words"
    side.frontier = new
    return None


def _chunks(expand: Expand, frontier: list[int], direction: Direction) -> Iterator[tuple[list[int], list[int]]]:
    """What each chunk of the frontier brings."""
    at, size = 0, _FIRST_CHUNK
    while at < len(frontier):
        chunk = frontier[at : at + size]
        at += len(chunk)
        ids, far = expand(chunk, direction)
        yield ids, far
        fitting = len(chunk) * _RELATIONS_OF_A_CHUNK // max(1, len(ids))
        size = max(1, min(2 * size, _LARGEST_CHUNK, fitting))
