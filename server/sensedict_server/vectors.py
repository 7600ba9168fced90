"""Vectors as the bytes of an answer, a piece at a time.

A piece is gathered from the mapped file in a thread, since a page of the file may have to come from the disk first, and
is sent while it lies in the processor's cache. The next one is gathered when the network has taken this one: an answer
of any size holds a few pieces in memory, and a slow reader costs no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np
import orjson
from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from sensedict import arrays, wire

PIECE = 2**20  # bytes; half of a processor's second cache
_NUMBERS = 2**15  # in a piece of JSON, where each takes some 20 bytes

Vectors = NDArray[np.float16]
Ids = NDArray[np.uint32]


async def answer_vectors(vectors: Vectors, ids: Ids, media: str) -> Response:
    """The rows `ids` (n,) of vectors (N, D) in that order, as safetensors or JSON."""
    dim = vectors.shape[1]
    if media == wire.JSON:
        texts = _pieces(vectors, _cut(ids, _NUMBERS // dim), _text)
        return StreamingResponse(_between(b'{"vectors":[', texts, b",", b"]}"), media_type=media)
    head = arrays.head({"vectors": (vectors.dtype, (len(ids), dim))})
    size = len(ids) * dim * vectors.itemsize
    if size <= PIECE:
        return Response(head + await run_in_threadpool(_bytes, vectors, ids), media_type=media)
    pieces = _pieces(vectors, _cut(ids, PIECE // (dim * vectors.itemsize)), _bytes)
    length = {"content-length": str(len(head) + size)}
    return StreamingResponse(_between(head, pieces, b"", b""), headers=length, media_type=media)


def _cut(ids: Ids, rows: int) -> list[Ids]:
    """The ids in parts of so many rows, but of one at least."""
    return [ids[start : start + max(1, rows)] for start in range(0, len(ids), max(1, rows))]


async def _pieces(vectors: Vectors, parts: list[Ids], write: Callable[[Vectors, Ids], bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield await run_in_threadpool(write, vectors, part)


async def _between(head: bytes, pieces: AsyncIterator[bytes], mark: bytes, tail: bytes) -> AsyncIterator[bytes]:
    """The pieces with what stands before, between and behind them."""
    before = head
    async for piece in pieces:
        if before:
            yield before
        yield piece
        before = mark
    if tail:
        yield tail


def _bytes(vectors: Vectors, ids: Ids) -> bytes:
    return vectors.take(ids, axis=0).tobytes()


def _text(vectors: Vectors, ids: Ids) -> bytes:
    """Rows between commas; each number is the shortest text of exactly that float16."""
    rows = vectors.take(ids, axis=0).astype(np.float64)
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
