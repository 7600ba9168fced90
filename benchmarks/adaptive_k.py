"""Fixed against adaptive numbers of senses at the same size of the dictionary: on unseen text, and on words in context.

`python benchmarks/adaptive_k.py`, with the settings of `hidden_states.py`: about 10 minutes for the teacher's passes,
which `memory_modes.py` shares, then 10. The numbers are told in `docs/adaptive-k.md`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from common import Row, write
from hidden_states import NOTHING, SEED, Floats, States, data, kept, load, nearest, ratio, read
from numpy.typing import NDArray
from torch import Tensor

from sensedict_trainer.allocation import allocate, curve, grid, pooled, sample
from sensedict_trainer.cluster import cluster
from sensedict_trainer.hashing import mix
from sensedict_trainer.reservoir import keep
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow

COMMAND = "python benchmarks/adaptive_k.py"
CAP, BOUND, BOUNDS = 2000, 32, (12, 20, 32, 50, 128)
BUDGETS = (10, 5, 2)  # as many senses as this fixed k has
CHOSEN = "held out, sample"  # of the criteria, by held-out text of the same source
_BETWEEN = tuple(pairwise((1, 5, 20, 100, 500, np.inf)))
_LEAST = 11  # uses of a word in context: with as few as senses nothing was clustered

Numbers = NDArray[np.int64]


@dataclass
class Corpus:
    """The states of each key, and their clusters, made once for each k that somebody asks for.

    Attributes:
        keys: (V,) rising; occurrences: (V,) of each.
        states: (≤ CAP, D) float16 of each.
    """

    keys: NDArray[np.int32]
    occurrences: Numbers
    states: list[Tensor]
    _made: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def kept(self) -> Numbers:
        """(V,) states of each key."""
        return np.array([len(states) for states in self.states])

    def senses(self, place: int, k: int) -> Tensor:
        """(≤ k, D) float16, as a dictionary stores them."""
        found = self._made.get((place, k))
        if found is None:
            found = self._made[place, k] = cluster(self.states[place], k, SEED).centroids.half()
        return found

    def distances(self, held_out: States, numbers: Numbers) -> Floats:
        """(n,) d² of held-out states to the nearest sense of their key, NaN for keys that the corpus lacks."""
        found = np.full(len(held_out.following), np.nan)
        order = np.argsort(held_out.following, kind="stable")
        keys, starts = np.unique(held_out.following[order], return_index=True)
        places = np.searchsorted(self.keys, keys)
        for key, place, rows in zip(keys.tolist(), places.tolist(), np.split(order, starts[1:]), strict=True):
            if place < len(self.keys) and self.keys[place] == key:
                states = torch.from_numpy(held_out.vectors[rows])
                found[rows] = nearest(states, self.senses(place, int(numbers[place])).float())
        return found


def gather(states: States) -> Corpus:
    """The states of each key `following`."""
    rows = np.flatnonzero(states.following != NOTHING)
    keys, occurrences = np.unique(states.following[rows], return_counts=True)
    rows = rows[keep(states.following[rows], mix(np.uint64(SEED), rows), CAP)]
    rows = rows[np.argsort(states.following[rows], kind="stable")]
    starts = np.searchsorted(states.following[rows], keys)
    return Corpus(keys, occurrences, [torch.from_numpy(states.vectors[part]) for part in np.split(rows, starts[1:])])


def in_sample(corpus: Corpus, numbers: Sequence[int], corrected: bool) -> Floats:
    """(V, G) inertia of each key's states about their own k centroids, NaN where k ≥ n.

    Corrected, it is multiplied by (n + k) / (n − k): for each of k means fitted, one state less on either side.
    """
    found = np.full((len(corpus.keys), len(numbers)), np.nan)
    for place, states in enumerate(corpus.states):
        for column, k in enumerate(numbers):
            if k < len(states) or (k == len(states) and not corrected):
                inertia = float(nearest(states, corpus.senses(place, k).float()).mean())
                found[place, column] = inertia * ((len(states) + k) / (len(states) - k) if corrected else 1)
    return found


def curves_of(corpus: Corpus, numbers: Sequence[int], every: bool) -> Floats:
    """(V, G) held-out curves of all keys, or of a sample."""
    found = np.full((len(corpus.keys), len(numbers)), np.nan)
    for place in range(len(corpus.keys)) if every else np.flatnonzero(sample(corpus.kept, SEED)).tolist():
        found[place] = curve(corpus.states[place], numbers, SEED + int(corpus.keys[place]))
    return found


def criteria(corpus: Corpus, others: bool) -> dict[str, tuple[int, Floats]]:
    """(bound, (V, G) curves on its grid) by name: the chosen one with several bounds, and if wanted others."""
    widest = grid(max(BOUNDS))
    chosen = pooled(curves_of(corpus, widest, every=False), corpus.kept, widest)
    found = {f"{CHOSEN}, at most {bound}": (bound, chosen[:, : len(grid(bound))]) for bound in BOUNDS}
    if others:
        numbers = grid(BOUND)
        own = curves_of(corpus, numbers, every=True)
        found |= {
            "held out, mean of all in the class": (BOUND, pooled(own, corpus.kept, numbers)),
            "held out, own": (BOUND, own),
            "in sample, corrected": (BOUND, in_sample(corpus, numbers, corrected=True)),
            "in sample": (BOUND, in_sample(corpus, numbers, corrected=False)),
        }
    return found


def on_text(
    corpus: Corpus, found: Mapping[str, tuple[int, Floats]], texts: Mapping[str, States], key: str
) -> list[Row]:
    """Print held-out d² of fixed k and of each criterion at the same budget, and give the rows of the chosen one."""
    rows = []
    for k in BUDGETS:
        fixed = np.minimum(k, corpus.kept)
        budget = int(fixed.sum())
        numbers = {
            name: allocate(corpus.occurrences, curves, grid(bound), budget) for name, (bound, curves) in found.items()
        }
        for where, text in texts.items():
            base = corpus.distances(text, fixed)
            known = ~np.isnan(base)
            print(f"\n## key {key}, budget of k = {k}, {where}: {known.sum():,} positions")
            print(f"{'fixed':38} {budget:7,} senses, d² {base[known].mean():.4f}")
            for name, given in numbers.items():
                ours = corpus.distances(text, given)
                print(f"{name:38} {given.sum():7,} senses, d² {ours[known].mean():.4f}", end="")
                print(by_class(corpus, text, ours, base))
                if name == f"{CHOSEN}, at most {BOUND}":
                    row = f"key {key}, budget of k = {k}, {where}: adaptive vs fixed"
                    rows.append(Row(row, float(ours[known].mean()), float(base[known].mean()), "held-out d²", COMMAND))
        given = numbers[f"{CHOSEN}, at most {BOUND}"]
        means = {low: given[(corpus.occurrences >= low) & (corpus.occurrences < high)].mean() for low, high in _BETWEEN}
        print("mean k by occurrences:", ", ".join(f"{low}+ {mean:.1f}" for low, mean in means.items()))
    return rows


def by_class(corpus: Corpus, text: States, ours: Floats, base: Floats) -> str:
    """Ratios with intervals over documents, of all positions and by how often their key occurs in the corpus."""
    places = np.clip(np.searchsorted(corpus.keys, text.following), 0, len(corpus.keys) - 1)
    uses = corpus.occurrences[places]
    found = []
    for low, high in [(1, np.inf), *_BETWEEN]:
        inside = ~np.isnan(base) & (uses >= low) & (uses < high)
        share = "{:.4f} [{:.4f}, {:.4f}]".format(*ratio(ours[inside], base[inside], text.documents[inside]))
        found.append(f"{low}+ ({inside.sum():,}): {share}")
    return "; ratio " + "; ".join(found)


@dataclass(frozen=True)
class Pairs:
    """Two uses each of one token, and whether they have one meaning.

    Attributes:
        tokens: (p,) int64; states: (p, 2, D) float16; same, dev: (p,) bool, dev where it is no training pair.
    """

    tokens: Numbers
    states: NDArray[np.float16]
    same: NDArray[np.bool_]
    dev: NDArray[np.bool_]


def word_in_context() -> Pairs:
    """The pairs of WiC whose word is one token, and the same, in both sentences."""
    found = kept("wic", _read_pairs)
    return Pairs(found["tokens"], found["states"], found["same"].astype(bool), found["dev"].astype(bool))


def _read_pairs(model: Teacher) -> dict[str, NDArray[np.generic]]:
    windows: list[TokenWindow] = []
    at, tokens, same, dev = [], [], [], []
    for split in ("train", "dev"):
        for index, sentences, gold in _lines(split):
            uses = [use for i, text in zip(index, sentences, strict=True) if (use := _use(model, text, i)) is not None]
            own = [ids[place] for place, ids in uses]
            if len(own) == 2 and own[0] == own[1]:
                windows += [TokenWindow(f"{split}#{gold}", np.asarray(ids, dtype=np.int32)) for _, ids in uses]
                at += [place for place, _ in uses]
                tokens.append(own[0])
                same.append(gold == "T")
                dev.append(split == "dev")
    starts = np.cumsum([0, *(len(window.ids) for window in windows)])[:-1]
    states = read(model, windows, range(len(windows))).vectors[starts + at]
    return {
        "tokens": np.asarray(tokens, dtype=np.int64),
        "states": states.reshape(len(tokens), 2, -1),
        "same": np.asarray(same, dtype=np.uint8),
        "dev": np.asarray(dev, dtype=np.uint8),
    }


def _lines(split: str) -> Iterator[tuple[list[int], list[str], str]]:
    """(places of the word, sentences, T or F) of each pair."""
    with tarfile.open(data() / "senses/wic.tar.xz") as archive:
        texts = [archive.extractfile(f"wic/{split}.{part}.txt") for part in ("data", "gold")]
        lines, golds = (text.read().decode("utf-8").splitlines() for text in texts if text is not None)
    for line, gold in zip(lines, golds, strict=True):
        _, _, index, *sentences = line.split("\t")
        yield [int(i) for i in index.split("-")], sentences, gold


def _use(model: Teacher, sentence: str, index: int) -> tuple[int, list[int]] | None:
    """(place of the word's token, all tokens); None for a word of several tokens."""
    words = sentence.split(" ")
    before = model.tokenizer(" ".join(words[:index]))["input_ids"]
    through = model.tokenizer(" ".join(words[: index + 1]))["input_ids"]
    if through[:-1] != before:
        return None
    return len(before), model.tokenizer(sentence)["input_ids"]


def on_pairs(corpus: Corpus, curves: Floats, pairs: Pairs) -> list[Row]:
    """Print how well clusters tell whether two uses have one meaning, and give rows for the accuracy on dev."""
    places = np.clip(np.searchsorted(corpus.keys, pairs.tokens), 0, len(corpus.keys) - 1)
    covered = (corpus.keys[places] == pairs.tokens) & (corpus.occurrences[places] >= _LEAST)
    print(f"\n## words in context: {covered.sum():,} pairs of {len(covered):,} of one token", end="")
    print(f", {(covered & pairs.dev).sum()} of dev; {pairs.same[covered & pairs.dev].mean():.3f} of one meaning")
    places, states = places[covered], torch.from_numpy(pairs.states[covered]).float()
    same, dev = pairs.same[covered], pairs.dev[covered]
    ways: dict[str, Floats] = {"states themselves": (states[:, 0] - states[:, 1]).square().mean(dim=1).double().numpy()}
    for k in BUDGETS:
        fixed = np.minimum(k, corpus.kept)
        adaptive = allocate(corpus.occurrences, curves, grid(BOUND), int(fixed.sum()))
        for name, given in ((f"fixed {k}", fixed), (f"adaptive {k}", adaptive)):
            ways[name] = _between(corpus, places, given, states)
            print(f"{name:18} mean k of the pairs {given[places].mean():.2f}")
    right = {name: _right(distances, same, dev) for name, distances in ways.items()}
    for name, (one, threshold) in right.items():
        print(f"{name:18} one cluster: {_interval(one)} of all, {_interval(one[dev])} of dev; ", end="")
        print(f"threshold of train: {_interval(threshold[dev])} of dev")
    rows = []
    for k in BUDGETS:
        ours, base = right[f"adaptive {k}"], right[f"fixed {k}"]
        print(f"adaptive − fixed, k = {k}: one cluster {_interval(ours[0] - base[0])} of all, ", end="")
        print(f"threshold {_interval((ours[1] - base[1])[dev])} of dev")
        name = f"word in context, budget of k = {k}: adaptive vs fixed"
        rows.append(Row(name, float(ours[1][dev].mean()), float(base[1][dev].mean()), "accuracy on dev", COMMAND))
    return rows


def _between(corpus: Corpus, places: Numbers, numbers: Numbers, states: Tensor) -> Floats:
    """(p,) d² between the senses of the two uses; 0 where they are one."""
    found = np.zeros(len(places))
    for i, place in enumerate(places.tolist()):
        senses = corpus.senses(place, int(numbers[place])).float()
        a, b = senses[torch.cdist(states[i], senses).argmin(dim=1)]
        found[i] = float((a - b).square().mean())
    return found


def _right(distances: Floats, same: NDArray[np.bool_], dev: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Whether each pair is judged rightly: by distance 0, and by the threshold that is best on the training pairs."""
    levels = np.unique(np.r_[-1.0, distances[~dev]])
    accuracy = [((distances[~dev] <= level) == same[~dev]).mean() for level in levels]
    best = levels[int(np.argmax(accuracy))]
    return ((distances == 0) == same).astype(float), ((distances <= best) == same).astype(float)


def _interval(values: Floats) -> str:
    """The mean with a 95% interval over pairs drawn anew."""
    drawn = np.random.default_rng(SEED).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """All tables; the rows are those of the chosen criterion."""
    text = {name: load(part) for name, part in (("same source", "near"), ("other encyclopaedia", "far"))}
    rows = []
    for key in ("next", "input"):
        by_key = {
            name: states if key == "next" else replace(states, following=states.tokens)
            for name, states in {"corpus": load("corpus"), **text}.items()
        }
        corpus = gather(by_key.pop("corpus"))
        found = criteria(corpus, others=key == "next")
        rows += on_text(corpus, found, by_key, key)
        if key == "input":
            rows += on_pairs(corpus, found[f"{CHOSEN}, at most {BOUND}"][1], word_in_context())
    write("adaptive_k", rows)


if __name__ == "__main__":
    main()
