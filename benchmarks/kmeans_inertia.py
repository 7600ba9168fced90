"""Inertia of k-means on a real teacher's hidden states, token by token, against scikit-learn's, of three seeds each.

`SENSEDICT_HARVEST=FOLDER python benchmarks/kmeans_inertia.py`, where the folder is the store of a build, whose
`harvest` is read: every token of more different states than senses, at most 2,000 of each. A token's ratio is of the
means over seeds; what scikit-learn's own seeds differ by is told beside it. Two minutes for 3,000 tokens on an idle
core; `docs/build.md` has the figures.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from common import Row, write
from kmeans import SENSES, Vectors, harvested, of_scikit_learn
from numpy.typing import NDArray

from sensedict_trainer.cluster import cluster_each
from sensedict_trainer.processes import one_thread

COMMAND = "SENSEDICT_HARVEST=… python benchmarks/kmeans_inertia.py"
SEEDS = 3
_CLASSES = ((11, 2_000), (11, 19), (20, 99), (100, 256), (257, 499), (500, 2_000))  # states of a token

Floats = NDArray[np.float64]


def ours(tokens: Sequence[Vectors], seed: int) -> list[float]:
    """Mean ‖h − c‖² / D of each token."""
    found = cluster_each([torch.from_numpy(x) for x in tokens], SENSES, range(seed, seed + len(tokens)))
    return [float(one.distances.double().mean()) for one in found]


def scikit_learn(tokens: Sequence[Vectors], seed: int) -> list[float]:
    """The same by `KMeans(n_init=1)`, whose start is the greedy k-means++ too."""
    return [of_scikit_learn(x, number) for number, x in enumerate(tokens, seed)]


def rows(tokens: Sequence[Vectors]) -> Iterator[Row]:
    """The mean inertia of all tokens and of those of each class; the mean ratio with its standard error is printed."""
    seeds = range(0, SEEDS * len(tokens), len(tokens))
    mine, theirs = (np.array([method(tokens, seed) for seed in seeds]) for method in (ours, scikit_learn))
    sizes = np.array([len(x) for x in tokens])
    for least, most in _CLASSES:
        some = (sizes >= least) & (sizes <= most)
        ratio = _mean(mine[:, some].mean(axis=0) / theirs[:, some].mean(axis=0))
        own = _mean(theirs[0, some] / theirs[1, some])
        name = f"{least:,} to {most:,} states: {some.sum():,} tokens"
        print(f"{name}: mean ratio {ratio}, of two of scikit-learn's seeds {own}", file=sys.stderr)
        yield Row(name, float(mine[:, some].mean()), float(theirs[:, some].mean()), "inertia", COMMAND)


def _mean(values: Floats) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


def main() -> None:
    """Print and write the table."""
    folder = os.environ.get("SENSEDICT_HARVEST")
    if not folder:
        sys.exit("set SENSEDICT_HARVEST: the folder that a build was told as --work")
    with one_thread():
        tokens = [x for x in harvested(Path(folder) / "harvest") if len(np.unique(x, axis=0)) > SENSES]
        write("kmeans_inertia", list(rows(tokens)))


if __name__ == "__main__":
    main()
