"""The nearest senses of owners against a loop over every pair: ties, empty owners, owners of very many senses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sensedict import nearest
from sensedict.nearest import nearest_of_owners


def expected(
    queries: np.ndarray, vectors: np.ndarray, first: np.ndarray, count: np.ndarray, p: int
) -> list[list[tuple[int, float]]]:
    found = []
    for query, low, size in zip(queries.astype(np.float64), first.tolist(), count.tolist(), strict=True):
        apart = [float(((query - vectors[at].astype(np.float64)) ** 2).sum()) for at in range(low, low + size)]
        best = sorted(zip(apart, range(low, low + size), strict=True))[:p]
        found.append([(at, np.float32(square / queries.shape[1])) for square, at in best])
    return found


@pytest.mark.parametrize("largest", [3, 12, 130])  # 130 is more than are scored together
def test_nearest_of_owners_is_the_loops(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_NUMBERS", 40)  # a few rows at once: owners are cut apart
    random = np.random.default_rng(largest)
    for trial in range(25):
        dim, n, p = int(random.integers(1, 9)), int(random.integers(1, 30)), int(random.integers(1, 8))
        sizes = random.integers(0, largest + 1, 8)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        vectors = (random.integers(-2, 3, (int(starts[-1]) + 1, dim)) * random.choice([1.0, 0.3])).astype(np.float16)
        owners = random.integers(0, 8, n)
        first = np.where(sizes[owners] > 0, starts[owners], 0 if trial % 2 else starts[owners]).astype(np.uint32)
        count = sizes[owners].astype(np.uint16)
        queries = random.integers(-2, 3, (n, dim)).astype(np.float32)
        offsets, ids, distances = nearest_of_owners(queries, vectors, first, count, p)
        pairs = list(zip(ids.tolist(), distances, strict=True))
        rows = [pairs[start:stop] for start, stop in pairwise(offsets.tolist())]
        assert rows == expected(queries, vectors, first, count, p)
