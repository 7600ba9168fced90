"""What the stages of a build hand to `publish`: a whole dictionary in arrays, before it is in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenSenses:
    """Senses of the vocabulary's tokens, owners in rising token id, each owner's senses by falling count.

    Attributes:
        texts: V token texts, as a person would read them (`" cat"`, not `"Ġcat"`).
        occurrences: (V,) int64, times the corpus had this key, kept or not.
        offsets: (V + 1,) int64; token t owns the senses `offsets[t] .. offsets[t + 1]`.
        vectors: (n, D) float16.
        counts: (n,) int64, hidden states in each cluster.
        inertia: (n,) float32, mean ‖h − c‖² / D over the cluster.
        contexts: (text, start, end) triples a sense, at most a few; empty where they are off.
    """

    texts: list[str]
    occurrences: NDArray[np.int64]
    offsets: NDArray[np.int64]
    vectors: NDArray[np.float16]
    counts: NDArray[np.int64]
    inertia: NDArray[np.float32]
    contexts: Sequence[Sequence[tuple[str, int, int]]]


@dataclass(frozen=True)
class WordSenses:
    """Every word of the lexicon's relations under this tokenizer, in rising word id (DSKD §3.3).

    Attributes:
        word_ids: (w,) int64, ids of the table `words`.
        token_ids: the word's tokens as it stands inside a sentence.
        offsets: (w + 1,) int64 into `vectors`, relative; empty for a word of one token (it has that token's senses) and
            for a word without senses.
        vectors: (n, D) float16, composed senses.
        reasons: why a word has no senses (`too many tokens`, `token without senses: ' xyz'`); None where it has some.
    """

    word_ids: NDArray[np.int64]
    token_ids: list[tuple[int, ...]]
    offsets: NDArray[np.int64]
    vectors: NDArray[np.float16]
    reasons: list[str | None]


@dataclass(frozen=True)
class Draft:
    """A dictionary that is ready to be published.

    Attributes:
        name, version: where it will be found.
        lexicon_id: row of `lexicons`; must be published.
        teacher, teacher_hash, tokenizer_hash, state_point, key_policy, k: see `sensedict.source.Identity`.
        settings: everything else that decided the result (corpus, seed, window, cap, dtype, versions): JSON.
    """

    name: str
    version: str
    lexicon_id: int
    teacher: str
    teacher_hash: str
    tokenizer_hash: str
    state_point: str
    key_policy: str
    k: int
    tokens: TokenSenses
    words: WordSenses
    settings: dict[str, Any] = field(default_factory=dict)
