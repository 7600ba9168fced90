"""Word in context: are two uses of a word in one sense (WiC), is a use in the sense that hypernyms tell (WiC-TSV)?

What two uses are compared by gives a score; from a threshold on, chosen on a part of the training data, they are said
to be in one sense. All are measured on the items that every score is defined on, and those with more on all of theirs
too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from sensedict_trainer.sense_quality.book import SenseBook, Vectors, cosine, cosines
from sensedict_trainer.sense_quality.data_sets import TargetUse, Use, UsePair, load_wic, load_wic_tsv
from sensedict_trainer.sense_quality.reading import Coverage, Reading, UseReader
from sensedict_trainer.sense_quality.statistics import Measure, Statistic, best_threshold, measured, share

TRAIN_ITEMS = 2000  # on which thresholds are chosen: one number needs no more
ALL = ", all items"
SAME_SENSE, SENSES, CENTROID = "same nearest sense", "nearest senses", "one centroid a token"
EMBEDDING, STATE, MAJORITY = "input embeddings", "hidden state", "majority"

Scores: TypeAlias = Mapping[str, float]
Part: TypeAlias = tuple[list[Scores], list[bool]]
Found: TypeAlias = tuple[list[Measure], list[Coverage], list[Reading]]
Item = TypeVar("Item", UsePair, TargetUse)


def evaluate_wic(senses: Path, reader: UseReader, book: SenseBook, seed: int) -> Found:
    """Accuracy on WiC's `dev`, a measure for each thing compared by; coverage; and what was read."""

    def uses(pair: UsePair) -> tuple[Use, ...]:
        return pair.first, pair.second

    def scores(pair: UsePair, read: Sequence[Reading | None]) -> Scores:
        return compare_uses(read[0], read[1], book)

    return _evaluate("wic", lambda part: load_wic(senses, part), uses, scores, reader, seed)


def evaluate_wic_tsv(senses: Path, reader: UseReader, book: SenseBook, seed: int) -> Found:
    """Accuracy on WiC-TSV's `dev`, the labels of `test` being fillers; else as `evaluate_wic`."""

    def uses(target: TargetUse) -> tuple[Use, ...]:
        return (target.use,)

    def scores(target: TargetUse, read: Sequence[Reading | None]) -> Scores:
        return compare_hypernyms(read[0], target.hypernyms, book)

    return _evaluate("wic_tsv", lambda part: load_wic_tsv(senses, part), uses, scores, reader, seed)


def compare_uses(a: Reading | None, b: Reading | None, book: SenseBook) -> Scores:
    """How alike two uses of a word are, by each thing that they can be compared by.

    Uses of one form are of the same sense or not among the senses of that form; those of two forms (board, boards)
    among the senses of the lemma, if it has some.
    """
    if a is None or b is None:
        return {}
    scores = {
        STATE: cosine(a.state, b.state),
        EMBEDDING: cosine(book.embedding_of(a.tokens), book.embedding_of(b.tokens)),
    }
    if a.owner and b.owner:
        first, second = (
            book.sense(book.nearest(use.state, owner), owner) for use, owner in ((a, a.owner), (b, b.owner))
        )
        scores[SENSES] = cosine(first, second)
        scores[CENTROID] = cosine(book.centroid(a.owner), book.centroid(b.owner))
        shared = a.owner if a.owner == b.owner else a.lemma
        if shared is not None:
            scores[SAME_SENSE] = float(book.nearest(a.state, shared) == book.nearest(b.state, shared))
    return scores


def compare_hypernyms(use: Reading | None, hypernyms: Sequence[str], book: SenseBook) -> Scores:
    """How near a use is to the nearest of some hypernyms, by each thing that they can be compared by."""
    if use is None or not hypernyms:
        return {}

    def nearest(vector: Vectors, others: Sequence[Vectors]) -> float:
        return float(cosines(vector[None], np.atleast_2d(np.concatenate([np.atleast_2d(v) for v in others]))).max())

    scores = {EMBEDDING: nearest(book.embedding_of(use.tokens), [book.embedding(word) for word in hypernyms])}
    owners = [owner for owner in map(book.of_word, hypernyms) if owner is not None]
    if use.owner and owners:
        held = [book.senses(owner) for owner in owners]
        scores[STATE] = nearest(use.state, held)
        scores[SENSES] = nearest(book.sense(book.nearest(use.state, use.owner), use.owner), held)
        scores[CENTROID] = nearest(book.centroid(use.owner), [book.centroid(owner) for owner in owners])
    return scores


def _evaluate(
    name: str,
    load: Callable[[str], list[Item]],
    uses: Callable[[Item], tuple[Use, ...]],
    scores: Callable[[Item, Sequence[Reading | None]], Scores],
    reader: UseReader,
    seed: int,
) -> Found:
    parts: list[Part] = []
    seen, readings = [], []
    for part, most in (("train", TRAIN_ITEMS), ("dev", None)):
        items = _some(load(part), most, seed)
        coverage = Coverage(f"{name} {part}")
        found = reader.read([use for item in items for use in uses(item)], coverage)
        each = len(found) // max(1, len(items))
        parts.append(
            (
                [scores(item, found[place * each : (place + 1) * each]) for place, item in enumerate(items)],
                [item.same for item in items],
            )
        )
        seen.append(coverage)
        readings += [reading for reading in found if reading is not None]
    return _accuracies(name, parts[0], parts[1], seed), seen, readings


def _accuracies(name: str, train: Part, test: Part, seed: int) -> list[Measure]:
    """What each thing compared by says of the test part, its threshold chosen on the training part."""
    given = list(dict.fromkeys(by for scores in test[0] for by in scores))
    order = [by for by in (SAME_SENSE, SENSES, STATE, CENTROID, EMBEDDING) if by in given]
    everywhere = [all(by in scores for by in order) for scores in test[0]]
    total = len(test[1])
    together: dict[str, Statistic] = {}
    alone: list[tuple[str, list[bool]]] = []
    for by in order:
        known = [(scores[by], same) for scores, same in zip(*train, strict=True) if by in scores]
        threshold = 0.5  # that the nearest sense is the same says what is to be said
        if by != SAME_SENSE:
            threshold = best_threshold(
                np.array([s for s, _ in known], np.float64), np.array([y for _, y in known], bool)
            )
        here = [
            ((scores[by] >= threshold) == same, every)
            for scores, same, every in zip(*test, everywhere, strict=True)
            if by in scores
        ]
        together[by] = share([right for right, every in here if every])
        if not all(every for _, every in here):
            alone.append((by + ALL, [right for right, _ in here]))
    usual = 2 * sum(train[1]) >= len(train[1])
    together[MAJORITY] = share([same == usual for same, every in zip(test[1], everywhere, strict=True) if every])
    measures = measured(name, "accuracy", together, sum(everywhere), total, seed)
    for by, right in alone:
        measures += measured(name, "accuracy", {by: share(right)}, len(right), total, seed)
    return measures


def _some(items: list[Item], most: int | None, seed: int) -> list[Item]:
    if most is None or len(items) <= most:
        return items
    chosen = np.random.default_rng(seed).permutation(len(items))[:most]
    return [items[place] for place in sorted(chosen.tolist())]
