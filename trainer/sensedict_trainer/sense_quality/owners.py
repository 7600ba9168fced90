"""Whose senses a word has: the dictionary's tokens and words by spelling, in a file set or at a service."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sensedict.client import SenseClient
from sensedict.errors import WordNotFound
from sensedict.local_words import LocalWords
from sensedict.parquet import Tables
from sensedict.snapshot import Snapshot


@dataclass(frozen=True)
class Owner:
    """A token or a composed word, by the range of its senses.

    Attributes:
        first, count: its senses are `first .. first + count`; count ≥ 1.
        token: its id; None for a composed word.
    """

    first: int
    count: int
    token: int | None


class Spellings(Protocol):
    """Words of a dictionary by their spelling, and how often their senses were used."""

    def find(self, word: str) -> Owner | None:
        """The owner of the word spelt so, or that folds to it; never of another form of it; None without senses."""

    def uses(self, owner: Owner) -> NDArray[np.int64]:
        """(count,) hidden states in each of its senses; zeros for a composed word."""


class FileSetSpellings:
    """`Spellings` of a file set; also of the first format, which has no forms and glosses."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._tables = Tables(snapshot.folder, snapshot.manifest)
        self._words = LocalWords(self._tables, {})

    def find(self, word: str) -> Owner | None:
        """See `Spellings`."""
        for folded in (False, True):
            for way in (self._words.in_relations, self._words.as_token):
                found = way(word, folded=folded)
                if found is not None and found.sense_count:
                    token = found.token_ids[0] if len(found.token_ids) == 1 else None
                    return Owner(found.first_sense, found.sense_count, token)
        return None

    def uses(self, owner: Owner) -> NDArray[np.int64]:
        """See `Spellings`."""
        return self._counts[owner.first : owner.first + owner.count].astype(np.int64)

    @cached_property
    def _counts(self) -> NDArray[np.integer]:
        return self._tables.numbers("senses.parquet", "count")


class ServiceSpellings:
    """`Spellings` of a service: a request a word."""

    def __init__(self, client: SenseClient) -> None:
        self._client = client

    def find(self, word: str) -> Owner | None:
        """See `Spellings`."""
        try:
            found = self._client.word(word)
        except WordNotFound:
            return None
        if not found.senses or found.matched not in ("exact", "case"):
            return None
        return Owner(found.senses[0].id, len(found.senses), None if found.composed else found.tokens[0])

    def uses(self, owner: Owner) -> NDArray[np.int64]:
        """See `Spellings`."""
        if owner.token is None:
            return np.zeros(owner.count, np.int64)
        return np.array([sense.count for sense in self._client.token(owner.token).senses], np.int64)
