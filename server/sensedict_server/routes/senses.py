"""Senses of tokens and words, and one sense with its vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from sensedict import told, wire
from sensedict.errors import SenseNotFound, TokenNotFound, WordNotFound
from sensedict.lookup import word_not_found
from sensedict_server.catalogue import Catalogue
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.senses import OwnedSense, Sense, find_sense, find_token, senses_in_range, token_texts
from sensedict_server.queries.words import Scope, find_word, glosses_of, parts_of_speech
from sensedict_server.routes.explained import glosses
from sensedict_server.routes.filters import check_pos
from sensedict_server.routes.nearby import nearest_of_others, nearest_words
from sensedict_server.routes.shared import LIMITS, AskedPos, AskedWord, SharedCatalogue, Unchanging

router = APIRouter(tags=["senses"], dependencies=[Depends(accepts_json)], responses=described(404, 406, 422, 503))

TokenId = Annotated[int, Path(description="id of a token of the teacher's vocabulary")]
SenseId = Annotated[int, Path(description="id of a sense, 0 .. senses - 1")]
SenseNeighbours = Annotated[int, Query(description="neighbours wanted", ge=1, le=LIMITS.max_neighbours)]
WordNeighbours = Annotated[
    int,
    Query(
        description="nearest words wanted for each sense; fewer where the nearest "
        f"{LIMITS.max_nearest} senses are of fewer words",
        ge=0,
        le=LIMITS.max_neighbours,
    ),
]


@router.get(wire.TOKEN_SENSES)
def token_senses(named: Unchanging, token: TokenId, shared: SharedCatalogue) -> wire.TokenSenses:
    """The senses of a token, most used first (DSKD §3.1)."""
    if not 0 <= token < named.vocabulary_size:
        raise TokenNotFound(f"token {token} is not in {named.ref}; ids run 0 .. {named.vocabulary_size - 1}")
    with shared.engine.connect() as connection:
        found = find_token(connection, named.id, token)
        if found is None:
            raise TokenNotFound(f"token {token} is not in {named.ref}")
        senses = senses_in_range(connection, named.id, found.first_sense, found.sense_count)
    return wire.TokenSenses(
        token=token, text=found.text, occurrences=found.occurrences, senses=list(_wire(shared, senses))
    )


@router.get(wire.WORD_SENSES)
def word_senses(
    named: Unchanging, word: AskedWord, pos: AskedPos, shared: SharedCatalogue, neighbours: WordNeighbours = 0
) -> wire.WordSenses:
    """The senses of a word: as it is spelt, else as its case folds, else of a form or lemma of it (DSKD §3.3).

    With a part of speech, a word that the sources know as others only is passed over, and the glosses are of that one.
    """
    with shared.engine.connect() as connection:
        if pos is not None:
            check_pos(shared, connection, named, pos)
        found = find_word(connection, Scope(named.id, named.lexicon_id), word, pos)
        if found is None:
            raise WordNotFound(word_not_found(word, named.ref, pos))
        texts = token_texts(connection, named.id, found.token_ids)
        senses = senses_in_range(connection, named.id, found.first_sense, found.sense_count)
        known = parts_of_speech(connection, named.lexicon_id, found.text)
        meanings = glosses_of(connection, named.lexicon_id, found.text, pos)
    near = nearest_words(shared, named, found, neighbours) if neighbours and senses else {}
    return told.word_senses(found, texts, _wire(shared, senses), near, known, glosses(meanings))


@router.get(wire.SENSE)
def sense(named: Unchanging, sense: SenseId, shared: SharedCatalogue) -> wire.SenseDetail:
    """One sense with its contexts, its owner and its vector."""
    found = _find(named, sense, shared)
    (plain,) = _wire(shared, [found.sense])
    return wire.SenseDetail(
        **dict(plain),
        owner="word" if found.token_id is None else "token",
        token=found.token_id,
        text=found.text,
        vector=found.vector,
    )


@router.get(wire.NEIGHBOURS)
def neighbours(
    named: Unchanging, sense: SenseId, shared: SharedCatalogue, limit: SenseNeighbours = 10
) -> wire.SenseNeighbours:
    """The nearest senses of other owners, tokens and composed words, nearest first."""
    found = _find(named, sense, shared)
    return wire.SenseNeighbours(
        id=sense,
        owner="word" if found.token_id is None else "token",
        token=found.token_id,
        text=found.text,
        neighbours=nearest_of_others(shared, named, sense, limit),
    )


def _find(named: Dictionary, sense: int, shared: Catalogue) -> OwnedSense:
    if not 0 <= sense < named.senses:
        raise SenseNotFound(f"sense {sense} is not in {named.ref}; ids run 0 .. {named.senses - 1}")
    with shared.engine.connect() as connection:
        found = find_sense(connection, named.id, sense)
    if found is None:
        raise SenseNotFound(f"sense {sense} is not in {named.ref}")
    return found


def _wire(shared: Catalogue, senses: Iterable[Sense]) -> Iterable[wire.Sense]:
    for sense in senses:
        yield wire.Sense(
            id=sense.sense_id,
            ordinal=sense.ordinal,
            count=sense.count,
            inertia=sense.inertia,
            contexts=[
                wire.Context(text=context.text, start=context.start, end=context.end)
                for context in (sense.contexts if shared.contexts else ())
            ],
        )
