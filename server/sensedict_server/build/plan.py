"""What a build is made with and what it will do: settings, and the plan that is made of them and the corpus."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.relations import ANTONYM_TYPES, SYNONYM_TYPES

if TYPE_CHECKING:
    from sensedict_trainer.harvest import KeyPolicy


Mode = Literal["exact", "streaming"]
Allocation = Literal["fixed", "adaptive"]


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class BuildSettings:
    """What decides the dictionary that a build makes, and where.

    Attributes:
        teacher: folder or hub name; dtype: of its weights as run.
        corpus: text files and folders, and `datasets:` names; tokens: how much of it is read, None for all.
        lexicon: name@version.
        name, version: what it is published as; draft: it is left a draft, for an administrator to publish.
        k: most senses a token has, the same bound for all where `allocation` is `fixed`.
        allocation: `adaptive` gives each token as many of `k_most` as lower the corpus' inertia most, `budget` in all
            (None for as many as `fixed` would make).
        key: `next`, `predicted` or `input`; state_point: `final_norm` or `layer:N`, where hidden states are read.
        cap: most hidden states kept of one token.
        mode: `exact` clusters the kept states; `streaming` the `first` of a token, and later ones move the means.
        window: tokens a window; seed: of every choice.
        contexts: example passages stored a sense; 0 for none.
        synonym_types, antonym_types: types of relations that training takes for synonymy and antonymy.
        training_text: text that a student will be trained on, whose own states among the senses are to be reported.
        device: where the teacher runs.
        batch_size: windows a forward pass; threads: of torch in every worker. Another number rounds otherwise.
        memory: most bytes of a process beside the teacher's weights, for what grows with the corpus; decides how the
            work is cut.
    """

    teacher: str
    corpus: tuple[str, ...]
    lexicon: str
    name: str
    version: str
    tokens: int | None = None
    k: int = 10
    key: KeyPolicy = "next"
    cap: int = 2000
    window: int = 256
    seed: int = 0
    contexts: int = 3
    synonym_types: tuple[str, ...] = SYNONYM_TYPES
    antonym_types: tuple[str, ...] = ANTONYM_TYPES
    dtype: str = "float32"
    device: str = "cpu"
    batch_size: int = 8
    state_point: str = "final_norm"
    mode: Mode = "exact"
    first: int = 500
    allocation: Allocation = "fixed"
    k_most: int = 50
    budget: int | None = None
    training_text: tuple[str, ...] = ()
    threads: int = field(default_factory=cores)
    memory: int = 2_000_000_000
    draft: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the database keeps them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """The settings that `to_json` wrote; a setting that is not there has its default.

        Raises:
            InvalidInput: a setting that this version does not know, or none of those that have no default.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidInput(f"settings of another version of sensedict: {error}") from error


@dataclass(frozen=True)
class HarvestPart:
    """A shard of the harvest: windows of one generation of the corpus.

    Attributes:
        first_window, windows, tokens: which, and how many; run_tokens: of those windows that the teacher reads.
        stored: hidden states that are kept.
        summed: those that only move the mean of a sense; summed_keys: of so many tokens.
    """

    generation: int
    first_window: int
    windows: int
    tokens: int
    run_tokens: int
    stored: int
    summed: int
    summed_keys: int


@dataclass(frozen=True)
class ClusterPart:
    """A shard of clusters: the tokens `first_token .. end_token` whose senses are settled in a generation.

    Attributes:
        states: hidden states kept of them; an estimate where only the teacher knows the keys.
    """

    generation: int
    first_token: int
    end_token: int
    states: int


@dataclass(frozen=True)
class BuildPlan:
    """The positions of a corpus whose hidden states are kept, and how the work is cut into shards.

    Attributes:
        occurrences: (V,) int64, uses of each key; −1 where only the teacher knows the keys.
        thresholds: (V,) uint64; of a key, positions of a priority up to that are kept.
        settled: (V,) int8, generation of the corpus whose states are the last that a key's senses are made of, those of
            later ones only move their means; −1 of a key that has no use.
        stored: (V,) int64, hidden states kept of each key; −1 where only the teacher knows the keys.
        draws: (w,) uint64, see `Windows`; lengths: (w,) int32, tokens of each window.
        run: (w,) which windows the teacher reads: those with a state that is kept or summed.
        harvest, cluster: shards by name, in their order.
        generations: of the corpus; one in the mode `exact`.
        corpus_hash: sha256 over the windows' names and tokens.
    """

    occurrences: NDArray[np.int64]
    thresholds: NDArray[np.uint64]
    settled: NDArray[np.int8]
    stored: NDArray[np.int64]
    draws: NDArray[np.uint64]
    lengths: NDArray[np.int32]
    run: NDArray[np.bool_]
    harvest: Mapping[str, HarvestPart]
    cluster: Mapping[str, ClusterPart]
    generations: int
    corpus_hash: str

    @property
    def tokens(self) -> int:
        """Tokens of the corpus."""
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def kept(self) -> int:
        """Hidden states that will be kept."""
        return sum(part.stored for part in self.harvest.values())

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """What the file of the shard `plan` holds."""
        return {
            "occurrences": self.occurrences,
            "thresholds": self.thresholds,
            "settled": self.settled,
            "stored": self.stored,
            "window_keys": self.draws,
        }

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it; JSON values. `hash` is of all of them and of the tensors."""
        found: dict[str, Any] = {
            "harvest": {name: vars(part) for name, part in self.harvest.items()},
            "cluster": {name: vars(part) for name, part in self.cluster.items()},
            "generations": self.generations,
            "corpus_hash": self.corpus_hash,
            "tokens": self.tokens,
        }
        digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode())
        for tensor in self.to_tensors().values():
            digest.update(np.ascontiguousarray(tensor).data)
        return {**found, "hash": digest.hexdigest()}
