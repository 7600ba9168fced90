"""The index of a dictionary as candidate sets are gathered from it: in memory, in the types that numpy gathers by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensedict.fileset import Index
from sensedict.nearest import ragged_offsets
from sensedict.source import CandidateSets, ItemError, Ranges

_COLUMNS = 6  # of a token: own first and count, where its synonyms begin and how many they are, the same of antonyms


class Candidates:
    """Own, synonym and antonym senses by token; one row more than there are tokens, an empty one.

    It is a copy of the index, 8 bytes a range and 28 a token: a few MB, and never on a page that must be read from the
    disk first. What is asked for together lies together, since an answer costs what it fetches from main memory.
    """

    def __init__(self, index: Index) -> None:
        synonyms, antonyms = index.synonyms, index.antonyms
        self._tokens = np.zeros((len(index.token_first) + 1, _COLUMNS), np.uint32)
        self._tokens[:-1, 0], self._tokens[:-1, 1] = index.token_first, index.token_count
        self._tokens[:-1, 2], self._tokens[:-1, 3] = synonyms.offsets[:-1], np.diff(synonyms.offsets)
        self._tokens[:-1, 4], self._tokens[:-1, 5] = antonyms.offsets[:-1], np.diff(antonyms.offsets)
        self._tokens[:-1, 4] += np.uint32(len(synonyms.first))  # they stand behind the synonyms
        self._related = self._tokens[:, 3] + self._tokens[:, 5]
        self._ranges = np.empty((len(synonyms.first) + len(antonyms.first), 2), np.uint32)
        self._ranges[:, 0] = np.concatenate([synonyms.first, antonyms.first])
        self._ranges[:, 1] = np.concatenate([synonyms.count, antonyms.count])

    def owners(self, tokens: NDArray[np.integer]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """First senses and numbers of senses of the tokens (n,); of one outside the vocabulary 0 and 0."""
        found = self._tokens.take(tokens, axis=0, mode="clip")
        return found[:, 0].copy(), found[:, 1].astype(np.uint16)

    def ranges(self, tokens: NDArray[np.uint32]) -> int:
        """How many ranges the answer for these tokens holds: what it costs, before it is made."""
        return int(self._related.take(tokens, mode="clip").sum()) + len(tokens)

    def sets(self, tokens: NDArray[np.uint32], errors: tuple[ItemError, ...]) -> CandidateSets:
        """The candidate sets of the tokens (n,) in their order; `errors` are those outside the vocabulary."""
        n = len(tokens)
        found = self._tokens.take(tokens, axis=0, mode="clip").T.copy()
        # All rows of synonyms, then all of antonyms: one gather for both, and no loop over tokens.
        lengths = found[3::2].reshape(-1)
        offsets = ragged_offsets(lengths)
        places = np.repeat(found[2::2].reshape(-1).astype(np.intp) - offsets[:-1], lengths)
        places += np.arange(len(places))
        first, count = self._ranges.take(places, axis=0).T
        first, count = first.copy(), count.astype(np.uint16)
        cut = int(offsets[n])
        return CandidateSets(
            tokens,
            found[0],
            found[1].astype(np.uint16),
            Ranges(offsets[: n + 1], first[:cut], count[:cut]),
            Ranges(offsets[n:] - np.uint32(cut), first[cut:], count[cut:]),
            errors,
        )
