"""One request on its way in and its answer on the way out: their sizes, their time, their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict.errors import MalformedBody, RequestTooLarge, SlowRequest, Unavailable
from sensedict.wire import Limits
from sensedict_server.fair_share import FairShare, Share

PIECE_SECONDS = 20.0  # for the next piece of a body
SLOWEST = 32 * 1024  # bytes a second of a body as a whole, after the first PIECE_SECONDS


SHARE = "share"  # in the state of a request that `Guard` let pass


class Turns:
    """End requests that are too large, too slow or take too long, and let each have its turn.

    Args:
        large: paths that take a body of another size than `limits` says, as a stream that is not held in memory, and
            as much time as they need.
    """

    def __init__(self, app: ASGIApp, limits: Limits, share: FairShare, large: Mapping[str, int]) -> None:
        self._app, self._limits, self._share, self._large = app, limits, share, large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on.

        Raises:
            SenseDictError: why it was ended.
        """
        share = scope.get("state", {}).get(SHARE)
        if share is None:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._share)
        limit = self._large.get(scope["path"])
        exchange.expect(dict(scope["headers"]), self._limits.max_body_bytes if limit is None else limit)
        await exchange.run(self._app, share, self._limits.request_seconds if limit is None else None)


class Exchange:
    """Bounds of one request and its answer.

    A body is read before the request has its turn: who sends slowly keeps nobody from a thread.

    Attributes:
        started: the answer is on its way.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, fair: FairShare) -> None:
        self._scope, self._receive, self._send, self._fair = scope, receive, send, fair
        self._share: Share | None = None
        self._seconds: float | None = None
        self._end = anyio.CancelScope()
        self._timer: asyncio.TimerHandle | None = None
        self._begun = asyncio.get_running_loop().time()
        self._whole = True
        self._read = self._limit = 0
        self._running = self._expired = False
        self.started = False

    def expect(self, headers: Mapping[bytes, bytes], limit: int) -> None:
        """Let pass a body of the size that the headers state.

        Raises:
            RequestTooLarge: it is larger than `limit` bytes.
            MalformedBody: its length is no number.
        """
        self._limit = limit
        stated = headers.get(b"content-length", b"0")
        if not stated.isdigit():
            raise MalformedBody(f"Content-Length {stated[:20]!r} is no number")
        if int(stated) > limit:
            raise self._too_large(int(stated))
        self._whole = int(stated) == 0 and b"transfer-encoding" not in headers

    async def run(self, app: ASGIApp, share: Share, seconds: float | None) -> None:
        """Have it answered.

        A thread cannot be ended from outside: when the time is over, the answer waits for the statement that the thread
        waits for, which the database ends (`roles.STATEMENT_SECONDS`).

        Args:
            seconds: to the beginning of the answer, from the end of the request on; None: as long as it takes.

        Raises:
            Unavailable: the time is over.
        """
        self._share, self._seconds = share, seconds
        try:
            with self._end:
                if self._whole:
                    await self._begin()
                await app(self._scope, self.receive, self.send)
        finally:
            self._rest()
        if self._expired and not self.started:
            raise Unavailable(f"the answer was not ready after {seconds:g} s: ask for less, or again later")

    async def receive(self) -> Message:
        """The next message from the client.

        Raises:
            SlowRequest: the body comes too slowly.
            RequestTooLarge: it is larger than it may be.
        """
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(PIECE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise SlowRequest(f"nothing of the body came for {PIECE_SECONDS:g} s") from None
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            raise self._too_large(self._read)
        seconds = asyncio.get_running_loop().time() - self._begun
        if message.get("more_body", False) and seconds > PIECE_SECONDS and self._read < seconds * SLOWEST:
            raise SlowRequest(f"{self._read} bytes of the body in {seconds:.0f} s: send {SLOWEST} a second or more")
        if not message.get("more_body", False):
            self._whole = True
            await self._begin()
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on; with its beginning the turn of the request is over."""
        if message["type"] == "http.response.start":
            self.started = True
            self._rest()
        await self._send(message)

    async def _begin(self) -> None:
        """Wait for the turn of this request; from here on its time runs."""
        if self.started or self._share is None:
            return
        if self._seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)
        await self._fair.take(self._share)
        self._running = True

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._running and self._share is not None:
            self._running = False
            self._fair.give(self._share)

    def _expire(self) -> None:
        self._expired = True
        self._end.cancel()

    def _too_large(self, size: int) -> RequestTooLarge:
        return RequestTooLarge(f"a body of {size} bytes or more; at most {self._limit}: split the request")
