"""Senses that earlier generations of the corpus have settled, and sums of the hidden states that come after."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sensedict_server.build.workplace import Workplace

SUMS = ("sum_owners", "sum_ordinals", "sum_counts", "sum_squares", "sums")  # arrays of a shard of the harvest


class SettledSenses:
    """Senses of some keys, to each of which the states nearest to it are added up; memory holds 6·D bytes a sense.

    Args:
        owners: (n,) int32 rising, the key of each sense; ordinals: (n,) its place among that key's senses.
        centroids: (n, D) float16.
        vocabulary_size: V.
    """

    def __init__(
        self,
        owners: NDArray[np.int32],
        ordinals: NDArray[np.int16],
        centroids: NDArray[np.float16],
        vocabulary_size: int,
    ) -> None:
        self._owners, self._ordinals, self._centroids = owners, ordinals, centroids
        self._offsets = np.searchsorted(owners, np.arange(vocabulary_size + 1))
        self._counts = np.zeros(len(owners), dtype=np.int64)
        self._squares = np.zeros(len(owners), dtype=np.float64)
        self._sums = np.zeros(centroids.shape, dtype=np.float32)

    @classmethod
    def read(cls, workplace: Workplace, generation: int, keys: NDArray[np.int32], vocabulary_size: int) -> Self:
        """The senses of keys that were settled before a generation, from the shards of clusters.

        Raises:
            LostShard: a shard is damaged; it was taken out of the manifest.
            Unavailable: the store does not answer.
        """
        owners, ordinals, centroids = [], [], []
        for name, part in sorted(workplace.needed("plan").facts["cluster"].items()):
            inside = np.searchsorted(keys, [part["first_token"], part["end_token"]])
            if part["generation"] >= generation or inside[0] == inside[1]:
                continue
            found = workplace.read(name)
            starts = np.searchsorted(found["owners"], found["owners"])
            rows = np.flatnonzero(np.isin(found["owners"], keys))
            owners.append(found["owners"][rows])
            ordinals.append((rows - starts[rows]).astype(np.int16))
            centroids.append(found["vectors"][rows])
            workplace.advance(0)
        order = np.argsort(np.concatenate(owners), kind="stable")
        return cls(
            np.concatenate(owners)[order],
            np.concatenate(ordinals)[order],
            np.concatenate(centroids)[order],
            vocabulary_size,
        )

    def add(self, states: NDArray[np.float16], keys: NDArray[np.int32]) -> None:
        """Give each state (m, D) to the nearest sense of its key (m,)."""
        import torch

        from sensedict_trainer.streaming import accumulate

        found = accumulate(
            torch.from_numpy(states),
            torch.from_numpy(keys),
            torch.from_numpy(self._offsets),
            torch.from_numpy(self._centroids),
        )
        senses = found.senses.numpy()  # each once
        self._counts[senses] += found.counts.numpy()
        self._squares[senses] += found.squares.numpy()
        self._sums[senses] += found.sums.numpy()

    def tensors(self, settled: NDArray[np.int8]) -> dict[str, NDArray[Any]]:
        """What a shard of the harvest holds of senses that got any state, by generation, owner and ordinal.

        `sum_owners` (s,) int32, `sum_ordinals` (s,) int16, `sum_counts` (s,) int64, `sum_squares` (s,) float64 and
        `sums` (s, D) float32, see `sensedict_trainer.streaming.Sums`.
        """
        rows = np.flatnonzero(self._counts)
        rows = rows[np.argsort(settled[self._owners[rows]], kind="stable")]
        return {
            "sum_owners": self._owners[rows],
            "sum_ordinals": self._ordinals[rows],
            "sum_counts": self._counts[rows],
            "sum_squares": self._squares[rows],
            "sums": self._sums[rows],
        }
