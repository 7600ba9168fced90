"""Vectors as the bytes of an answer, a piece at a time.

A page of the mapped file may have to come from the disk first, which must not keep other requests waiting: a thread
touches the pages of many pieces. Then each piece is gathered where it is sent, while it lies in the processor's cache;
a change of threads for each would take longer than the gathering. The next one is gathered when the network has taken
this one, so that an answer of any size holds a few pieces in memory, and a slow reader costs no more. A piece goes to
the transport as it was gathered: a copy of it as `bytes` would take as long as the gathering.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

import numpy as np
import orjson
from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from sensedict import arrays, wire

PIECE = 2**20  # bytes; half of a processor's second cache
_TOUCHED = 16 * PIECE
_NUMBERS = 2**15  # in a piece of JSON, where each takes some 20 bytes
_PAGE = 4096  # bytes; no system has smaller ones

Vectors = NDArray[np.float16]
Ids = NDArray[np.uint32]


async def answer_vectors(vectors: Vectors, ids: Ids, media: str) -> Response:
    """The rows `ids` (n,) of vectors (N, D) in that order, as safetensors or JSON."""
    if media == wire.JSON:
        texts = _between(b'{"vectors":[', _texts(vectors, ids), b",", b"]}")
        return StreamingResponse(texts, media_type=media)
    head = arrays.head({"vectors": (vectors.dtype, (len(ids), vectors.shape[1]))})
    size = len(ids) * vectors.shape[1] * vectors.itemsize
    if size <= PIECE:
        return Response(head + await run_in_threadpool(_gather, vectors, ids), media_type=media)
    return _InPieces(head, vectors, ids, {"content-length": str(len(head) + size)}, media)


class _InPieces(Response):
    """Vectors behind the head of their file; `StreamingResponse` takes a task more, which `Watched` makes needless."""

    def __init__(self, head: bytes, vectors: Vectors, ids: Ids, headers: dict[str, str], media: str) -> None:
        self._pieces = _pieces(vectors, ids)
        self._before = head
        super().__init__(None, headers=headers, media_type=media)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then each piece when it is gathered."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._before, "more_body": True})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _cut(ids: Ids, vectors: Vectors, size: int) -> Iterator[Ids]:
    """The ids in parts, each of whose vectors take so many bytes, or of one."""
    rows = max(1, size // (vectors.shape[1] * vectors.itemsize))
    for start in range(0, len(ids), rows):
        yield ids[start : start + rows]


async def _pieces(vectors: Vectors, ids: Ids) -> AsyncGenerator[memoryview]:
    for stretch in _cut(ids, vectors, _TOUCHED):
        await run_in_threadpool(_touch, vectors, stretch)
        for part in _cut(stretch, vectors, PIECE):
            yield vectors.take(part, axis=0).reshape(-1).view(np.uint8).data
            await asyncio.sleep(0)  # a reader that keeps up would have all of it before anybody else has a turn


async def _texts(vectors: Vectors, ids: Ids) -> AsyncIterator[bytes]:
    for part in _cut(ids, vectors, _NUMBERS * vectors.itemsize):
        yield await run_in_threadpool(_text, vectors, part)


async def _between(head: bytes, pieces: AsyncIterator[bytes], mark: bytes, tail: bytes) -> AsyncIterator[bytes]:
    """The pieces with what stands before, between and behind them."""
    before = head
    async for piece in pieces:
        yield before
        yield piece
        before = mark
    yield tail


def _touch(vectors: Vectors, ids: Ids) -> None:
    """Have every page of these rows in memory: one number of each is read."""
    numbers, dim = vectors.reshape(-1), vectors.shape[1]
    starts = ids.astype(np.intp) * dim
    for column in (*range(0, dim, _PAGE // vectors.itemsize), dim - 1):
        numbers.take(starts + column)


def _gather(vectors: Vectors, ids: Ids) -> bytes:
    return vectors.take(ids, axis=0).tobytes()


def _text(vectors: Vectors, ids: Ids) -> bytes:
    """Rows between commas; each number is the shortest text of exactly that float16."""
    rows = vectors.take(ids, axis=0).astype(np.float64)
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
