"""Around every request: its id, its log line, its numbers. Plain ASGI, so that bodies pass through as they come."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict.errors import SenseDictError, Unavailable
from sensedict.wire import LIVEZ, METRICS, READYZ
from sensedict_server import metrics
from sensedict_server.logs import log, log_request
from sensedict_server.problems import problem
from sensedict_server.work import Work, current

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FULL_DISK = 60.0  # seconds; until somebody has made room
_PROBES = (LIVEZ, READYZ, METRICS)  # asked every few seconds: their good answers are no news


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
        work = Work(_request_id(scope))
        scope.setdefault("state", {})["request_id"] = work.request_id
        token = current.set(work)
        answer = _Answer(send, work.request_id)
        metrics.IN_FLIGHT.inc()
        try:
            await self._answer(scope, receive, answer, work)
        finally:
            metrics.IN_FLIGHT.dec()
            answer.tell(scope)
            current.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer, work: Work) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:  # the service stops, and waits no longer
            answer.status = answer.status or 499
            work.stop()
            raise
        except ClientDisconnect:
            metrics.ABANDONED.inc()
            answer.status = 499  # nobody is left to answer
        except Exception as error:
            if not isinstance(error, SenseDictError) or answer.status != 0:
                log.exception("unforeseen error")
            if answer.status == 0:
                await problem(_told(error), work.request_id)(scope, receive, answer.send)


class _Answer:
    """An answer on its way out, and what is to be told of it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self._started = time.monotonic()
        self._bytes = 0
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self._request_id.encode())]
        elif message["type"] == "http.response.body":
            self._bytes += len(message.get("body", b""))
        await self._send(message)

    def tell(self, scope: Scope) -> None:
        """Log and count, now that it is over."""
        seconds = time.monotonic() - self._started
        route = getattr(scope.get("route"), "path", "unmatched")  # never the path: each would be a series of its own
        of_seconds, of_bytes = metrics.of_route(route, _method(scope), self.status)
        of_seconds.observe(seconds)
        of_bytes.inc(self._bytes)
        level = logging.WARNING if self.status >= 500 else logging.INFO
        if scope["path"] in _PROBES and level == logging.INFO:
            level = logging.DEBUG
        log_request(level, self._fields(scope, route, seconds))

    def _fields(self, scope: Scope, route: str, seconds: float) -> dict[str, str | int | float | None]:
        return {
            "request_id": self._request_id,
            "method": scope["method"],
            "path": scope["path"],
            "route": route,
            "dictionary": scope.get("path_params", {}).get("ref"),
            "key": scope["state"].get("key_name"),
            "status": self.status,
            "milliseconds": round(seconds * 1000, 1),
            "bytes": self._bytes,
        }


def _told(error: Exception) -> SenseDictError:
    if isinstance(error, SenseDictError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("the service's disk is full: a file set could not be written", _FULL_DISK)
    return SenseDictError(f"{type(error).__name__}: {error}")


def _method(scope: Scope) -> str:
    """The method, if it is one that a route has: a caller may make others up, and each would be a series."""
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


def _request_id(scope: Scope) -> str:
    given = b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value
    return given.decode() if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
