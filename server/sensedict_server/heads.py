"""HEAD, which health checkers and `curl -I` ask: what GET would answer, without its body (RFC 9110 §9.3.2).

Plain ASGI, around what compresses answers, so that all headers are those of GET. FastAPI's routes take no HEAD of
themselves, and described with both methods, each operation would stand twice in the OpenAPI document.
"""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """Have a HEAD request answered as GET, and keep the body back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; of an answer that comes in pieces, none is made but the first."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as end:

            async def send_head(message: Message) -> None:
                if message["type"] != "http.response.body":
                    await send(message)
                    return
                await send({"type": "http.response.body"})
                if message.get("more_body", False):
                    end.cancel()
                    await checkpoint()  # the end: nobody may send a second piece

            # A range is for GET alone (RFC 9110 §14.2).
            headers = [header for header in scope["headers"] if header[0] != b"range"]
            # A scope of its own: in the other the server looks for whether a body is to follow.
            asked = {**scope, "method": "GET", "headers": headers}
            try:
                await self._app(asked, receive, send_head)
            finally:
                scope.update(asked, method="HEAD")  # what is known of it by now, for the log
