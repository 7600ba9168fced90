"""What a request may hold. `SenseClient`, `Snapshot` and the service check with these, and so say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensedict.errors import InvalidInput, NotFinite, SenseNotFound, TokenNotFound, WrongDimension
from sensedict.source import Identity, ItemError

_WIDEST = 2**32 - 1  # ids travel as uint32
_LARGEST = np.float32(1e15)  # of a vector's numbers: the square of a difference has room in float32
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # what publishing lets pass
_ADDRESS = re.compile(rf"{NAME}(?:@(?:{NAME})?)?")


def is_address(ref: str) -> bool:
    """Whether a dictionary can be called so: `name@version`, `name@alias` or a bare name."""
    return _ADDRESS.fullmatch(ref) is not None


def checked_word(word: str, limit: int) -> str:
    """The word, when it can be one and has at most `limit` characters.

    Raises:
        InvalidInput: it is empty, too long, or holds what no word holds.
    """
    if len(word) > limit:
        raise InvalidInput(f"a word of {len(word)} characters; at most {limit}")
    if not word.strip():
        raise InvalidInput("the word is empty")
    if "\x00" in word:
        raise InvalidInput("the word holds the character U+0000, which no word does")
    return word


def token_ids(tokens: ArrayLike) -> NDArray[np.uint32]:
    """The token ids as (n,) uint32; ids outside the vocabulary pass, they are errors of single items.

    Raises:
        InvalidInput: no ids, other than one dimension, no whole numbers, or numbers that no vocabulary holds.
    """
    found = _whole_numbers(tokens, "token ids")
    at = None if found.dtype == np.uint32 else _first_outside(found, _WIDEST)
    if at is not None:
        raise InvalidInput(f"token ids are 0 .. {_WIDEST}, got {found[at]} at index {at}")
    return found.astype(np.uint32)


def sense_ids(ids: ArrayLike, identity: Identity) -> NDArray[np.uint32]:
    """The sense ids as (n,) uint32, each of them in the dictionary.

    Raises:
        InvalidInput: no ids, other than one dimension, or no whole numbers.
        SenseNotFound: an id is out of range; names the first.
    """
    found = _whole_numbers(ids, "sense ids")
    at = _first_outside(found, identity.senses - 1)
    if at is not None:
        raise SenseNotFound(f"sense {found[at]} at index {at} is not in {_address(identity)}; {_run(identity.senses)}")
    return found.astype(np.uint32)


def query_vectors(vectors: ArrayLike, identity: Identity) -> NDArray[np.float32]:
    """The vectors as (n, D) float32.

    Raises:
        InvalidInput: no vectors, other than two dimensions, or no floating-point numbers.
        WrongDimension: their width is not the dictionary's.
        NotFinite: NaN, infinity, or a number so large that a distance has no room in float32; names the first row.
    """
    found = np.asarray(vectors)
    if found.size == 0 or found.ndim != 2:
        raise InvalidInput(f"vectors must be of shape (n, {identity.dim}) with n ≥ 1, got {found.shape}")
    if not np.issubdtype(found.dtype, np.floating):
        raise InvalidInput(f"vectors must be floating-point numbers, got {found.dtype}")
    if found.shape[1] != identity.dim:
        raise WrongDimension(
            f"vectors of width {found.shape[1]} cannot be compared with the senses of {_address(identity)}, "
            f"whose width is {identity.dim}"
        )
    with np.errstate(over="ignore"):  # becomes infinity, and an error two lines on
        narrow = found.astype(np.float32)
    usable = (np.abs(narrow) <= _LARGEST).all(axis=1)  # of NaN nothing is true
    if not usable.all():
        raise NotFinite(f"the vector at index {int(usable.argmin())} holds NaN or a number beyond ±{_LARGEST:g}")
    return narrow


def nearest_count(p: int, limit: int) -> int:
    """p, when it is between 1 and the limit.

    Raises:
        InvalidInput: it is not.
    """
    if not 1 <= p <= limit:
        raise InvalidInput(f"p is the number of nearest senses, 1 .. {limit}, got {p}")
    return p


def search_way(search: str, owners: bool) -> bool:
    """Whether the search is to be approximate.

    Raises:
        InvalidInput: it is neither exact nor approximate, or approximate among the few senses of an owner.
    """
    if search not in ("exact", "approximate"):
        raise InvalidInput(f"search is exact or approximate, got {search!r:.40}")
    if search == "approximate" and owners:
        raise InvalidInput("among the senses of owner tokens search is always exact: leave `search` or `tokens` out")
    return search == "approximate"


def owner_tokens(tokens: ArrayLike, vectors: int) -> NDArray[np.uint32]:
    """The owners of so many vectors as (n,) uint32.

    Raises:
        InvalidInput: as `token_ids`, or another number of owners than of vectors.
    """
    owners = token_ids(tokens)
    if len(owners) != vectors:
        raise InvalidInput(f"{len(owners)} owner tokens were given for {vectors} vectors; give one for each")
    return owners


def outside_vocabulary(tokens: NDArray[np.uint32], identity: Identity) -> tuple[ItemError, ...]:
    """An error for each token that the vocabulary does not hold."""
    if tokens.max(initial=0) < identity.vocabulary_size:
        return ()
    outside: Sequence[int] = np.flatnonzero(tokens >= identity.vocabulary_size).tolist()
    return tuple(
        ItemError(
            index,
            TokenNotFound.code,
            f"token {tokens[index]} is not in {_address(identity)}; {_run(identity.vocabulary_size)}",
        )
        for index in outside
    )


def _whole_numbers(values: ArrayLike, what: str) -> NDArray[np.integer]:
    found = np.asarray(values)
    if found.size == 0 or found.ndim != 1:
        raise InvalidInput(f"{what} must be a list of at least one, got shape {found.shape}")
    if found.dtype.kind not in "iu":
        raise InvalidInput(f"{what} must be whole numbers, got {found.dtype}")
    return found


def _first_outside(found: NDArray[np.integer], largest: int) -> int | None:
    """Where the first number stands that is not 0 .. largest."""
    if found.min() >= 0 and found.max() <= largest:
        return None
    return int(((found < 0) | (found > largest)).argmax())


def _address(identity: Identity) -> str:
    return f"{identity.name}@{identity.version}"


def _run(n: int) -> str:
    return f"ids run 0 .. {n - 1}" if n else "it has none"
