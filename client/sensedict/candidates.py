"""The index of a dictionary as candidate sets are gathered from it: in memory, in the types that numpy gathers by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensedict import answer_tensors
from sensedict.fileset import Index
from sensedict.source import CandidateSets, ItemError, Ranges

_COLUMNS = 6  # of a token: own first and count, how many synonyms and antonyms it has, where both end
_COUNTING = np.arange(2**16)  # made once: a batch has some ten thousand ranges


class Candidates:
    """Own, synonym and antonym senses by token; one row more than there are tokens, an empty one.

    It is a copy of the index, 6 bytes a range and 24 a token: a few MB, and never on a page that must be read from the
    disk first. What is asked for together lies together, since an answer costs what it fetches from main memory.
    """

    def __init__(self, index: Index) -> None:
        synonyms, antonyms = index.synonyms, index.antonyms
        self._tokens = np.zeros((len(index.token_first) + 1, _COLUMNS), np.uint32)
        self._tokens[:-1, 0], self._tokens[:-1, 1] = index.token_first, index.token_count
        self._tokens[:-1, 2], self._tokens[:-1, 3] = np.diff(synonyms.offsets), np.diff(antonyms.offsets)
        self._tokens[:-1, 4], self._tokens[:-1, 5] = synonyms.offsets[1:], antonyms.offsets[1:]
        self._tokens[:-1, 5] += np.uint32(len(synonyms.first))  # they stand behind the synonyms
        self._first = np.concatenate([synonyms.first, antonyms.first])
        self._count = np.concatenate([synonyms.count, antonyms.count])

    def owners(self, tokens: NDArray[np.integer]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """First senses and numbers of senses of the tokens (n,); of one outside the vocabulary 0 and 0."""
        found = self._tokens.take(tokens, axis=0, mode="clip")
        return found[:, 0].copy(), found[:, 1].astype(np.uint16)

    def look_up(self, tokens: NDArray[np.uint32]) -> Found:
        """What the index says of the tokens (n,), n ≥ 1, with which their sets are gathered: their size comes first."""
        columns = self._tokens.take(tokens, axis=0, mode="clip").T.copy()
        # cast first: `cumsum` with another dtype takes three times as long
        return Found(tokens, columns, columns[2:4].astype(np.intp).cumsum(), self._first, self._count)


class Found(NamedTuple):
    """The rows of some tokens in the index.

    Attributes:
        tokens: (n,) uint32.
        columns: (6, n) uint32, as the index has them.
        ends: (2 n,), where the synonyms of each token end in the answer, then where the antonyms do.
        firsts, counts: of all ranges there are, uint32 and uint16.
    """

    tokens: NDArray[np.uint32]
    columns: NDArray[np.uint32]
    ends: NDArray[np.intp]
    firsts: NDArray[np.uint32]
    counts: NDArray[np.uint16]

    @property
    def size(self) -> int:
        """How many ranges the answer holds, own ones among them: what it costs, before it is made."""
        return len(self.tokens) + int(self.ends[-1])

    def sets(self, errors: tuple[ItemError, ...]) -> CandidateSets:
        """The candidate sets of the tokens in their order; `errors` are those outside the vocabulary."""
        n, cut = len(self.tokens), int(self.ends[len(self.tokens) - 1])
        wide, narrow = self._gather(0)[1:]
        tokens, own_first, synonyms, antonyms, first = np.split(wide, np.cumsum([n, n, n + 1, n + 1]))
        own_count, count = narrow[:n], narrow[n:]
        return CandidateSets(
            tokens,
            own_first,
            own_count,
            Ranges(synonyms, first[:cut], count[:cut]),
            Ranges(antonyms, first[cut:], count[cut:]),
            errors,
        )

    def encoded(self, errors: tuple[ItemError, ...]) -> memoryview:
        """The bytes of those sets as they travel, `arrays.encode` of them; each number is written where it stays."""
        n, cut, related = len(self.tokens), int(self.ends[len(self.tokens) - 1]), int(self.ends[-1])
        header = answer_tensors.candidate_sets_head(n, cut, related - cut, errors)
        memory = self._gather(len(header))[0]
        memory[: len(header)] = np.frombuffer(header, np.uint8)
        return memory.data

    def _gather(self, before: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint16]]:
        """New memory in which all tensors lie in the order of the file, and its parts of four and of two bytes.

        Args:
            before: bytes that are left free before them.
        """
        n, related = len(self.tokens), int(self.ends[-1])
        split = before + 4 * (4 * n + 2 + related)
        memory = np.empty(split + 2 * (n + related), np.uint8)
        wide, narrow = memory[before:split].view(np.uint32), memory[split:].view(np.uint16)
        wide[:n] = self.tokens
        wide[n : 2 * n] = self.columns[0]
        offsets = wide[2 * n : 4 * n + 2].reshape(2, n + 1)
        offsets[:, 0] = 0
        offsets[:, 1:] = self.ends.reshape(2, n)
        offsets[1, 1:] -= offsets[0, n]
        # All rows of synonyms, then all of antonyms: one gather for both, and no loop over tokens.
        lengths, stops = self.columns[2:4].reshape(-1), self.columns[4:6].reshape(-1)
        places = (stops - self.ends).repeat(lengths)
        places += _COUNTING[:related] if related <= len(_COUNTING) else np.arange(related)
        # "clip" writes straight to where it belongs; every place is one of the index
        self.firsts.take(places, out=wide[4 * n + 2 :], mode="clip")
        narrow[:n] = self.columns[1]
        self.counts.take(places, out=narrow[n:], mode="clip")
        return memory, wide, narrow
