"""Senses of tokens and words, and one sense with its vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from sensedict import wire
from sensedict.errors import SenseNotFound, TokenNotFound, WordNotFound
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.senses import Sense, find_sense, find_token, senses_in_range, token_texts
from sensedict_server.queries.words import find_word
from sensedict_server.routes.shared import SharedCatalogue, Unchanging, Word

router = APIRouter(tags=["senses"], dependencies=[Depends(accepts_json)], responses=described(404, 406, 422, 503))

TokenId = Annotated[int, Path(description="id of a token of the teacher's vocabulary")]
SenseId = Annotated[int, Path(description="id of a sense, 0 .. senses - 1")]


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
    return wire.TokenSenses(token=token, text=found.text, occurrences=found.occurrences, senses=list(_wire(senses)))


@router.get(wire.WORD_SENSES)
def word_senses(named: Unchanging, word: Word, shared: SharedCatalogue) -> wire.WordSenses:
    """The senses of a word: as it is spelt, else as its case folds (DSKD §3.3)."""
    with shared.engine.connect() as connection:
        found = find_word(connection, named.id, word)
        if found is None:
            raise WordNotFound(word_not_found(word, named.ref))
        texts = token_texts(connection, named.id, found.token_ids)
        senses = senses_in_range(connection, named.id, found.first_sense, found.sense_count)
    return wire.WordSenses(
        word=found.text,
        tokens=list(found.token_ids),
        token_texts=texts,
        composed=len(found.token_ids) > 1 and found.sense_count > 0,
        senses=list(_wire(senses)),
        reason=found.reason,
    )


@router.get(wire.SENSE)
def sense(named: Unchanging, sense: SenseId, shared: SharedCatalogue) -> wire.SenseDetail:
    """One sense with its contexts, its owner and its vector."""
    if not 0 <= sense < named.senses:
        raise SenseNotFound(f"sense {sense} is not in {named.ref}; ids run 0 .. {named.senses - 1}")
    with shared.engine.connect() as connection:
        found = find_sense(connection, named.id, sense)
    if found is None:
        raise SenseNotFound(f"sense {sense} is not in {named.ref}")
    (plain,) = _wire([found.sense])
    return wire.SenseDetail(
        **dict(plain),
        owner="word" if found.token_id is None else "token",
        token=found.token_id,
        text=found.text,
        vector=found.vector,
    )


def word_not_found(word: str, ref: str) -> str:
    """What to say of a word that the dictionary does not know."""
    return f"the word {word!r} is in no relation of {ref} and no single token of it"


def _wire(senses: Iterable[Sense]) -> Iterable[wire.Sense]:
    for sense in senses:
        yield wire.Sense(
            id=sense.sense_id,
            ordinal=sense.ordinal,
            count=sense.count,
            inertia=sense.inertia,
            contexts=[
                wire.Context(text=context.text, start=context.start, end=context.end) for context in sense.contexts
            ],
        )
