"""Around every request: its id, its log line, and a bound on its body. Plain ASGI, so that bodies pass through as they
come."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict.errors import RequestTooLarge, SenseDictError
from sensedict_server.problems import problem

_log = logging.getLogger("sensedict.service")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the fields that a record was given through `extra`."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        for name in ("request_id", "method", "path", "status", "milliseconds"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr() -> None:
    """Send this process's log to stderr, a line of JSON a record; what libraries tell of their steps is left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in (_log.name, "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)


class RequestContext:
    """Give each request an id (the caller's own, if it sent a usable `X-Request-ID`), send it back, and log the answer.

    An error that nobody foresaw becomes a problem document too, and its traceback goes to the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = 499  # nobody is left to answer
        except Exception as error:
            _log.exception("unforeseen error", extra={"request_id": request_id})
            if status == 0:
                unforeseen = SenseDictError(f"{type(error).__name__}: {error}")
                await problem(unforeseen, request_id)(scope, receive, send_with_id)
        _log.info(
            "request",
            extra={
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round((time.monotonic() - started) * 1000, 1),
            },
        )


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


def _request_id(scope: Scope) -> str:
    given: bytes = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
