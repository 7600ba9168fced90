"""Words by how they begin, and the map of a word's senses: what a reader looks round with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from sensedict import wire
from sensedict.beginnings import as_prefix
from sensedict.errors import WordNotFound
from sensedict.lookup import word_not_found
from sensedict_server.media import accepts_json
from sensedict_server.moves import moves_of
from sensedict_server.problems import described
from sensedict_server.queries.id_maps import id_map_content
from sensedict_server.queries.suggest import words_beginning
from sensedict_server.queries.words import Scope, find_related_word, find_word
from sensedict_server.routes.id_maps import To, published_map
from sensedict_server.routes.shared import (
    A_WORD,
    LIMITS,
    AskedWord,
    Named,
    Ref,
    SharedCatalogue,
    Unchanging,
    caching_headers,
    checked_word,
)
from sensedict_server.routes.word_map import map_around

router = APIRouter(tags=["words"], dependencies=[Depends(accepts_json)], responses=described(404, 406, 422, 503))

Prefix = Annotated[str, Query(description="how the words begin, percent-encoded; case folds", json_schema_extra=A_WORD)]
ListedWords = Annotated[int, Query(description="words wanted", ge=1, le=LIMITS.max_listed_words)]
Related = Annotated[
    int,
    Query(
        description="synonyms, and as many antonyms, that are shown: those used most", ge=0, le=LIMITS.max_neighbours
    ),
]
Near = Annotated[
    int, Query(description="nearest other words of each sense that are shown", ge=0, le=LIMITS.max_neighbours)
]


@router.get(wire.WORDS)
def words(named: Unchanging, prefix: Prefix, shared: SharedCatalogue, limit: ListedWords = 12) -> wire.WordList:
    """Words that can be asked for and begin so; a token's blank is not part of its word."""
    asked = as_prefix(checked_word(prefix))
    with shared.engine.connect() as connection:
        found = words_beginning(connection, named.id, asked, limit)
    return wire.WordList(prefix=asked, words=[wire.FoundWord(**asdict(word)) for word in found])


@router.get(wire.SENSE_MAP)
def sense_map(
    named: Unchanging, word: AskedWord, shared: SharedCatalogue, related: Related = 8, neighbours: Near = 2
) -> wire.SenseMap:
    """The senses of a word, of its synonyms and antonyms, and the nearest others, on a plane (DSKD Figure 1)."""
    scope = Scope(named.id, named.lexicon_id)
    with shared.engine.connect() as connection:
        found = find_word(connection, scope, word)
        if found is None:
            raise WordNotFound(word_not_found(word, named.ref))
        standing = find_related_word(connection, scope, word)
    related_id = None if standing is None else standing.word_id
    return map_around(shared, named, found, related_id, related=related, neighbours=neighbours)


@router.get(wire.ID_MAP_OF_WORD)
def id_map_of_word(
    ref: Ref, named: Named, to: To, word: AskedWord, shared: SharedCatalogue, request: Request, response: Response
) -> wire.SenseMoves:
    """What became of the senses of a word from this dictionary to another, where their map is published."""
    new, sha256 = published_map(shared, named, to)
    headers = caching_headers(request, sha256, for_ever=(ref, to) == (named.ref, new.ref))
    with shared.engine.connect() as connection:
        found = find_word(connection, Scope(named.id, named.lexicon_id), word)
        if found is None:
            raise WordNotFound(word_not_found(word, named.ref))
        after = find_word(connection, Scope(new.id, new.lexicon_id), found.text)
        content = id_map_content(connection, named.id, new.id)
    there = (
        ()
        if after is None or after.text != found.text
        else range(after.first_sense, after.first_sense + after.sense_count)
    )
    here = range(found.first_sense, found.first_sense + found.sense_count)
    response.headers.update(headers)
    return wire.SenseMoves(word=found.text, moves=moves_of(content, here, there))
