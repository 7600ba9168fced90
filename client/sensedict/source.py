"""What a trainer needs of a sense dictionary, wherever it is: `SenseClient` over HTTP, `Snapshot` over a file set.

A dictionary's senses are numbered densely in canonical order (owner, then cluster by falling count), so the senses of
one owner, a token or a word, are a range `first .. first + count`. Candidate sets travel as such ranges: six bytes a
neighbour word, whatever k is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Identity:
    """What makes a dictionary this one and no other; compared before any training step.

    Attributes:
        name, version: its address, `name@version`.
        teacher: name or folder of the teacher, as given to the build.
        teacher_hash: sha256 over the teacher's config and weights as stored (`sensedict_trainer.teacher.weights_hash`).
        tokenizer_hash: sha256 of the tokenizer's canonical form.
        vocabulary_size: width of the teacher's output head.
        dim: D, width of a sense vector.
        state_point: where hidden states were read, e.g. `final_norm`.
        key_policy: `next`, `predicted` or `input` (METHOD: Token senses).
        k: most senses a token has.
        senses: number of senses, ids run 0 .. senses - 1.
        content_hash: sha256 over the published vectors and index.
    """

    name: str
    version: str
    teacher: str
    teacher_hash: str
    tokenizer_hash: str
    vocabulary_size: int
    dim: int
    state_point: str
    key_policy: str
    k: int
    senses: int
    content_hash: str


@dataclass(frozen=True)
class Ranges:
    """A ragged list of sense-id ranges, one row a token.

    Attributes:
        offsets: (n + 1,) uint32; row i is `first[offsets[i]:offsets[i+1]]`.
        first: (m,) uint32, first sense id of each owner.
        count: (m,) uint16, number of senses of each owner.
    """

    offsets: NDArray[np.uint32]
    first: NDArray[np.uint32]
    count: NDArray[np.uint16]

    def row(self, i: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """First ids and counts of row i."""
        part = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        return self.first[part], self.count[part]


@dataclass(frozen=True)
class ItemError:
    """Why one item of a bulk request has no answer; its row is empty."""

    index: int
    code: str
    detail: str


@dataclass(frozen=True)
class CandidateSets:
    """Senses of some tokens, of their synonyms and of their antonyms (DSKD §4.2), in the order asked for.

    Attributes:
        tokens: (n,) uint32, as asked for.
        own_first: (n,) uint32; own_count: (n,) uint16, 0 where the token has no senses.
        synonyms, antonyms: one row a token, one range a neighbour word; all neighbours that have senses and are
            usable in training, in order of the word's id. Cutting them to 25 is the caller's draw.
        errors: items without an answer (token outside the vocabulary).
    """

    tokens: NDArray[np.uint32]
    own_first: NDArray[np.uint32]
    own_count: NDArray[np.uint16]
    synonyms: Ranges
    antonyms: Ranges
    errors: tuple[ItemError, ...] = ()


@dataclass(frozen=True)
class NearestSenses:
    """The p nearest senses of each vector, nearest first.

    Attributes:
        offsets: (n + 1,) uint32, a row may hold fewer than p where its owner has fewer senses.
        ids: (m,) uint32.
        distances: (m,) float32, ‖a − b‖² / D (METHOD: d²).
        errors: items without an answer.
        p: as asked for.
        search: `exact` or `approximate`, whichever was used.
    """

    offsets: NDArray[np.uint32]
    ids: NDArray[np.uint32]
    distances: NDArray[np.float32]
    errors: tuple[ItemError, ...] = ()
    p: int = 0
    search: str = "exact"

    @property
    def short(self) -> NDArray[np.bool_]:
        """(n,) whether fewer than p came out."""
        return self.offsets[1:] - self.offsets[:-1] < self.p


class SenseSource(Protocol):
    """Bulk reads of one published dictionary. Implementations are safe to use from several threads."""

    @property
    def identity(self) -> Identity:
        """The dictionary that answers; fixed for the life of the source, whatever its alias does meanwhile."""

    def candidate_sets(self, tokens: NDArray[np.integer]) -> CandidateSets:
        """Own, synonym and antonym senses of each token id.

        Args:
            tokens: (n,) integers; n ≥ 1; repeats allowed.
        """

    def get_senses(self, ids: NDArray[np.integer]) -> NDArray[np.float16]:
        """(n, D) float16 vectors of the sense ids, in order. Raises `SenseNotFound` when an id is out of range."""

    def nearest_senses(
        self, vectors: NDArray[np.floating], p: int, tokens: NDArray[np.integer] | None = None
    ) -> NearestSenses:
        """The p nearest senses of each vector, of its owner token where `tokens` is given, else of the dictionary.

        Args:
            vectors: (n, D), finite.
            p: 1 ≤ p ≤ the limit published at `/v1/limits`.
            tokens: (n,) owner of each vector, or None.
        """

    def close(self) -> None:
        """Give back what is held."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
