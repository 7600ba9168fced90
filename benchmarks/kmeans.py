"""k-means of tokens' hidden states against named peers: scikit-learn, in joblib's processes too, faiss, fastkmeans.

Each has two threads of computation, whichever way of using them is its quickest: scikit-learn two of its own, faiss two
of one each in Python's threads, joblib, fastkmeans and a build two processes, which are started before. faiss starts as
we do, by k-means++, and has its 25 iterations, as has fastkmeans, which starts from vectors drawn at random. Both are
left out where not installed. `faiss at equal inertia` is faiss with as many starts, its `nredo`, as bring its mean
inertia down to ours, found before and not timed: more iterations do not.

Tokens have up to 2,000 vectors, spread like Zipf's law: down to 33 at D = 576, to 100 at D = 4,096. They are made: a
token's senses lie in a space of few dimensions, with a little noise in all. `SENSEDICT_HARVEST` may name a folder with
`keys` and `vectors` in files *.safetensors, as a build's harvest has them, whose hidden states are then clustered too,
for inertia alone.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import joblib
import numpy as np
import torch
from common import Row, alternate, write
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from sensedict_server.build.clusters import Part, cut, senses_of
from sensedict_trainer.processes import Processes, one_thread, shared

COMMAND = "make bench-build"
SENSES, WORKERS, ROUNDS = 10, 2, 3
_LEAST, _MOST = 11, 2_000
_TOKENS = {576: 120, 4096: 40}
_STARTS = 16  # of faiss, at most
_RANK = 48  # of a token's vectors, but for the noise

Vectors = NDArray[np.float16]
Method = Callable[[Sequence[Vectors]], list[float]]


def rows() -> list[Row]:
    """`kmeans-D vs PEER` at D = 576 and 4,096 for each peer, in vectors clustered a second."""
    said = partial(print, file=sys.stderr)
    with one_thread(), Processes(WORKERS, senses_of.__module__, said) as pool:
        methods = peers()
        found = [row for dimension in _TOKENS for row in _compared(dimension, pool, methods)]
        folder = os.environ.get("SENSEDICT_HARVEST")
        if folder:
            tokens = harvested(Path(folder))
            _print_inertia(f"states of {folder}", tokens, ours(pool, laid(tokens)), methods)
    return found


def peers() -> dict[str, Method]:
    """The peers that are installed; says which are not."""
    optional: dict[str, Method] = {"faiss": in_threads, "fastkmeans": partial(in_processes, one=_fastkmeans)}
    missing = [name for name in optional if find_spec(name) is None]
    if missing:
        print(f"k-means: {' and '.join(missing)} not installed (extra `bench`): no rows", file=sys.stderr)
    found: dict[str, Method] = {"scikit-learn": scikit_learn, "joblib": in_processes}
    return found | {name: method for name, method in optional.items() if name not in missing}


def made(dimension: int, tokens: int, seed: int = 0) -> list[Vectors]:
    """Vectors of each token, (n, dimension), n from 2,000 down to 11 as its rank grows."""
    random = np.random.default_rng(seed)
    scales = 1 / np.arange(1, _RANK + 1) ** 0.5
    found = []
    for rank in range(1, tokens + 1):
        n = int(np.clip(2 * _MOST / rank, _LEAST, _MOST))
        senses = int(random.integers(3, 16))
        basis = random.normal(size=(_RANK, dimension)) * scales[:, None]
        weights = random.dirichlet(np.full(senses, 0.7))
        place = random.normal(size=(senses, _RANK))[random.choice(senses, size=n, p=weights)]
        within = 0.6 * random.normal(size=(n, _RANK))
        noise = 0.3 * random.normal(size=(n, dimension))
        found.append((random.normal(size=dimension) + (place + within) @ basis + noise).astype(np.float16))
    return found


def harvested(folder: Path) -> list[Vectors]:
    """Vectors of each token that has more than senses, (n, D), at most 2,000 each."""
    shards = [load_file(path) for path in sorted(folder.rglob("*.safetensors"))]
    keys = np.concatenate([shard["keys"] for shard in shards])
    vectors = np.concatenate([shard["vectors"] for shard in shards])[np.argsort(keys, kind="stable")]
    _, starts = np.unique(np.sort(keys), return_index=True)
    return [x[:_MOST] for x in np.split(vectors, starts[1:]) if len(x) >= _LEAST]


def laid(tokens: Sequence[Vectors]) -> list[tuple[Vectors, Part]]:
    """The vectors one after another, cut into parts, as a build has read them."""
    bounds = np.cumsum([0, *(len(x) for x in tokens)])
    vectors = shared(int(bounds[-1]), tokens[0].shape[1])
    np.concatenate(tokens, out=vectors)
    parts = cut(bounds, np.full(len(tokens), SENSES), range(len(tokens)), 1)
    return [(vectors[bounds[first] : bounds[first + len(part.numbers)]], part) for first, part in parts]


def ours(pool: Processes, parts: Sequence[tuple[Vectors, Part]]) -> list[float]:
    """Inertia of each token, as the stage of a build clusters them with two threads: all that it keeps comes back."""
    found: list[float] = []
    for (_, part), senses in zip(parts, pool.each(senses_of, parts), strict=True):
        sums = np.bincount(senses.tokens, senses.counts * senses.inertia.astype(np.float64))
        found += (sums / np.diff(part.bounds)).tolist()
    return found


def scikit_learn(tokens: Sequence[Vectors]) -> list[float]:
    """Inertia of each token by scikit-learn, one after another with two threads."""
    with threadpool_limits(WORKERS):
        return [of_scikit_learn(x, seed) for seed, x in enumerate(tokens)]


def in_processes(tokens: Sequence[Vectors], one: Callable[[Vectors, int], float] | None = None) -> list[float]:
    """Inertia of each token in two processes of one thread each, which joblib sees to; by scikit-learn if not told."""
    jobs = joblib.Parallel(n_jobs=WORKERS)
    found: list[float] = jobs(joblib.delayed(one or of_scikit_learn)(x, seed) for seed, x in enumerate(tokens))
    return found


def in_threads(tokens: Sequence[Vectors], starts: int = 1) -> list[float]:
    """Inertia of each token by faiss, the best of some starts, in two threads that have one of faiss's each."""
    import faiss

    with ThreadPoolExecutor(WORKERS, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(partial(_faiss, starts), tokens, range(len(tokens))))


def equal(tokens: Sequence[Vectors], inertia: float) -> int:
    """Starts with which faiss's mean inertia is no more than that; the most that are tried where it stays more."""
    return next((starts for starts in range(1, _STARTS) if fmean(in_threads(tokens, starts)) <= inertia), _STARTS)


def of_scikit_learn(x: Vectors, seed: int) -> float:
    """Inertia of a token by scikit-learn, ‖h − c‖² / D."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = KMeans(SENSES, n_init=1, random_state=seed).fit(x.astype(np.float32))
    return float(found.inertia_) / x.size


def _faiss(starts: int, x: Vectors, seed: int) -> float:
    import faiss

    vectors = x.astype(np.float32)
    found = faiss.Kmeans(
        x.shape[1],
        SENSES,
        seed=seed,
        nredo=starts,
        min_points_per_centroid=1,
        max_points_per_centroid=_MOST,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
    )
    found.train(vectors)
    distances, _ = found.index.search(vectors, 1)
    return float(distances.mean(dtype=np.float64)) / x.shape[1]


def _fastkmeans(x: Vectors, seed: int) -> float:
    from fastkmeans import FastKMeans

    torch.set_num_threads(1)
    vectors = x.astype(np.float32)
    found = FastKMeans(x.shape[1], SENSES, gpu=False, seed=seed)
    found.train(vectors)
    own = found.centroids[found.predict(vectors)]
    return float(np.square(vectors - own).mean(dtype=np.float64))


def _compared(dimension: int, pool: Processes, methods: dict[str, Method]) -> list[Row]:
    tokens = made(dimension, _TOKENS[dimension])
    total = sum(len(x) for x in tokens)
    mine = partial(ours, pool, laid(tokens))
    if "faiss" in methods:
        starts = equal(tokens, fmean(mine()))
        print(f"k-means D = {dimension}: `faiss at equal inertia` has {starts} starts", file=sys.stderr)
        methods = {**methods, "faiss at equal inertia": partial(in_threads, starts=starts)}
    found = []
    for name, peer in methods.items():
        mine()
        peer(tokens[-WORKERS:])  # starts processes, which stay, and imports
        seconds, theirs = alternate(mine, partial(peer, tokens), ROUNDS, rest=0.5)
        found.append(Row(f"kmeans-{dimension} vs {name}", total / seconds, total / theirs, "vectors/s", COMMAND))
    _print_inertia(f"made, D = {dimension}", tokens, mine(), methods)
    return found


def _print_inertia(name: str, tokens: Sequence[Vectors], mine: list[float], methods: dict[str, Method]) -> None:
    """The mean inertia over the tokens, and of each peer the mean of the ratio of ours to its own."""
    print(f"k-means {name}: {len(tokens)} tokens, inertia {fmean(mine):.5f}", file=sys.stderr)
    for peer, method in methods.items():
        theirs = method(tokens)
        ratio = fmean(a / b for a, b in zip(mine, theirs, strict=True))
        print(
            f"  {peer}: inertia {fmean(theirs):.5f}, ratio {fmean(mine) / fmean(theirs):.4f}, mean ratio {ratio:.4f}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    write("kmeans", rows())
