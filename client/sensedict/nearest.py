"""Exact search for the nearest senses; an answer does not depend on how the request was cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUERIES = 256  # rows and
_SENSES = 8192  # columns of one block of scores, 16 MiB
_PAIRS = 4096  # vectors compared at once


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
    offsets = ragged_offsets(np.minimum(count, p))
    ids = np.empty(offsets[-1], np.uint32)
    distances = np.empty(offsets[-1], np.float32)
    order = np.argsort(first, kind="stable")
    order = order[count[order] > 0]
    for rows in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
        if len(rows) == 0:  # np.split of nothing is one empty part
            continue
        low = int(first[rows[0]])
        found, apart = nearest(queries[rows], vectors[low : low + int(count[rows[0]])], p)
        places = offsets[rows].astype(np.int64)[:, None] + np.arange(found.shape[1])
        ids[places] = found + np.uint32(low)
        distances[places] = apart
    return offsets, ids, distances


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
    # a dot product of D terms is off by at most D·eps·‖a‖‖b‖; 8 covers both sides of a comparison and the sums
    slack = 8 * queries.shape[1] * np.finfo(np.float64).eps
    slack *= np.einsum("ij,ij->i", queries, queries) + lengths.max()
    last = np.partition(scores, width - 1, axis=1)[:, width - 1] + slack
    rows, columns = np.nonzero(scores <= last[:, None])
    return rows, columns


def _squared_distances(
    queries: NDArray[np.float64],
    vectors: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.float64]:
    """‖a − b‖² of each pair, by the differences themselves."""
    squares = np.empty(len(rows), np.float64)
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        apart = queries[rows[part]] - vectors[columns[part]]
        squares[part] = (apart * apart).sum(axis=1)
    return squares
