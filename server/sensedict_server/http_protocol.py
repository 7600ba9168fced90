"""uvicorn's HTTP/1.1 with the bounds that it lacks: on heads, on who sends slowly, who reads slowly, and how many.

The parser is llhttp, by way of httptools; the loop is uvloop where there is one.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sensedict.errors import MalformedBody
from sensedict_server.problems import problem

HEAD_SECONDS = 10.0  # from the first byte of a connection, or of a further request, to the end of the request's head
STALL_SECONDS = 20.0  # between two looks at how much of an answer was taken
SLOWEST = 32 * 1024  # bytes a second of an answer that the client must take
PIPELINED = 64  # requests that wait in memory because their client sent them before it had an answer
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
WHOLE = "whole"  # in the state of a request whose body came together with its head
# On every answer: no page of another site may frame it, take it for what it is not, or load it as a part of its own.
HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
CONNECTIONS = 800  # of one process: below the 1024 open files that many systems allow


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is ended when its client sends too much of a head, or takes too long."""

    _answered: RequestResponseCycle | None = None  # the request whose turn it is; `cycle` is the last one that came
    _in_body = False  # or what follows it
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _why = ""  # the last head was refused, where it was
    _unparsed = 0  # bytes since the end of a head or a piece of a body: the parser keeps the beginning of a header

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        # asyncio does so itself, but not for the sockets of a listener that uvicorn bound: without it the body of an
        # answer waits 40 ms for the client to acknowledge the head.
        found = transport.get_extra_info("socket")
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        for timer in (self._head, self._stall):
            if timer is not None:
                timer.cancel()
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True  # uvicorn tells it only the last of several
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes; a head that began must end soon, and so must the body of a request that was refused."""
        before = self.cycle
        if not self._in_body and self.scope is (None if before is None else before.scope):  # nothing of a next one came
            data = _without_upgrade(data)
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > self._most and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")
        if self.cycle is not before:
            self._got_head()
            if not self.cycle.more_body:
                self.cycle.scope["state"][WHOLE] = True  # the application runs after this
        elif self._head is None and self._between():
            self._await_head()

    def on_headers_complete(self) -> None:
        """Begin the request.

        Raises:
            ValueError: it is refused: the parser makes a bad request of it.
        """
        self._why = self._fault_of_head()
        if self._why:
            raise ValueError(self._why)
        self._unparsed = 0
        super().on_headers_complete()
        self._in_body = True
        self.headers = []  # for what comes behind the body, which must not be taken for these (RFC 9110 §6.5.1)
        if self.expect_100_continue:  # where the answer is no, nobody can tell a next request from the body
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._unparsed = 0
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or end."""
        super().on_response_complete()
        self._watch_the_end()

    def timeout_keep_alive_handler(self) -> None:
        """There was no next request."""
        super().timeout_keep_alive_handler()
        self._watch_the_end()

    def pause_writing(self) -> None:
        """The client is slower than we are: look after a while how much it took."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """It caught up."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()
        self._watch_the_end()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or has too long a head, with a problem document as everything else."""
        begun = self._in_body and self.cycle.response_started
        if begun and self.cycle.response_complete:
            self.transport.close()  # a second answer would be taken for that to the next request
            return
        if begun or self.pipeline or not (self._between() or self._in_body):
            self.transport.abort()  # it would stand where another answer belongs
            return
        request_id = uuid.uuid4().hex
        told = self._why or f"this is no request of HTTP/1.1, or one whose head is longer than {self._most} bytes"
        refused = problem(MalformedBody(told), request_id)
        lines = [b"HTTP/1.1 400 Bad Request", b"connection: close", b"x-request-id: " + request_id.encode()]
        headers = [*self.server_state.default_headers, *refused.raw_headers]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(refused.body)]))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        if cycle.scope["http_version"] == "1.0":
            app = _without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _fault_of_head(self) -> str:
        """Why the head that was read is refused; empty where it is not. Blanks behind its values are taken away."""
        size, hosts = len(self.url), 0
        for place, (name, value) in enumerate(self.headers):
            size += len(name) + len(value)
            hosts += name == b"host"
            if value.endswith((b" ", b"\t")):
                self.headers[place] = name, value.rstrip(b" \t")
        version = self.parser.get_http_version()
        if size > self._most:
            return f"a head of {size} bytes; at most {self._most}"
        if version not in ("1.0", "1.1"):
            return f"HTTP/{version} is not spoken here: ask by HTTP/1.1"
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            return f"{hosts} Host headers: send one (RFC 9112 §3.2)"
        if self.parser.should_upgrade():
            return "no other protocol is spoken here: send no Upgrade header"
        if len(self.pipeline) >= PIPELINED:
            return f"more than {PIPELINED} requests without waiting for an answer"
        return ""

    @property
    def _most(self) -> int:
        return self.config.h11_max_incomplete_event_size or 0

    def _between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._no_head)

    def _got_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _no_head(self) -> None:
        self._head = None
        if self._between():
            self.transport.abort()

    def _watch_the_end(self) -> None:
        """What is left of an answer must be taken, however little, or the connection would stay for ever."""
        if self.transport.is_closing() and self._stall is None:
            self._look_again()

    def _look_again(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_SECONDS, self._look, left)

    def _look(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < SLOWEST * STALL_SECONDS:
            found = self.transport.get_extra_info("socket")
            if found is not None:  # or the system goes on to hold, and to offer, what is in its own buffers
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self._look_again()


def _without_chunks(app: ASGIApp, cycle: RequestResponseCycle) -> Any:
    """The application for a client of HTTP/1.0: an answer of untold length ends with the connection."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        told = True

        async def unchunked(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                told = any(name.lower() == b"content-length" for name, _ in message.get("headers", []))
                cycle.chunked_encoding = None if told else False
            elif not told:
                cycle.expected_content_length += len(message.get("body", b""))
            await send(message)

        await app(scope, receive, unchunked)

    return answered


def _without_upgrade(data: bytes) -> bytes:
    """The beginning of a request, in which a wish for another protocol is renamed.

    It may be overlooked (RFC 9110 §7.8). Java's client wishes for HTTP/2 on every request, and the parser would take
    all that follows, a body too, for that protocol's.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return data if _UPGRADE.search(head) is None else _UPGRADE.sub(b"\r\nx-upgrade:", head) + data[len(head) :]


def bounds(max_header_bytes: int) -> dict[str, Any]:
    """What uvicorn is told beside the application and its address.

    A proxy's word for the address of a client counts only where FORWARDED_ALLOW_IPS names the proxy: fair share goes by
    it.
    """
    return {
        "http": BoundedProtocol,
        "ws": "none",
        "h11_max_incomplete_event_size": max_header_bytes,
        "proxy_headers": "FORWARDED_ALLOW_IPS" in os.environ,
        "headers": HEADERS,
    }
