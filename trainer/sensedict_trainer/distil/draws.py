"""Which positions get a sense loss, and which neighbour words count there (DSKD §4.2, *Sampling*).

Every draw is a function of (seed, sequence, position): the same in every epoch, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensedict.source import CandidateSets
from sensedict_trainer.hashing import mix, sequence_key

SenseRanges = tuple[NDArray[np.uint32], NDArray[np.uint16]]


@dataclass(frozen=True)
class Sampling:
    """How positions and neighbours are drawn.

    Attributes:
        fraction: of the positions whose target has relations, this share is drawn.
        minimum: but at least so many, or all.
        neighbours: most neighbour words a relation.
        seed: of every draw.
    """

    fraction: float
    minimum: int
    neighbours: int
    seed: int


@dataclass(frozen=True)
class TokenCandidates:
    """Candidates of one token, as ranges of sense ids.

    Attributes:
        own: first id and number of its own senses.
        synonyms, antonyms: (m,) first ids and (m,) numbers, one a neighbour word.
    """

    own: tuple[int, int]
    synonyms: SenseRanges
    antonyms: SenseRanges


@dataclass(frozen=True)
class Draw:
    """The sampled positions of one sequence with the senses that are candidates there.

    Position s has the candidates `ids[positive[s]:negative[s]]` as P and `ids[negative[s]:positive[s + 1]]` as N.

    Attributes:
        positions: (s,) int64; those with relations first, then as many with the target's own senses alone.
        positive: (s + 1,) int64, where each position's P begins; negative: (s,) int64, where its N begins.
        ids: sense ids, int64.
        related: positions of the sequence whose target has relations, sampled or not.
    """

    positions: NDArray[np.int64]
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    ids: NDArray[np.int64]
    related: int


def by_token(sets: CandidateSets) -> dict[int, TokenCandidates]:
    """The answer of a source, by token."""
    return {
        int(token): TokenCandidates(
            own=(int(sets.own_first[row]), int(sets.own_count[row])),
            synonyms=sets.synonyms.row(row),
            antonyms=sets.antonyms.row(row),
        )
        for row, token in enumerate(sets.tokens)
    }


def draw_positions(
    sequence_id: str, own: NDArray[np.integer], related: NDArray[np.bool_], sampling: Sampling
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions with relations, and positions where the target's own senses are the only candidates; both rising.

    Args:
        own: (n,) number of the target's own senses at each position.
        related: (n,) whether the target has a synonym or antonym.

    Returns:
        Of the related ones a share, at least `minimum` or all; then the same number from all positions with senses. A
        position may be in both, it then counts twice.
    """
    numbers = np.arange(len(own))
    candidates = numbers[related]
    wanted = min(len(candidates), max(round(sampling.fraction * len(candidates)), sampling.minimum))
    with_relations = _lowest(candidates, wanted, sequence_key(sampling.seed, sequence_id, "relations"))
    owners = numbers[own > 0]
    alone = _lowest(owners, min(wanted, len(owners)), sequence_key(sampling.seed, sequence_id, "own"))
    return with_relations, alone


def draw(
    sequence_id: str, targets: NDArray[np.integer], candidates: Mapping[int, TokenCandidates], sampling: Sampling
) -> Draw:
    """Everything that is drawn for a sequence.

    Args:
        targets: (n,) the next token at each position.
        candidates: of (at least) these tokens.
    """
    at_position = [candidates[int(token)] for token in targets]
    own = np.array([found.own[1] for found in at_position])
    related = np.array([len(found.synonyms[0]) + len(found.antonyms[0]) > 0 for found in at_position], dtype=np.bool_)
    with_relations, alone = draw_positions(sequence_id, own, related, sampling)
    synonyms_key, antonyms_key = (sequence_key(sampling.seed, sequence_id, name) for name in ("synonyms", "antonyms"))
    positives, negatives = [], []
    for at in with_relations.tolist():
        found = at_position[at]
        synonyms = _some(found.synonyms, synonyms_key, at, sampling)
        positives.append(np.concatenate([_own(found), synonyms]))
        negatives.append(_some(found.antonyms, antonyms_key, at, sampling))
    for at in alone.tolist():
        positives.append(_own(at_position[at]))
        negatives.append(np.zeros(0, dtype=np.int64))
    in_order = [ids for pair in zip(positives, negatives, strict=True) for ids in pair]
    ends = np.cumsum([0, *map(len, in_order)])
    return Draw(
        positions=np.concatenate([with_relations, alone]),
        positive=ends[::2],
        negative=ends[1::2],
        ids=np.concatenate([np.zeros(0, dtype=np.int64), *in_order]),
        related=int(related.sum()),
    )


def expand(first: NDArray[np.integer], count: NDArray[np.integer]) -> NDArray[np.int64]:
    """The ids of some ranges, one range after another.

    >>> expand(np.array([5, 20]), np.array([3, 2])).tolist()
    [5, 6, 7, 20, 21]
    """
    counts = count.astype(np.int64)
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    return np.repeat(first.astype(np.int64) - starts, counts) + np.arange(total)


def _own(found: TokenCandidates) -> NDArray[np.int64]:
    return np.arange(found.own[0], found.own[0] + found.own[1])


def _some(ranges: SenseRanges, key: np.uint64, position: int, sampling: Sampling) -> NDArray[np.int64]:
    """The sense ids of at most `neighbours` of a token's related words, in the words' order."""
    first, count = ranges
    if len(first) > sampling.neighbours:
        here = mix(key, np.array([position]))[0]  # a stream of numbers for the neighbours of this position
        kept = np.sort(np.argsort(mix(here, np.arange(len(first))), kind="stable")[: sampling.neighbours])
        first, count = first[kept], count[kept]
    return expand(first, count)


def _lowest(numbers: NDArray[np.int64], wanted: int, key: np.uint64) -> NDArray[np.int64]:
    return np.sort(numbers[np.argsort(mix(key, numbers), kind="stable")[:wanted]]).astype(np.int64)
