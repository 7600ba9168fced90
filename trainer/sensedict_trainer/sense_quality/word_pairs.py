"""Pairs of words without a sentence: synonyms against antonyms, and how alike people find two words.

Two words with several vectors each are as alike as their nearest pair of senses, or as the mean over all pairs
(Reisinger and Mooney 2010: MaxSim, AvgSim). All are measured on the pairs whose words both have senses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sensedict_trainer.sense_quality.book import SenseBook, cosine, cosines
from sensedict_trainer.sense_quality.data_sets import (
    PARTS_OF_SPEECH,
    WordPair,
    load_ant_syn,
    load_similarity,
)
from sensedict_trainer.sense_quality.reading import NO_SENSES, Coverage
from sensedict_trainer.sense_quality.statistics import Measure, Numbers, Statistic, auc, measured, spearman
from sensedict_trainer.sense_quality.word_in_context import ALL, CENTROID, EMBEDDING

NEAREST_PAIR, MEAN_PAIR = "senses, nearest pair", "senses, mean of pairs"
ANT_SYN = "ant_syn"


def evaluate_similarity(senses: Path, name: str, book: SenseBook, seed: int) -> tuple[list[Measure], list[Coverage]]:
    """Spearman's ρ with what people say; and coverage of words."""
    return _evaluate(load_similarity(senses, name), name, "Spearman's ρ", spearman, book, seed)


def evaluate_ant_syn(senses: Path, book: SenseBook, seed: int) -> tuple[list[Measure], list[Coverage]]:
    """The AUC of telling synonyms from antonyms by part of speech, that synonyms are nearer; and coverage of words."""
    measures, seen = [], []
    for pos in PARTS_OF_SPEECH:
        found, coverage = _evaluate(
            load_ant_syn(senses, pos), f"{ANT_SYN} {pos}", "AUC", lambda s, gold: auc(s, gold > 0.5), book, seed
        )
        measures += found
        seen += coverage
    return measures, seen


def compare_words(pair: WordPair, book: SenseBook) -> dict[str, float]:
    """How alike two words are, by each thing that they can be compared by."""
    scores = {EMBEDDING: cosine(book.embedding(pair.first), book.embedding(pair.second))}
    first, second = book.of_word(pair.first), book.of_word(pair.second)
    if first and second:
        between = cosines(book.senses(first), book.senses(second))
        scores[NEAREST_PAIR], scores[MEAN_PAIR] = float(between.max()), float(between.mean())
        scores[CENTROID] = cosine(book.centroid(first), book.centroid(second))
    return scores


def _evaluate(
    pairs: Sequence[WordPair],
    name: str,
    measure: str,
    statistic: Callable[[Numbers, Numbers], float],
    book: SenseBook,
    seed: int,
) -> tuple[list[Measure], list[Coverage]]:
    coverage = Coverage(f"{name}, words")
    for word in dict.fromkeys(word for pair in pairs for word in (pair.first, pair.second)):
        coverage.count(None if book.of_word(word) else NO_SENSES)
    compared = [(compare_words(pair, book), pair.score) for pair in pairs]
    covered = [(scores, gold) for scores, gold in compared if NEAREST_PAIR in scores]
    bys = (NEAREST_PAIR, MEAN_PAIR, CENTROID, EMBEDDING)
    together = {by: _of(covered, by, statistic) for by in bys}
    measures = measured(name, measure, together, len(covered), len(pairs), seed)
    if len(covered) < len(pairs):
        alone = {EMBEDDING + ALL: _of(compared, EMBEDDING, statistic)}
        measures += measured(name, measure, alone, len(pairs), len(pairs), seed)
    return measures, [coverage]


def _of(
    items: Sequence[tuple[dict[str, float], float]], by: str, statistic: Callable[[Numbers, Numbers], float]
) -> Statistic:
    scores, gold = np.array([s[by] for s, _ in items], np.float64), np.array([g for _, g in items], np.float64)
    return lambda places: statistic(scores[places], gold[places])
