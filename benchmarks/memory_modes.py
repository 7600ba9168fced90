"""How senses made in bounded memory fit unseen text: all kept states clustered, or the first ones and running means.

`python benchmarks/memory_modes.py`, with the settings of `hidden_states.py`: about 10 minutes for the teacher's pass,
then 4. The numbers are told in `docs/memory-modes.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from common import Row, write
from hidden_states import NOTHING, SEED, WINDOW, Floats, States, documents, load, nearest, ratio, teacher
from numpy.typing import NDArray
from torch import Tensor

from sensedict_trainer.cluster import cluster
from sensedict_trainer.hashing import mix
from sensedict_trainer.reservoir import keep
from sensedict_trainer.streaming import accumulate, settle, settled_at
from sensedict_trainer.text import cut_windows

COMMAND = "python benchmarks/memory_modes.py"
K, ROUNDS = 10, 3
PAPER = 100_000_000  # tokens
_CLASSES = (500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Uses:
    """All states of one key in text order, when each of them came, and how it was drawn."""

    states: Tensor  # (n, D) float16
    places: Numbers  # (n,) in the corpus
    point: Numbers  # (n,) 0 in the first eighth of the corpus, 1 up to 1/4, 2 up to 1/2, 3 after

    def lowest(self, most: int, seed: int, until: int = 3) -> Numbers:
        """Rows of the states of lowest priority among those up to a point of the corpus."""
        rows = np.flatnonzero(self.point <= until)
        return np.sort(rows[np.argsort(mix(np.uint64(seed), self.places[rows]), kind="stable")[:most]])


@dataclass(frozen=True)
class Sizes:
    """Of one key: states kept by the exact mode, and by the others before means run."""

    cap: int = 2000
    first: int = 500


Numbers = NDArray[np.int64]
Mode = Callable[[Uses, Sizes, int], Tensor]


def exact(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """A sample of all uses, clustered."""
    return cluster(uses.states[uses.lowest(sizes.cap, seed)], K, seed).centroids


def small_sample(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """The same with as few states as the running means keep."""
    return cluster(uses.states[uses.lowest(sizes.first, seed)], K, seed).centroids


def streaming(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """A sample of the text up to a doubling point, clustered; then running means against senses that stand still."""
    until = _settled_at(uses, sizes)
    return _running(uses, uses.lowest(sizes.first, seed, until), [np.flatnonzero(uses.point > until)], seed)


def streaming_moved(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """The same, but the senses move to the means so far at each doubling point."""
    until = _settled_at(uses, sizes)
    later = [np.flatnonzero(uses.point == point) for point in range(until + 1, 4)]
    return _running(uses, uses.lowest(sizes.first, seed, until), later, seed)


def first_then_means(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """The first states in the text's order, clustered; then running means against senses that stand still."""
    return _running(uses, np.arange(sizes.first), [np.arange(sizes.first, len(uses.states))], seed)


def first_alone(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """The first states in the text's order, clustered; later ones are not read."""
    return cluster(uses.states[: sizes.first], K, seed).centroids


def sequential(uses: Uses, sizes: Sizes, seed: int) -> Tensor:
    """The first states, clustered; then each state moves the sense nearest to it at that moment (MacQueen 1967)."""
    found = cluster(uses.states[: sizes.first], K, seed)
    middle = found.centroids.mean(dim=0)
    senses = (found.centroids - middle).double().numpy()
    counts = found.counts.double().numpy()
    squares = (senses * senses).sum(axis=1)
    for state in (uses.states[sizes.first :].float() - middle).double().numpy():
        own = int((squares - 2 * (senses @ state)).argmin())
        counts[own] += 1
        senses[own] += (state - senses[own]) / counts[own]
        squares[own] = senses[own] @ senses[own]
    return torch.from_numpy(senses).float() + middle


MODES: dict[str, Mode] = {
    "exact": exact,
    "streaming": streaming,
    "streaming, moved at points": streaming_moved,
    "first, then running means": first_then_means,
    "first, then sequential": sequential,
    "first alone": first_alone,
    "small sample of all": small_sample,
}


def _settled_at(uses: Uses, sizes: Sizes) -> int:
    cumulative = np.cumsum(np.bincount(uses.point, minlength=4))[:, None]
    return int(settled_at(cumulative, sizes.first)[0])


def _running(uses: Uses, stored: Numbers, later: Sequence[Numbers], seed: int) -> Tensor:
    """Senses of the stored states, moved after each of the later lots."""
    clusters = cluster(uses.states[stored], K, seed)
    offsets = torch.tensor([0, len(clusters.counts)])
    senses, counts, inertia = clusters.centroids, clusters.counts, clusters.inertia
    for rows in later:
        sums = accumulate(uses.states[rows], torch.zeros(len(rows), dtype=torch.int64), offsets, senses)
        found = settle(senses, counts, inertia, offsets, sums)
        senses, counts, inertia = found.centroids, found.counts, found.inertia
    return senses


def uses_of(corpus: States, least: int) -> Iterator[tuple[int, Uses]]:
    """(key, its uses) of keys `next` with enough of them."""
    places = np.arange(len(corpus.tokens))
    point = np.searchsorted(np.array([1 / 8, 1 / 4, 1 / 2]) * len(places), places, "right")
    order = np.argsort(corpus.following, kind="stable")
    keys, starts = np.unique(corpus.following[order], return_index=True)
    for key, rows in zip(keys.tolist(), np.split(order, starts[1:]), strict=True):
        if key != NOTHING and len(rows) >= least:
            yield key, Uses(torch.from_numpy(corpus.vectors[rows]), rows, point[rows])


@dataclass(frozen=True)
class Measured:
    """Squared distances of held-out positions, of frequent keys alone.

    Attributes:
        distances: (modes, p) d² to the nearest own sense, mean over the rounds.
        rounds: (modes, rounds) mean over the positions of each round.
        occurrences: (p,) uses that the corpus had of the position's key.
        documents: (p,) whose text it is.
    """

    distances: Floats
    rounds: Floats
    occurrences: Numbers
    documents: NDArray[np.int32]


def measure(corpus: States, texts: Sequence[States], sizes: Sizes, least: int) -> list[Measured]:
    """Build the senses of every frequent key by each mode, and measure them where the teacher has read other text."""
    found: list[list[Floats]] = [[] for _ in texts]  # by text: a part (modes, rounds, p) for each key
    counts: list[list[Numbers]] = [[] for _ in texts]
    rows: list[list[Numbers]] = [[] for _ in texts]
    for key, uses in uses_of(corpus, least):
        senses = [[mode(uses, sizes, SEED + round_) for round_ in range(ROUNDS)] for mode in MODES.values()]
        for text, parts, used, where in zip(texts, found, counts, rows, strict=True):
            at = np.flatnonzero(text.following == key)
            states = torch.from_numpy(text.vectors[at])
            parts.append(np.array([[nearest(states, each) for each in rounds] for rounds in senses]))
            used.append(np.full(len(at), len(uses.states)))
            where.append(at)
    return [
        Measured(
            distances=np.concatenate(parts, axis=2).mean(axis=1),
            rounds=np.concatenate(parts, axis=2).mean(axis=2),
            occurrences=np.concatenate(used),
            documents=text.documents[np.concatenate(where)],
        )
        for text, parts, used, where in zip(texts, found, counts, rows, strict=True)
    ]


def compared(name: str, corpus: States, texts: Mapping[str, States], sizes: Sizes, least: int) -> list[Row]:
    """Print modes against `exact`, on each text and by how often a key occurs; gives a row for each mode and text."""
    print(f"\n# {name}: {sizes}, keys of {least} uses or more")
    rows = []
    for where, found in zip(texts, measure(corpus, list(texts.values()), sizes, least), strict=True):
        base = found.distances[0]
        classes = {f"{least}+": found.occurrences >= least}
        edges = sorted({least, *(edge for edge in _CLASSES if edge > least)})
        for low, high in pairwise([*edges, np.inf]):
            classes[f"{low:g}–{high:g}"] = (found.occurrences >= low) & (found.occurrences < high)
        print(f"\n## {where}: {len(np.unique(found.documents))} documents; positions", end=" ")
        print(", ".join(f"{label}: {inside.sum():,}" for label, inside in classes.items()))
        for place, mode in enumerate(MODES):
            ours = found.distances[place]
            print(
                f"{mode:26} d² {ours.mean():.4f} ({' '.join(f'{value:.4f}' for value in found.rounds[place])})", end=""
            )
            shares = [ratio(ours[inside], base[inside], found.documents[inside]) for inside in classes.values()]
            print("".join(f"; {share:.4f} [{low:.4f}, {high:.4f}]" for share, low, high in shares))
            if place:
                row = f"{name}, {where}: {mode} vs exact"
                rows.append(Row(row, float(ours.mean()), float(base.mean()), "held-out d²", COMMAND))
    return rows


def by_source(corpus: States) -> States:
    """The same documents, encyclopaedias first and textbooks last: text that drifts."""
    books = np.array(["openstax" in document.id for document in documents("train.jsonl.xz")])
    return corpus[np.argsort(books[corpus.documents], kind="stable")]


def storage(dimension: int) -> list[Row]:
    """Print what the modes keep of the whole corpus, and would keep of the paper's 100M tokens.

    A key's uses grow in proportion to the text; keys that the corpus does not have are left out. How far that goes is
    seen by predicting the whole corpus from its first sixteenth.
    """
    windows = cut_windows(documents("train.jsonl.xz"), teacher().tokenizer, WINDOW)
    keys = np.concatenate([window.ids[1:] for window in windows])
    number = np.repeat(np.arange(len(windows)), [len(window.ids) - 1 for window in windows])
    counts, sixteenth = np.bincount(keys), np.bincount(keys[: len(keys) // 16])
    growth = PAPER / len(keys)
    print(f"\n## kept, D = {dimension}: {len(keys):,} positions of {np.count_nonzero(counts):,} keys")
    sizes = Sizes()
    for what, uses, factor in (
        ("a sixteenth", sixteenth, 1.0),
        ("predicted from the sixteenth", sixteenth, 16.0),
        ("all", counts, 1.0),
        ("100M", counts, growth),
    ):
        many, few = (float(np.minimum(uses * factor, most).sum()) for most in (sizes.cap, sizes.first))
        settled = K * np.count_nonzero(uses * factor > sizes.first)
        print(
            f"{what:28} exact {many:13,.0f} states {many * 2 * dimension / 1e9:7.2f} GB; streaming {few:13,.0f} states "
            f"{few * 2 * dimension / 1e9:6.2f} GB and {settled:,} sums {settled * (4 * dimension + 24) / 1e9:6.3f} GB"
        )
    for what, most in (("all", sizes.cap), ("100M", round(sizes.cap / growth))):
        kept = keep(keys, mix(np.uint64(SEED), np.arange(len(keys))), most)
        share = len(np.unique(number[kept])) / len(windows)
        print(f"{what:28} exact reads {share:.4f} of the windows ({kept.mean():.3f} of the positions are kept)")
    many, few = (float(np.minimum(counts * growth, most).sum()) * 2 * dimension for most in (sizes.cap, sizes.first))
    few += K * np.count_nonzero(counts * growth > sizes.first) * (4 * dimension + 24)
    return [Row("bytes at 100M tokens: streaming vs exact", few, many, "bytes", COMMAND)]


def touched(corpus: States, least: int = 50) -> None:
    """Print how many senses a stretch of text adds to: what a shard of running sums has to store."""
    senses = np.full(len(corpus.tokens), -1)
    offset = 0
    for key, uses in uses_of(corpus, least):
        found = cluster(uses.states[uses.lowest(2000, SEED)], K, SEED)
        middle = found.centroids.mean(dim=0)
        labels = torch.cdist(uses.states.float() - middle, found.centroids - middle).argmin(dim=1)
        senses[corpus.following == key] = offset + labels.numpy()
        offset += len(found.counts)
    print(f"\n## senses touched, keys of {least} uses or more: {(senses >= 0).mean():.3f} of the positions, {offset:,}")
    for length in (16_384, 65_536, 262_144, len(senses)):
        some = [part[part >= 0] for part in np.split(senses, range(length, len(senses), length)) if len(part) == length]
        states, distinct = np.mean([(len(part), len(np.unique(part))) for part in some], axis=0).tolist()
        print(f"{length:7,} tokens: {states:9,.0f} states, {distinct:7,.0f} senses, {distinct / states:.3f} a state")


def main() -> None:
    """All tables; the rows are those of the real sizes."""
    corpus = load("corpus")
    texts = {"same source": load("near"), "other encyclopaedia": load("far")}
    rows = []
    for name, text in (("corpus order", corpus), ("by source", by_source(corpus))):
        rows += compared(name, text, texts, Sizes(), 500)
        compared(f"{name}, a quarter of the sizes", text, texts, Sizes(cap=500, first=125), 125)
    rows += storage(corpus.vectors.shape[1])
    touched(corpus)
    write("memory_modes", rows)


if __name__ == "__main__":
    main()
