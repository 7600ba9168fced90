"""Exact search for the nearest senses; an answer does not depend on how the request was cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUERIES = 256  # rows and
_SENSES = 8192  # columns of one block of scores, 16 MiB
_PAIRS = 2**16  # numbers of the vectors that are compared at once: half a MiB stays in a processor's cache
_FEW = 64  # senses of an owner; nearly every one has at most k
_NUMBERS = 2**22  # of the vectors that wait for their scores, 32 MiB


def nearest(
    queries: NDArray[np.float32], vectors: NDArray[np.float16], p: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The p nearest of the vectors to each query, nearest first and of equal ones the smaller id first.

    A blocked matrix product finds those that may be among the p (‖b‖² − 2ab differs from ‖a − b‖² by a constant of
    the query), with room for its own rounding; only those are then compared exactly. The product's rounding changes
    with the shape of the batch, the exact comparison's does not.

    Args:
        queries: (n, D).
        vectors: (N, D).
        p: at least 1.

    Returns:
        ids (n, min(p, N)), rows of `vectors`, and their distances ‖a − b‖² / D.

    >>> ids, distances = nearest(np.float32([[1, 0]]), np.float16([[1, 2], [1, 0], [0, 0]]), p=2)
    >>> ids.tolist(), distances.tolist()
    ([[1, 2]], [[0.0, 0.5]])
    """
    n, dim = queries.shape
    width = min(p, len(vectors))
    ids = np.empty((n, width), np.uint32)
    distances = np.empty((n, width), np.float32)
    for start in range(0, n, _QUERIES):
        block = slice(start, start + _QUERIES)
        found, squares = _nearest_of_block(queries[block].astype(np.float64), vectors, width)
        ids[block] = found
        distances[block] = squares / dim
    return ids, distances


def nearest_of_owners(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float16],
    first: NDArray[np.uint32],
    count: NDArray[np.uint16],
    p: int,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]:
    """The p nearest to each query of its owner's senses `first .. first + count`; one search an owner, not a query.

    Args:
        queries: (n, D).
        vectors: (N, D).
        first, count: (n,).
        p: at least 1.

    Returns:
        offsets (n + 1,), ids (m,) and distances (m,) of the ragged answer; a row holds min(p, count).
    """
    width = np.minimum(count, p)
    offsets = ragged_offsets(width)
    ids = np.empty(offsets[-1], np.uint32)
    distances = np.empty(offsets[-1], np.float32)
    order = np.argsort(first, kind="stable")  # equal owners stand together
    few = order[(count[order] > 0) & (count[order] <= _FEW)]
    rows_at_once = max(1, _NUMBERS // queries.shape[1])
    for start in range(0, len(few), rows_at_once):
        rows = few[start : start + rows_at_once]
        found, squares = _nearest_of_few(
            queries[rows].astype(np.float64), vectors, first[rows], count[rows], width[rows]
        )
        places = _places(offsets[rows], width[rows])
        ids[places], distances[places] = found, squares / queries.shape[1]
    for rows in _runs(order[count[order] > _FEW], first):
        low = int(first[rows[0]])
        one, apart = nearest(queries[rows], vectors[low : low + int(count[rows[0]])], p)
        places = _places(offsets[rows], width[rows])
        ids[places], distances[places] = one.ravel() + np.uint32(low), apart.ravel()
    return offsets, ids, distances


def nearest_of_candidates(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float16],
    rows: NDArray[np.int64],
    ids: NDArray[np.int64],
    p: int,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]:
    """The p nearest to each query of its own candidates, compared as exactly as `nearest` compares.

    Args:
        queries: (n, D).
        vectors: (N, D).
        rows, ids: (m,) the candidates: `ids[j]`, a row of `vectors`, is one of the query `rows[j]`.
        p: at least 1.

    Returns:
        offsets (n + 1,), ids and distances of the ragged answer; a row holds fewer than p where it has fewer
        candidates.
    """
    squares = _squared_distances(queries.astype(np.float64), vectors, rows, ids)
    order = np.lexsort((ids, squares, rows))
    rows, ids, squares = rows[order], ids[order], squares[order]
    keep = np.arange(len(rows)) - np.searchsorted(rows, rows) < p
    offsets = ragged_offsets(np.bincount(rows[keep], minlength=len(queries)))
    return offsets, ids[keep].astype(np.uint32), (squares[keep] / queries.shape[1]).astype(np.float32)


def ragged_offsets(lengths: NDArray[Any]) -> NDArray[np.uint32]:
    """Offsets (n + 1,) of rows of these lengths (n,)."""
    offsets = np.zeros(len(lengths) + 1, np.uint32)
    np.cumsum(lengths, dtype=np.uint32, out=offsets[1:])
    return offsets


def _nearest_of_block(
    queries: NDArray[np.float64], vectors: NDArray[np.float16], width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """ids and squared distances (n, width) of the nearest, over blocks of vectors."""
    rows = np.empty(0, np.int64)
    ids = np.empty(0, np.int64)
    squares = np.empty(0, np.float64)
    for start in range(0, len(vectors), _SENSES):
        block = vectors[start : start + _SENSES].astype(np.float64)
        more_rows, columns = _shortlist(queries, block, width)
        rows = np.concatenate([rows, more_rows])
        ids = np.concatenate([ids, columns + start])
        squares = np.concatenate([squares, _squared_distances(queries, block, more_rows, columns)])
        order = np.lexsort((ids, squares, rows))
        rows, ids, squares = rows[order], ids[order], squares[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)  # place inside its own row
        keep = rank < width
        rows, ids, squares = rows[keep], ids[keep], squares[keep]
    return ids.reshape(len(queries), width), squares.reshape(len(queries), width)


def _shortlist(
    queries: NDArray[np.float64], vectors: NDArray[np.float64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (query, vector) that may be among the nearest `width` of this block, ties and near ties included."""
    if len(vectors) <= width:
        rows, columns = np.indices((len(queries), len(vectors)))
        return rows.ravel(), columns.ravel()
    lengths = np.einsum("ij,ij->i", vectors, vectors)
    scores = lengths - 2.0 * (queries @ vectors.T)
    slack = _slack(queries.shape[1]) * (np.einsum("ij,ij->i", queries, queries) + lengths.max())
    last = np.partition(scores, width - 1, axis=1)[:, width - 1] + slack
    rows, columns = np.nonzero(scores <= last[:, None])
    return rows, columns


def _slack(dim: int) -> float:
    """What rounding may move a score by, of the sum of both vectors' squared lengths.

    A dot product of D terms is off by at most D·eps·‖a‖‖b‖; 8 covers both sides of a comparison and the sums.
    """
    return 8 * dim * float(np.finfo(np.float64).eps)


def _nearest_of_few(
    queries: NDArray[np.float64],
    vectors: NDArray[np.float16],
    first: NDArray[np.uint32],
    count: NDArray[np.uint16],
    width: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """ids and squared distances of the `width` nearest of each query's own senses, one row after the other.

    The rows of one owner stand together: their scores are one matrix product. The rest is done for all rows at once.
    """
    scores = np.full((len(queries), int(count.max())), np.inf)
    size = np.empty(len(queries))  # of the numbers that a score was made of
    for rows in _runs(np.arange(len(queries)), first):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        low = int(first[part.start])
        senses = vectors[low : low + int(count[part.start])].astype(np.float64)
        lengths = np.einsum("ij,ij->i", senses, senses)
        scores[part, : len(senses)] = lengths - 2.0 * (queries[part] @ senses.T)
        size[part] = lengths.max()
    size += np.einsum("ij,ij->i", queries, queries)
    last = np.take_along_axis(np.sort(scores, axis=1), width[:, None] - 1, axis=1)
    rows, columns = np.nonzero(scores <= last + _slack(queries.shape[1]) * size[:, None])
    ids = first[rows].astype(np.int64) + columns
    squares = _squared_distances(queries, vectors, rows, ids)
    order = np.lexsort((ids, squares, rows))
    kept = order[_places(np.searchsorted(rows, np.arange(len(queries))), width)]
    return ids[kept], squares[kept]


def _runs(rows: NDArray[np.intp], first: NDArray[np.uint32]) -> Iterator[NDArray[np.intp]]:
    """The rows cut where their owner changes."""
    owners = first[rows]
    bounds = (np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist()
    for start, stop in pairwise([0, *bounds, len(rows)] if len(rows) else []):
        yield rows[start:stop]


def _places(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """`starts[i] .. starts[i] + lengths[i]` of each i, one after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(int(ends[-1]) if len(ends) else 0)


def _squared_distances(
    queries: NDArray[np.float64],
    vectors: NDArray[np.floating],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.float64]:
    """‖a − b‖² of each pair, by the differences themselves."""
    squares = np.empty(len(rows), np.float64)
    at_once = max(1, _PAIRS // queries.shape[1])
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        apart = vectors.take(columns[part], axis=0).astype(np.float64)
        apart -= queries.take(rows[part], axis=0)
        apart *= apart
        apart.sum(axis=1, out=squares[part])
    return squares
