"""The index of a dictionary as candidate sets are gathered from it: in memory, in the types that numpy gathers by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensedict.fileset import Index
from sensedict.nearest import ragged_offsets
from sensedict.source import CandidateSets, ItemError, Ranges


class Candidates:
    """Own, synonym and antonym senses by token; one row more than there are tokens, an empty one.

    It is a copy of the index, 6 bytes a range and 38 a token: a few MB, and never on a page that must be read from the
    disk first.
    """

    def __init__(self, index: Index) -> None:
        self._first = np.append(index.token_first, np.uint32(0))
        self._count = np.append(index.token_count, np.uint16(0))
        self._synonyms, self._antonyms = _Rows(index.synonyms), _Rows(index.antonyms)

    def owners(self, tokens: NDArray[np.integer]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """First senses and numbers of senses of the tokens (n,); of one outside the vocabulary 0 and 0."""
        rows = np.minimum(tokens, len(self._first) - 1)
        return self._first.take(rows), self._count.take(rows)

    def ranges(self, tokens: NDArray[np.uint32]) -> int:
        """How many ranges the answer for these tokens holds: what it costs, before it is made."""
        related = self._synonyms.lengths.take(tokens, mode="clip") + self._antonyms.lengths.take(tokens, mode="clip")
        return int(related.sum()) + len(tokens)

    def sets(self, tokens: NDArray[np.uint32], errors: tuple[ItemError, ...]) -> CandidateSets:
        """The candidate sets of the tokens (n,) in their order; `errors` are those outside the vocabulary."""
        rows = tokens.astype(np.intp)
        if errors:
            np.minimum(rows, len(self._first) - 1, out=rows)
        return CandidateSets(
            tokens,
            self._first.take(rows),
            self._count.take(rows),
            self._synonyms.gather(rows),
            self._antonyms.gather(rows),
            errors,
        )


class _Rows:
    """A ragged list of ranges by where each row begins and how long it is."""

    def __init__(self, ranges: Ranges) -> None:
        self._starts = ranges.offsets.astype(np.intp)
        self.lengths = np.append(np.diff(self._starts), 0)
        self._first, self._count = ranges.first.copy(), ranges.count.copy()

    def gather(self, rows: NDArray[np.intp]) -> Ranges:
        """The rows in the order asked for; no loop over tokens."""
        lengths = self.lengths.take(rows)
        offsets = ragged_offsets(lengths)
        places = np.repeat(self._starts.take(rows) - offsets[:-1], lengths)
        places += np.arange(len(places))
        return Ranges(offsets, self._first.take(places), self._count.take(places))
