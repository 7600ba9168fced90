"""How many training positions find their own hidden state among the senses that they are compared with.

A decoder's state at position i depends on `ids[:i + 1]` of its window alone, so two positions have the same state when
they have the same prefix (to rounding; states of different prefixes are taken for different, which those of one token
repeated from the start, `[7]` and `[7, 7]`, are not: attention averages equal values). A sense that is the mean
of one state *is* that state. In training a position is compared with the senses of its target, the token that follows
(DSKD §4.2); it finds its own state there when a sense of that token is the mean of states of the position's own prefix
and of no other. Senses of synonyms and antonyms are not looked at.

Prefixes are compared by 64-bit hashes. The hash is a sum of a random number for each (token, place), so two different
prefixes are taken for one with a chance of 2⁻⁶⁴: with 10⁸ positions and 10⁶ such senses, a single false find has a
chance of about 1 in 200,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.text import TokenWindow

_TOKENS = sequence_key(0, "", "leak tokens")


@dataclass(frozen=True)
class Leaks:
    """Positions of a text by how often the dictionary's corpus has their target as a key: 0, 1–9, 10–99, 100–999 …

    Attributes:
        positions: (m,) int64 positions that have a target.
        leaking: (m,) int64, those of them that find their own state.
    """

    positions: NDArray[np.int64]
    leaking: NDArray[np.int64]

    @property
    def share(self) -> float:
        """Of all positions, between 0 and 1."""
        return float(self.leaking.sum() / max(1, self.positions.sum()))

    def describe(self) -> list[str]:
        """What to print, a line each."""
        total, found = int(self.positions.sum()), int(self.leaking.sum())
        lines = [f"own state among the senses of the target: {found:,} of {total:,} positions ({self.share:.1%})"]
        for digits, (some, own) in enumerate(zip(self.positions.tolist(), self.leaking.tolist(), strict=True)):
            if some:
                times = f"{10 ** (digits - 1):,} to {10**digits - 1:,} times" if digits else "never"
                lines.append(f"  target in the corpus {times}: {own:,} of {some:,} ({own / some:.1%})")
        return lines


def prefix_hashes(ids: NDArray[np.integer]) -> NDArray[np.uint64]:
    """(T,) a hash of `ids[:i + 1]` for each position i of a window of tokens (T,).

    >>> a, b = prefix_hashes(np.array([5, 7, 9])), prefix_hashes(np.array([5, 7, 7, 9]))
    >>> (a[:2] == b[:2]).tolist(), bool(a[2] in b)
    ([True, True], False)
    """
    places = (ids.astype(np.int64) << 32) + np.arange(len(ids))
    return np.cumsum(mix(_TOKENS, places), dtype=np.uint64)  # modulo 2⁶⁴


def state_hashes(prefixes: NDArray[np.uint64], keys: NDArray[np.integer]) -> NDArray[np.uint64]:
    """(n,) a hash of a position's prefix and key.

    Args:
        prefixes: (n,) see `prefix_hashes`.
        keys: (n,) the token under which the position's state is kept, or looked for.
    """
    return mix(prefixes, keys)


def lone_states(hashes: NDArray[np.uint64], senses: NDArray[np.integer]) -> NDArray[np.uint64]:
    """(m,) rising: the hash of each sense whose states are all one.

    Args:
        hashes: (n,) of the states that were clustered, see `state_hashes`.
        senses: (n,) the sense that each is in.

    >>> lone_states(np.array([8, 8, 5, 6, 4], dtype=np.uint64), np.array([0, 0, 1, 1, 2])).tolist()
    [4, 8]
    """
    order = np.argsort(senses, kind="stable")
    numbers, sorted_hashes = senses[order], hashes[order]
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]]) if len(order) else order
    first = sorted_hashes[starts]
    least = np.minimum.reduceat(sorted_hashes, starts) if len(order) else first
    most = np.maximum.reduceat(sorted_hashes, starts) if len(order) else first
    return np.unique(first[least == most])


def find_leaks(ids: NDArray[np.integer], lone: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(T − 1,) whether each position of a window that has a target finds its own state among its target's senses.

    Args:
        ids: (T,).
        lone: (m,) rising, see `lone_states`.
    """
    wanted = state_hashes(prefix_hashes(ids[:-1]), ids[1:])
    if not len(lone):
        return np.zeros(len(wanted), dtype=np.bool_)
    places = np.minimum(np.searchsorted(lone, wanted), len(lone) - 1)
    found: NDArray[np.bool_] = lone[places] == wanted
    return found


def count_leaks(windows: Iterable[TokenWindow], lone: NDArray[np.uint64], occurrences: NDArray[np.integer]) -> Leaks:
    """Count over a text, one window at a time.

    Args:
        windows: as training cuts them; other windows have other prefixes.
        lone: (m,) rising, see `lone_states`.
        occurrences: (V,) how often the dictionary's corpus has each key.
    """
    digits = np.searchsorted(10 ** np.arange(19), occurrences, side="right")  # 0 → 0, 1–9 → 1, 10–99 → 2 …
    rows = int(digits.max(initial=0)) + 1
    positions, leaking = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for window in windows:
        row = digits[window.ids[1:]]
        positions += np.bincount(row, minlength=rows)
        leaking += np.bincount(row[find_leaks(window.ids, lone)], minlength=rows)
    return Leaks(positions, leaking)
