"""Cutting a bulk request into parts that a service takes, and joining their answers into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sensedict.source import CandidateSets, ItemError, NearestSenses, Ranges
from sensedict.wire import Limits

_ENVELOPE = 4096  # bytes of a safetensors header; the real one is some hundred


def parts(items: int, item_bytes: int, limits: Limits) -> Iterator[slice]:
    """Slices of a request of so many items, each of which one request may hold.

    Args:
        items: at least 1.
        item_bytes: bytes an item takes in the request's body.

    >>> list(parts(5, 4, Limits(max_items=2)))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, min(limits.max_items, (limits.max_body_bytes - _ENVELOPE) // item_bytes))
    for start in range(0, items, size):
        yield slice(start, min(start + size, items))


def join_candidate_sets(answers: Sequence[CandidateSets]) -> CandidateSets:
    """The answers of consecutive parts as one, with the errors' indices in the whole."""
    if len(answers) == 1:
        return answers[0]
    return CandidateSets(
        np.concatenate([answer.tokens for answer in answers]),
        np.concatenate([answer.own_first for answer in answers]),
        np.concatenate([answer.own_count for answer in answers]),
        _join_ranges([answer.synonyms for answer in answers]),
        _join_ranges([answer.antonyms for answer in answers]),
        _join_errors((answer.errors, len(answer.tokens)) for answer in answers),
    )


def join_nearest_senses(answers: Sequence[NearestSenses]) -> NearestSenses:
    """The answers of consecutive parts as one, with the errors' indices in the whole."""
    if len(answers) == 1:
        return answers[0]
    return NearestSenses(
        _join_offsets([answer.offsets for answer in answers]),
        np.concatenate([answer.ids for answer in answers]),
        np.concatenate([answer.distances for answer in answers]),
        _join_errors((answer.errors, len(answer.offsets) - 1) for answer in answers),
        answers[0].p,
        answers[0].search,
    )


def _join_ranges(ragged: Sequence[Ranges]) -> Ranges:
    return Ranges(
        _join_offsets([ranges.offsets for ranges in ragged]),
        np.concatenate([ranges.first for ranges in ragged]),
        np.concatenate([ranges.count for ranges in ragged]),
    )


def _join_offsets(offsets: Sequence[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    """Each part counted from 0; the whole goes on where the part before ended."""
    joined = [offsets[0]]
    for part in offsets[1:]:
        joined.append(part[1:] + joined[-1][-1])
    return np.concatenate(joined)


def _join_errors(errors: Iterable[tuple[tuple[ItemError, ...], int]]) -> tuple[ItemError, ...]:
    joined: list[ItemError] = []
    before = 0
    for part, size in errors:
        joined += [replace(error, index=error.index + before) for error in part]
        before += size
    return tuple(joined)
