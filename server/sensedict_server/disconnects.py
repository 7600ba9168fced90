"""Clients that went away: nobody reads the answer, so the request gives its place in line and its query up.

Routes run in threads, which cannot be ended from outside. The query they wait for can: the server is asked to cancel
it, the thread gets an error and ends.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from starlette.types import Message, Receive, Scope

from sensedict_server.work import Work

_SOON = 0.05  # seconds; what is answered by then costs no task of its own
_AGAIN = 0.2  # seconds; a thread that was between two queries begins the next one


class _Answer(Protocol):
    @property
    def complete(self) -> bool: ...


class Watch:
    """Ends a request when its client is gone: `end` is cancelled, and what it reads in the database.

    A request waiting for a thread leaves the line. The body passes through `receive` first: while it is being read,
    the route itself learns that the client is gone.

    Args:
        lane: threads that only cancel, since every other one may be waiting for the database.
    """

    def __init__(
        self, scope: Scope, receive: Receive, answer: _Answer, work: Work, end: anyio.CancelScope, lane: CapacityLimiter
    ) -> None:
        self._receive, self._answer, self._work, self._end, self._lane = receive, answer, work, end, lane
        self._read = not any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_SOON, self._begin)

    async def receive(self) -> Message:
        """The next message from the client, for the route."""
        message = await self._receive()
        self._read = not message.get("more_body", False)
        return message

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
        if self._answer.complete:  # the server says so too when the answer is sent
            return
        self._end.cancel()
        while True:
            await anyio.to_thread.run_sync(self._work.stop, limiter=self._lane)
            await asyncio.sleep(_AGAIN)
