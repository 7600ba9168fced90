"""Lexical relations of a word, page by page."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sensedict import wire
from sensedict.errors import InvalidInput, WordNotFound
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.relations import Relation, page_of_relations
from sensedict_server.queries.words import find_related_word
from sensedict_server.routes.senses import word_not_found
from sensedict_server.routes.shared import LIMITS, SharedCatalogue, Unchanging, Word

router = APIRouter(tags=["relations"], dependencies=[Depends(accepts_json)], responses=described(404, 406, 422, 503))

_LARGEST = 2**63 - 1  # ids are bigint
Type = Annotated[str | None, Query(description="only relations of this type, e.g. antonym", max_length=100)]
Source = Annotated[str | None, Query(description="only relations of this source", max_length=100)]
Limit = Annotated[int, Query(description="relations in one page", ge=1, le=LIMITS.max_page)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]


@router.get(wire.RELATIONS)
def relations(
    named: Unchanging,
    word: Word,
    shared: SharedCatalogue,
    type: Type = None,
    source: Source = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> wire.RelationPage:
    """Relations in which the word stands, as spelt or else as its case folds, in a fixed order (DSKD §3.2)."""
    after = 0 if cursor is None else _read_cursor(cursor)
    _refuse_null(type, source)
    with shared.engine.connect() as connection:
        found = find_related_word(connection, named.id, word)
        if found is None:
            raise WordNotFound(word_not_found(word, named.ref))
        if found.word_id is None:  # a bare token
            return wire.RelationPage(word=found.text, relations=[], next_cursor=None)
        page = page_of_relations(
            connection, named.lexicon_id, found.word_id, type=type, source=source, after=after, limit=limit + 1
        )
    more = len(page) > limit
    return wire.RelationPage(
        word=found.text,
        relations=[_wire(found.text, relation) for relation in page[:limit]],
        next_cursor=_make_cursor(page[limit - 1].id) if more else None,
    )


def _wire(word: str, relation: Relation) -> wire.Relation:
    return wire.Relation(
        id=relation.id,
        word=word,
        other=relation.other,
        type=relation.type,
        source=relation.source,
        licence=relation.licence,
        rule=relation.rule,
        parent=relation.parent_id,
        conflict=relation.conflict,
    )


def _make_cursor(last: int) -> str:
    return base64.urlsafe_b64encode(last.to_bytes(8, "big")).decode().rstrip("=")


def _read_cursor(cursor: str) -> int:
    try:
        data = base64.b64decode(cursor + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        data = b""
    last = int.from_bytes(data, "big")
    if len(data) != 8 or last > _LARGEST:
        raise InvalidInput(f"the cursor {cursor[:40]!r} is none of ours: give `next_cursor` of the page before")
    return last


def _refuse_null(*texts: str | None) -> None:
    if any(text is not None and "\x00" in text for text in texts):
        raise InvalidInput("type and source cannot hold the character U+0000")
