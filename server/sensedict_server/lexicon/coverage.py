"""How much of a lexicon a tokenizer keeps: DSKD's Table 2, and the composed words of its Table 8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_TOKENS = 5  # Table 2 has one to five
COMPOSED = (2, 3)  # tokens of a word that is composed


@dataclass(frozen=True)
class Kept:
    """Relations by the number of tokens of their other word.

    Attributes:
        relations: seen from their heads, so a relation of two heads counts twice.
        shares: of them whose other word has at most 1, 2 … 5 tokens; empty where there are no relations.
    """

    relations: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class PaperKept:
    """Table 2 in per cent, as printed, and Table 8's word keys."""

    synonym: tuple[float, ...]
    antonym: tuple[float, ...]
    word_keys: int
    sense_keys: int


PAPER = {
    "Llama-3": PaperKept(
        (48.11, 82.22, 95.06, 98.54, 99.42), (60.09, 87.03, 97.86, 99.61, 99.91), word_keys=15_695, sense_keys=69_832
    ),
    "Mistral": PaperKept(
        (34.97, 72.39, 91.21, 96.96, 98.65), (41.48, 74.38, 93.96, 98.99, 99.68), word_keys=27_702, sense_keys=27_541
    ),
}
PAPER_PAIRS = {"synonym": 923_950, "antonym": 75_949}


def kept(pairs: NDArray[np.int64], tokens: NDArray[np.int64], heads: NDArray[np.bool_]) -> Kept:
    """Table 2's row of these relations: each counts from each of its ends that is a head (DSKD §3.3).

    >>> kept(np.array([[0, 1], [0, 2]]), np.array([1, 1, 2]), np.array([True, True, False]))
    Kept(relations=3, shares=(0.6666666666666666, 1.0, 1.0, 1.0, 1.0))

    Args:
        pairs: (n, 2), rows of `tokens`.
        tokens: (w,) how many tokens a word has; 0 where it has none that stand for it.
        heads: (w,) which words are heads.
    """
    others = _others(pairs, heads)
    relations = len(others)
    counts = np.bincount(tokens[others], minlength=MOST_TOKENS + 1)[1 : MOST_TOKENS + 1]
    shares = tuple(float(share) for share in np.cumsum(counts) / relations) if relations else ()
    return Kept(relations, shares)


def word_keys(pairs: NDArray[np.int64], tokens: NDArray[np.int64], heads: NDArray[np.bool_]) -> int:
    """How many words are composed: words of two or three tokens in a relation of a head (DSKD §3.3, Table 8).

    >>> word_keys(np.array([[0, 1], [0, 2]]), np.array([1, 1, 2]), np.array([True, True, False]))
    1
    """
    others = np.unique(_others(pairs, heads))
    return int(np.isin(tokens[others], COMPOSED).sum())


def _others(pairs: NDArray[np.int64], heads: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The other end of every relation, seen from each end that is a head."""
    first, second = pairs[:, 0], pairs[:, 1]
    return np.concatenate([second[heads[first]], first[heads[second]]])
