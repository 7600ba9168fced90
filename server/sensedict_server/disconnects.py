"""Clients that went away: nobody reads the answer, so the request gives its place in line and its query up.

Routes run in threads, which cannot be ended from outside. The query they wait for can: the server is asked to cancel
it, the thread gets an error and ends.
"""

from __future__ import annotations

import asyncio

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict_server.work import Work, current

_SOON = 0.05  # seconds; what is answered by then costs no task of its own
_AGAIN = 0.2  # seconds; a thread that was between two queries begins the next one


class Watched:
    """End a request when its client is gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lane = CapacityLimiter(2)  # threads that only cancel: every other one may be waiting for the database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on.

        Raises:
            ClientDisconnect: nobody is left to answer.
        """
        work = current.get()
        if scope["type"] != "http" or work is None:
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as end:
            watch = _Watch(scope, receive, send, work, end, self._lane)
            try:
                await self._app(scope, watch.receive, watch.send)
            finally:
                watch.stop()
        if end.cancelled_caught:
            raise ClientDisconnect


class _Watch:
    """Cancels `end` when the client of a request is gone, and what it reads in the database.

    A request waiting for a thread leaves the line. The body passes through `receive` first: while it is being read,
    the route itself learns that the client is gone.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, work: Work, end: anyio.CancelScope, lane: CapacityLimiter
    ) -> None:
        self._receive, self._send, self._work, self._end, self._lane = receive, send, work, end, lane
        self._read = not any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        self._complete = False
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_SOON, self._begin)

    async def receive(self) -> Message:
        """The next message from the client, for the route."""
        message = await self._receive()
        self._read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
        await self._send(message)

    def stop(self) -> None:
        """Watch no longer; the request is over."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if self._read:
            self._task = asyncio.create_task(self._watch())
        else:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._begin)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._complete:  # the server says so too when the answer is sent
            return
        self._end.cancel()
        while True:
            await anyio.to_thread.run_sync(self._work.stop, limiter=self._lane)
            await asyncio.sleep(_AGAIN)
