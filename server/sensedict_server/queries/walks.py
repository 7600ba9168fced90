"""Walks along relations: what lies within so many steps of a word, and the shortest way between two words.

Both go breadth-first, level by level, and ask the database for the relations of a chunk of words at a time. Published
relations do not change, so the same walk gives the same answer every time, page after page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select, union_all

from sensedict_server.queries.relations import BACK, Filter, Relation, leading_from, relations_by_id

Bound = Literal["words", "relations"]
Ids = NDArray[np.int64]

# Words of one chunk, so that a chunk brings about 4,000 relations: the walk may stop after each, and one of a few hubs
# already brings more than the walk may reach.
_FIRST_CHUNK = 8
_LARGEST_CHUNK = 1024
_RELATIONS_OF_A_CHUNK = 4000

# What `array_send` gives: a header of five 32-bit numbers, then length and value of each element, most significant
# byte first (PostgreSQL: array_userfuncs). Tens of thousands of rows come so in a tenth of the time.
_ARRAY_HEADER = 20
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i8")])


@dataclass(frozen=True)
class Walk:
    """The relations that a walk found, each once, in the order of depth and id.

    Attributes:
        ids: (n,) relations.
        depths: (n,) steps from the word to the relation's far end, on the way that found it: 1 for the word's own.
        distances: steps from the word to each word reached.
        cut: whether more words than wanted lie within the depth; relations to those left out are left out too.
    """

    ids: Ids
    depths: Ids
    distances: dict[int, int]
    cut: bool

    def after(self, depth: int, id: int, limit: int) -> list[tuple[int, int]]:
        """At most `limit` pairs (relation, depth) that come after that one."""
        later = (self.depths > depth) | ((self.depths == depth) & (self.ids > id))
        at = int(later.argmax()) if later.any() else len(later)
        part = slice(at, at + limit)
        return list(zip(self.ids[part].tolist(), self.depths[part].tolist(), strict=True))

    def near_end(self, relation: Relation, filter: Filter) -> int:
        """The end that the walk came from: the nearer one, and the one a directed relation may be walked from."""
        if relation.directed and filter.direction != "both":
            return relation.word_id if filter.direction == "out" else relation.other_id
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


def walk(connection: Connection, lexicon_id: int, word_id: int, filter: Filter, *, depth: int, most: int) -> Walk:
    """Follow the wanted relations from the word for `depth` steps, to at most `most` words, the word itself included.

    Words are expanded in the order in which they were reached: by depth, and in a chunk by the relation's id.
    """
    reached = frontier = np.array([word_id], dtype=np.int64)
    distances = {word_id: 0}
    found: list[tuple[Ids, Ids]] = []
    cut = False
    for level in range(1, depth + 1):
        new: list[Ids] = [np.empty(0, dtype=np.int64)]
        for ids, far in _expand(connection, lexicon_id, frontier, filter):
            fresh = _first_seen(far, reached)
            cut = len(reached) + len(fresh) > most
            if cut:
                fresh = fresh[: most - len(reached)]
                kept = np.isin(far, reached) | np.isin(far, fresh)
                ids = ids[kept]
            reached = np.concatenate([reached, fresh])
            new.append(fresh)
            found.append((ids, np.full(len(ids), level, dtype=np.int64)))
            if cut:
                break
        frontier = np.concatenate(new)
        distances.update(dict.fromkeys(frontier.tolist(), level))
        if cut or not len(frontier):
            break
    ids, first = np.unique(np.concatenate([ids for ids, _ in found]), return_index=True)
    depths = np.concatenate([depths for _, depths in found])[first]
    order = np.lexsort((ids, depths))
    return Walk(ids[order], depths[order], distances, cut)


@dataclass
class _Side:
    """One end of the search for a path: the words reached from it, each with the relation that reached it."""

    filter: Filter
    start: int
    reached: dict[int, int]
    frontier: Ids

    @staticmethod
    def at(word_id: int, filter: Filter) -> _Side:
        return _Side(filter, word_id, {word_id: 0}, np.array([word_id], dtype=np.int64))

    def back(self, connection: Connection, lexicon_id: int, word_id: int) -> list[tuple[Relation, int, int]]:
        """(relation, nearer end, farther end) from the word back to the start."""
        steps = []
        while word_id != self.start:
            (relation,) = relations_by_id(connection, lexicon_id, [self.reached[word_id]])
            nearer = relation.other_id if relation.word_id == word_id else relation.word_id
            steps.append((relation, nearer, word_id))
            word_id = nearer
        return steps


def shortest_path(
    connection: Connection, lexicon_id: int, word_id: int, other_id: int, filter: Filter, *, longest: int, most: int
) -> Path:
    """A shortest way along the wanted relations, of at most `longest` of them; at most `most` words are looked at.

    The search goes from both words, whole levels at a time and first where fewer words stand, so the first meeting is
    on a shortest way.
    """
    if word_id == other_id:
        return Path(found=True)
    here = _Side.at(word_id, filter)
    there = _Side.at(other_id, replace(filter, direction=BACK[filter.direction]))
    for _ in range(longest):
        if not len(here.frontier) or not len(there.frontier):
            return Path(found=False)
        side, facing = (here, there) if len(here.frontier) <= len(there.frontier) else (there, here)
        met = _advance(connection, lexicon_id, side, facing, most)
        if met == "words":
            return Path(found=False, bound="words")
        if met is not None:
            forth = [(relation, near) for relation, near, _ in reversed(here.back(connection, lexicon_id, met))]
            on = [(relation, far) for relation, _, far in there.back(connection, lexicon_id, met)]
            return Path(found=True, steps=(*forth, *on))
    ended = not len(here.frontier) or not len(there.frontier)
    return Path(found=False, bound=None if ended else "relations")


def _advance(
    connection: Connection, lexicon_id: int, side: _Side, facing: _Side, most: int
) -> int | Literal["words"] | None:
    """Take the side one level on; gives the word where it met the other side, or that the bound was met."""
    new: list[int] = []
    for ids, far in _expand(connection, lexicon_id, side.frontier, side.filter):
        for id, word_id in zip(ids.tolist(), far.tolist(), strict=True):
            if word_id not in side.reached:
                side.reached[word_id] = id
                new.append(word_id)
                if word_id in facing.reached:
                    return int(word_id)
        if len(side.reached) + len(facing.reached) > most:
            return "words"
    side.frontier = np.array(new, dtype=np.int64)
    return None


def _expand(connection: Connection, lexicon_id: int, frontier: Ids, filter: Filter) -> Iterator[tuple[Ids, Ids]]:
    """Ids and far ends of the wanted relations of each chunk of the frontier, in rising id."""
    at, size = 0, _FIRST_CHUNK
    while at < len(frontier):
        chunk = frontier[at : at + size].tolist()
        at += len(chunk)
        ids, far = _relations_of(connection, lexicon_id, chunk, filter)
        yield ids, far
        fitting = len(chunk) * _RELATIONS_OF_A_CHUNK // max(1, len(ids))
        size = max(1, min(2 * size, _LARGEST_CHUNK, fitting))


def _relations_of(connection: Connection, lexicon_id: int, nodes: list[int], filter: Filter) -> tuple[Ids, Ids]:
    edges = union_all(*leading_from(lexicon_id, filter, lambda end: end == func.any(nodes))).subquery()
    columns = [func.array_send(func.array_agg(column)) for column in (edges.c.id, edges.c.far)]
    ids, far = map(_numbers, connection.execute(select(*columns)).one())
    order = np.argsort(ids, kind="stable")
    return ids[order], far[order]


def _numbers(sent: bytes | None) -> Ids:
    if sent is None:  # no rows
        return np.empty(0, dtype=np.int64)
    return np.frombuffer(sent, _ELEMENT, offset=_ARRAY_HEADER)["value"].astype(np.int64)


def _first_seen(far: Ids, reached: Ids) -> Ids:
    """The words that were not reached before, each once, in order of their first place."""
    _, first = np.unique(far, return_index=True)
    fresh = far[np.sort(first)]
    return fresh[np.isin(fresh, reached, invert=True)]
