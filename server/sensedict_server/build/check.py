"""What a draft must be before it is published; pure, so a build can ask early."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput, NotFinite, WrongDimension
from sensedict.wire import LATEST
from sensedict_server.build.contents import Draft
from sensedict_server.lexicon.relations import ANTONYM_TYPES, SYNONYM_TYPES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # part of addresses and of folder names
_STATE_POINT = re.compile(r"final_norm|layer:[1-9][0-9]{0,3}")  # what `sensedict_trainer.state_points` reads
_MOST_SENSES = 2**15 - 1  # of one owner: a smallint


def check_name(what: str, name: str) -> None:
    """Let pass what can stand in an address `name@version` and name a folder.

    Raises:
        InvalidInput: it cannot; says what can.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{what} {name!r}: use at most 100 letters, digits, '.', '_', '-', first a letter or digit")


def check_version(version: str) -> None:
    """Let pass a version; `latest` is the name of an alias.

    Raises:
        InvalidInput: it cannot stand in an address, or is `latest`.
    """
    check_name("version", version)
    if version == LATEST:
        raise InvalidInput(f"version {LATEST!r} would hide the alias of that name: choose another version")


def check_state_point(state_point: str) -> None:
    """Let pass the name of a state point.

    Raises:
        InvalidInput: it is none.
    """
    if not _STATE_POINT.fullmatch(state_point):
        raise InvalidInput(f"state point {state_point!r}: final_norm, or layer:N with N from 1")


def check(draft: Draft) -> None:
    """Let pass a draft whose arrays fit together and hold numbers.

    Raises:
        InvalidInput: naming the token, word or sense and what is wrong with it.
        NotFinite: a vector holds NaN or infinity.
        WrongDimension: composed senses have another width than the tokens'.
    """
    check_name("dictionary name", draft.name)
    check_version(draft.version)
    if draft.key_policy not in ("next", "predicted", "input"):
        raise InvalidInput(f"key policy {draft.key_policy!r}: one of next, predicted, input")
    check_state_point(draft.state_point)
    if draft.k < 1:
        raise InvalidInput(f"k is {draft.k}: a token has at least one sense")
    _check_tokens(draft)
    _check_words(draft)


def check_types(settings: Mapping[str, Any], known: Collection[str]) -> None:
    """Let pass settings whose `synonym_types` and `antonym_types` the lexicon has; the usual ones it may be without.

    Args:
        settings: a draft's; without the two keys training takes the usual types.
        known: types of the lexicon's relations.

    Raises:
        InvalidInput: no list of names, a type that the lexicon has not, or one that counts as both; names the types
            it has.
    """
    chosen: dict[str, set[str]] = {}
    for key, usual in (("synonym_types", SYNONYM_TYPES), ("antonym_types", ANTONYM_TYPES)):
        types = settings.get(key, usual)
        if not isinstance(types, list | tuple) or not all(isinstance(type_, str) for type_ in types):
            raise InvalidInput(f"{key} is {types!r}: give a list of types of relations")
        for type_ in types:
            if type_ not in known and type_ not in usual:
                raise InvalidInput(f"{key}: the lexicon has no relations of type {type_!r}, it has {_listed(known)}")
        chosen[key] = set(types)
    both = chosen["synonym_types"] & chosen["antonym_types"]
    if both:
        raise InvalidInput(f"the type {min(both)!r} cannot count as synonymy and as antonymy: choose one")


def _listed(types: Collection[str]) -> str:
    return ", ".join(sorted(types)) or "none"


def _check_tokens(draft: Draft) -> None:
    tokens = draft.tokens
    size = len(tokens.texts)
    _check_vectors("sense of the tokens", tokens.vectors)
    n = len(tokens.vectors)
    if n == 0:
        raise InvalidInput("the draft has no senses: harvest more text")
    _check_length("occurrences", len(tokens.occurrences), size)
    _check_offsets("tokens", tokens.offsets, size, n)
    for name, found in (("counts", tokens.counts), ("inertia", tokens.inertia), ("contexts", tokens.contexts)):
        _check_length(name, len(found), n)
    _refuse("token {} has negative occurrences", tokens.occurrences < 0)
    _refuse("token {} has more senses than k", np.diff(tokens.offsets) > draft.k)
    _refuse("sense {} has no hidden states: counts are positive", tokens.counts <= 0)
    _refuse(
        "sense {} has an inertia that is negative or no number", ~(np.isfinite(tokens.inertia) & (tokens.inertia >= 0))
    )
    rising = np.diff(tokens.counts) > 0
    rising[tokens.offsets[1:-1][(tokens.offsets[1:-1] > 0) & (tokens.offsets[1:-1] < n)] - 1] = False  # another owner
    _refuse("sense {} is less used than the next of its token: order them by falling count", rising)
    for sense, passages in enumerate(tokens.contexts):
        for text, start, end in passages:
            if not 0 <= start < end <= len(text):
                raise InvalidInput(f"sense {sense} has a context whose place {start}..{end} is outside its text")


def _check_words(draft: Draft) -> None:
    words, tokens = draft.words, draft.tokens
    size = len(words.word_ids)
    _check_vectors("composed sense", words.vectors)
    if len(words.vectors) and words.vectors.shape[1] != tokens.vectors.shape[1]:
        raise WrongDimension(
            f"composed senses have {words.vectors.shape[1]} dimensions, the tokens' {tokens.vectors.shape[1]}"
        )
    _check_length("token_ids", len(words.token_ids), size)
    _check_length("reasons", len(words.reasons), size)
    _check_offsets("words", words.offsets, size, len(words.vectors))
    _refuse("word in row {} does not have a lower id than the next", np.diff(words.word_ids) <= 0)
    has_senses = np.diff(tokens.offsets) > 0
    for row, (token_ids, reason) in enumerate(zip(words.token_ids, words.reasons, strict=True)):
        name = f"word {int(words.word_ids[row])}"
        outside = [token for token in token_ids if not 0 <= token < len(tokens.texts)]
        if outside:
            raise InvalidInput(f"{name} has the token {outside[0]}, the vocabulary has {len(tokens.texts)}")
        composed = int(words.offsets[row + 1] - words.offsets[row])
        single = len(token_ids) == 1
        if single and composed:
            raise InvalidInput(f"{name} is one token and has composed senses: it has that token's")
        found = bool(has_senses[token_ids[0]]) if single else composed > 0
        if found == (reason is not None):
            raise InvalidInput(f"{name} has {'senses and' if found else 'no senses and no'} reason for having none")


def _check_vectors(what: str, vectors: NDArray[np.float16]) -> None:
    if vectors.dtype != np.float16 or vectors.ndim != 2:
        raise InvalidInput(f"{what}: vectors are {vectors.dtype} {vectors.shape}, expected float16 (n, D)")
    if len(vectors) and not vectors.shape[1]:
        raise WrongDimension(f"{what}: vectors of no dimension")
    for start in range(0, len(vectors), 4096):  # in parts: a mask of the whole would be half as large again
        bad = ~np.isfinite(vectors[start : start + 4096]).all(axis=1)
        if bad.any():
            raise NotFinite(f"{what} {start + int(bad.argmax())} holds NaN or infinity (or overflowed float16)")


def _check_offsets(what: str, offsets: NDArray[np.int64], size: int, n: int) -> None:
    _check_length(f"offsets of {what}", len(offsets), size + 1)
    steps = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != n or (steps < 0).any():
        raise InvalidInput(f"offsets of {what} do not rise from 0 to {n}, the number of their senses")
    _refuse(f"row {{}} of {what} has more than {_MOST_SENSES} senses", steps > _MOST_SENSES)


def _check_length(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise InvalidInput(f"{what}: {found} entries, expected {expected}")


def _refuse(what: str, bad: NDArray[np.bool_]) -> None:
    if bad.any():
        raise InvalidInput(what.format(int(bad.argmax())))
