"""What is done to every answer on its way out: headers that a dependency asked for, and compression where it pays.

Plain ASGI. JSON shrinks to a fifth or sixth; vectors, random in all bits but the exponent's, hardly shrink, and at a
tenth of the speed at which they are sent; Parquet and archives of it are compressed already.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict import wire

WORTH = 1_000  # bytes; a smaller answer fits into one packet either way
_LEVEL = 4  # of gzip: the last tenth costs half the speed
_AS_THEY_ARE = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    wire.SAFETENSORS,
    wire.PARQUET,
    "application/x-tar",
    "application/octet-stream",
)
_KEPT = "answer_headers"  # in the state of a request


def add_header(scope: Scope, name: str, value: str) -> None:
    """Let the answer to a request have a header, whatever kind of answer it will be."""
    scope.setdefault("state", {}).setdefault(_KEPT, {})[name] = value


def added_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Those headers, for whoever answers before `Answers` does."""
    added = scope["state"].get(_KEPT, {})
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in added.items()]


class Compressed(GZipMiddleware):
    """Compress what is worth it."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=WORTH, compresslevel=_LEVEL, exclude_content_types=_AS_THEY_ARE)


class Answers:
    """Add the headers that `add_header` was given."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in scope["state"].get(_KEPT, {}).items():
                    headers[name] = value
                # The same bytes no longer, though the same answer (RFC 9110 §8.8.1).
                if "content-encoding" in headers and headers.get("etag", "").startswith('"'):
                    headers["etag"] = "W/" + headers["etag"]
            await send(message)

        await self._app(scope, receive, send_with_headers)
