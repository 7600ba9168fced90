"""The vectors that words are compared by: a dictionary's senses, their mean, and the teacher's input embeddings.

Hidden states of a decoder share a large common part, so that any two have a high cosine; it is taken off (Mu and
Viswanath 2018): the mean of the dictionary's senses from senses and states, that of the vocabulary from embeddings.
Distances between states and senses stay as they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict_trainer.sense_quality.owners import Owner, Spellings

if TYPE_CHECKING:
    from sensedict.source import SenseSource
    from sensedict_trainer.teacher import Teacher

Vectors = NDArray[np.float32]
_MEAN_OF = 20_000  # senses, chosen by seed: the mean of D numbers is known well by then
_CACHED = 4096  # owners and words whose vectors are kept: 670 MB at D = 4096 and k = 10


class SenseBook:
    """Senses of tokens and words, less their common part.

    Attributes:
        mean: (D,) float32, the mean of the dictionary's senses.
    """

    def __init__(self, source: SenseSource, spellings: Spellings, teacher: Teacher) -> None:
        self._source, self._spellings, self._teacher = source, spellings, teacher
        number = source.identity.senses
        chosen = np.sort(np.random.default_rng(0).permutation(number)[:_MEAN_OF])
        self.mean: Vectors = source.get_senses(chosen).astype(np.float32).mean(axis=0)
        sets = source.candidate_sets(np.arange(source.identity.vocabulary_size, dtype=np.uint32))
        self._first, self._count = sets.own_first, sets.own_count
        self._embeddings: Tensor = teacher.model.get_input_embeddings().weight.detach()
        self._embeddings_mean = self._embeddings.mean(dim=0, dtype=torch.float32)
        # the caches are of this object, and go with it
        self.of_word = lru_cache(maxsize=None)(self._spellings.find)
        self.senses = lru_cache(maxsize=_CACHED)(self._senses)
        self.centroid = lru_cache(maxsize=_CACHED)(self._centroid)
        self.embedding = lru_cache(maxsize=_CACHED)(self._embedding)

    def of_token(self, token: int) -> Owner | None:
        """The token, where it has senses."""
        count = int(self._count[token])
        return Owner(int(self._first[token]), count, token) if count else None

    def embedding_of(self, tokens: tuple[int, ...]) -> Vectors:
        """(D,) the mean of the tokens' input embeddings."""
        mean = self._embeddings[list(tokens)].mean(dim=0, dtype=torch.float32) - self._embeddings_mean
        vector: Vectors = mean.cpu().numpy()
        return vector

    def nearest(self, state: Vectors, owner: Owner) -> int:
        """The id of the owner's sense at the least d² from a state (D,) that has the mean taken off."""
        return owner.first + int(np.square(self.senses(owner) - state).sum(axis=1).argmin())

    def sense(self, id: int, owner: Owner) -> Vectors:
        """(D,) one of the owner's senses, by its id."""
        vector: Vectors = self.senses(owner)[id - owner.first]
        return vector

    def _senses(self, owner: Owner) -> Vectors:
        """(count, D) float32 of an owner."""
        found = self._source.get_senses(np.arange(owner.first, owner.first + owner.count))
        vectors: Vectors = found.astype(np.float32) - self.mean
        return vectors

    def _centroid(self, owner: Owner) -> Vectors:
        """(D,) the mean of all states of a token, from its senses; of a composed word the mean of its senses."""
        uses = self._spellings.uses(owner)
        mean: Vectors = np.average(self.senses(owner), axis=0, weights=uses if uses.any() else None).astype(np.float32)
        return mean

    def _embedding(self, word: str) -> Vectors:
        """(D,) the mean input embedding of a word as it stands inside a sentence."""
        plain = self._teacher.tokenizer(f" {word}", add_special_tokens=False, verbose=False)["input_ids"]
        return self.embedding_of(tuple(plain))


def cosine(a: Vectors, b: Vectors) -> float:
    """The cosine of two vectors (D,); 0 where one has no length."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0


def cosines(a: Vectors, b: Vectors) -> Vectors:
    """(m, n) cosines of the rows of (m, D) and (n, D)."""
    unit_a, unit_b = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (a, b))
    product: Vectors = unit_a @ unit_b.T
    return product
