"""A bound on the body of every request. Plain ASGI, so that bodies pass through as they come."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict.errors import RequestTooLarge
from sensedict_server.problems import problem


class BodyLimit:
    """Refuse a body of more than `limit` bytes before it is read, or as soon as it has grown past them."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self._limit:
            await problem(self._too_large(int(stated)), scope["state"]["request_id"])(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise self._too_large(read)
            return message

        await self._app(scope, counted, send)

    def _too_large(self, size: int) -> RequestTooLarge:
        return RequestTooLarge(f"a body of {size} bytes or more; at most {self._limit}: split the request")
