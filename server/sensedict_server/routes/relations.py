"""Lexical relations: of a word and of the words around it, page by page, one explained, and ways between two words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import Connection

from sensedict import told, wire
from sensedict.errors import RelationNotFound, WordNotFound
from sensedict.lexical import relation_not_found, seen_from
from sensedict.lookup import Word, word_not_found
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.explain import derivation_of
from sensedict_server.queries.filters import count_relations_of
from sensedict_server.queries.relations import Filter, page_of_relations, relations_by_id
from sensedict_server.queries.walks import shortest_path, walk
from sensedict_server.queries.words import Scope, find_related_word
from sensedict_server.routes.cursors import Cursor, Place
from sensedict_server.routes.explained import explanation
from sensedict_server.routes.filters import check_filter
from sensedict_server.routes.shared import (
    A_WORD,
    LIMITS,
    AskedPos,
    AskedWord,
    SharedCatalogue,
    Unchanging,
    checked_word,
    refuse_null,
)

router = APIRouter(tags=["relations"], dependencies=[Depends(accepts_json)], responses=described(404, 406, 422, 503))

_LARGEST = 2**63 - 1  # ids are bigint

Types = Annotated[
    list[str] | None,
    Query(description="only relations of this type, e.g. antonym; may be given several times", max_length=20),
]
Direction = Annotated[
    wire.Direction,
    Query(
        description="`out`: only relations that lead from a word to the next, as hypernym from the narrower to the "
        "wider; `in`: only those that lead to it; symmetric ones do both"
    ),
]
Depth = Annotated[
    int,
    Query(
        description="steps from the word; above 1, the relations of the words that were reached follow, each relation "
        "once, at the depth at which it was met first",
        ge=1,
        le=LIMITS.max_depth,
    ),
]
Source = Annotated[str | None, Query(description="only relations of this source", max_length=100)]
Rule = Annotated[
    str | None,
    Query(
        description="only relations derived by this rule, `negation:un-`, or kind of rules, `negation`", max_length=100
    ),
]
Count = Annotated[bool, Query(description="answer with `total` too; of a word of many relations that takes longer")]
Limit = Annotated[int, Query(description="relations in one page", ge=1, le=LIMITS.max_page)]
Next = Annotated[str | None, Query(alias="cursor", description="`next_cursor` of the page before, of the same query")]
Other = Annotated[
    str, Query(description="the word where the path ends, as it is spelt; case folds", json_schema_extra=A_WORD)
]
RelationId = Annotated[int, Path(description="id of a relation, as the pages of relations give it")]


@router.get(wire.RELATIONS)
def relations(
    named: Unchanging,
    word: AskedWord,
    shared: SharedCatalogue,
    pos: AskedPos,
    type: Types = None,
    direction: Direction = "both",
    depth: Depth = 1,
    source: Source = None,
    rule: Rule = None,
    cursor: Next = None,
    limit: Limit = 100,
    count: Count = False,
) -> wire.RelationPage:
    """Relations in which the word stands and, at a depth, those of the words around it, in a fixed order (DSKD §3.2).

    The filters hold for every relation that is walked along.
    """
    refuse_null(*(type or []), source, rule)
    wanted = Filter(tuple(sorted(set(type or []))), direction, source, rule, pos)
    with shared.engine.connect() as connection:
        check_filter(shared, connection, named, wanted)
        found = _find(connection, Scope(named.id, named.lexicon_id), word, named.ref)
        cursors = Cursor(named.lexicon_id, found.text, depth, wanted)
        start = Place(0, 0) if cursor is None else cursors.read(cursor)
        if found.word_id is None:  # a bare token
            total = 0 if count else None
            return wire.RelationPage(
                word=found.text, matched=found.matched, relations=[], total=total, next_cursor=None
            )
        answer = _answer(connection, named.lexicon_id, found.word_id, wanted, depth, start, limit)
        total = answer.total() if count else None
    seen = answer.relations
    last = seen[limit - 1] if len(seen) > limit else None
    return wire.RelationPage(
        word=found.text,
        matched=found.matched,
        relations=seen[:limit],
        total=total,
        next_cursor=None if last is None else cursors.make(Place(last.depth, last.id)),
        words_reached=answer.words_reached,
        cut=answer.cut,
    )


@router.get(wire.RELATION)
def relation(named: Unchanging, relation: RelationId, shared: SharedCatalogue) -> wire.Explanation:
    """One relation explained: its derivation, back to the relation that a source lists (DSKD Table 1)."""
    with shared.engine.connect() as connection:
        in_range = 0 <= relation <= _LARGEST
        chain = derivation_of(connection, named.lexicon_id, relation) if in_range else []
        if not chain:
            raise RelationNotFound(relation_not_found(relation, named.lexicon, named.ref))
        return explanation(connection, named.lexicon_id, chain)


@router.get(wire.PATH)
def path(
    named: Unchanging,
    word: AskedWord,
    other: Other,
    shared: SharedCatalogue,
    type: Types = None,
    direction: Direction = "both",
) -> wire.Path:
    """A shortest way between two words along relations; that there is none is an answer, not an error."""
    checked_word(other)
    refuse_null(*(type or []))
    wanted = Filter(tuple(sorted(set(type or []))), direction)
    scope = Scope(named.id, named.lexicon_id)
    with shared.engine.connect() as connection:
        check_filter(shared, connection, named, wanted)
        ends = [_find(connection, scope, end, named.ref) for end in (word, other)]
        ids = [end.word_id for end in ends]
        if ids[0] is None or ids[1] is None:  # a bare token has no relations
            return told.path(ends[0], ends[1], None)
        found = shortest_path(
            connection,
            named.lexicon_id,
            ids[0],
            ids[1],
            wanted,
            longest=LIMITS.max_path_relations,
            most=LIMITS.max_walk_words,
        )
    return told.path(ends[0], ends[1], found)


@dataclass(frozen=True)
class _Answer:
    """A page and one relation more, if there is one; the rest: see `wire.RelationPage`."""

    relations: list[wire.Relation]
    total: Callable[[], int]  # counting those of a hub takes longer than its page
    words_reached: int | None = None
    cut: bool = False


def _answer(
    connection: Connection, lexicon_id: int, word_id: int, wanted: Filter, depth: int, start: Place, limit: int
) -> _Answer:
    """The relations after `start`."""
    if depth == 1:
        page = page_of_relations(connection, lexicon_id, word_id, wanted, after=start.id, limit=limit + 1)
        return _Answer(
            [seen_from(word_id, relation, 1) for relation in page],
            lambda: count_relations_of(connection, lexicon_id, word_id, wanted),
        )
    walked = walk(connection, lexicon_id, word_id, wanted, depth=depth, most=LIMITS.max_walk_words)
    places = walked.after(start.depth, start.id, limit + 1)
    page = relations_by_id(connection, lexicon_id, [id for _, id in places])
    seen = [
        seen_from(walked.near_end(relation), relation, level) for relation, (level, _) in zip(page, places, strict=True)
    ]
    return _Answer(seen, lambda: len(walked.places), len(walked.distances), walked.cut)


def _find(connection: Connection, scope: Scope, word: str, ref: str) -> Word:
    found = find_related_word(connection, scope, word)
    if found is None:
        raise WordNotFound(word_not_found(word, ref))
    return found
