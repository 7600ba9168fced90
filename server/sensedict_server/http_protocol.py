"""uvicorn's HTTP/1.1 with the bounds that it lacks: on who sends slowly, who reads slowly, and how many there are.

It is the one over h11, which bounds the head of a request (`--h11-max-incomplete-event-size`); the one over httptools
reads heads of any size.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import uuid
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from sensedict.errors import MalformedBody
from sensedict_server.problems import problem

HEAD_SECONDS = 10.0  # from the first byte of a connection, or of a further request, to the end of the request's head
STALL_SECONDS = 20.0  # between two looks at how much of an answer was taken
SLOWEST = 32 * 1024  # bytes a second of an answer that the client must take
# In the state of a request whose body came together with its head: what is called by whoever sends the whole answer
# without a wait between its head and its body.
WHOLE = "whole"
_HEAD_BYTES = 4096  # no more are held back for what follows
# On every answer: no page of another site may frame it, take it for what it is not, or load it as a part of its own.
HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
CONNECTIONS = 800  # of one process: below the 1024 open files that many systems allow


class Joining:
    """A transport that sends the head of an answer together with what follows it at once.

    uvicorn writes the head by itself. That is a system call more, and it wakes the client for nothing.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""
        self._followed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the bytes; of several writes in one turn of the event loop the first waits for the second."""
        followed, self._followed = self._followed, False
        if self._held:
            self._held, data = b"", self._held + data
            self._transport.write(data)
        elif 0 < len(data) <= _HEAD_BYTES:
            self._held = data
            if not followed:
                self._loop.call_soon(self._flush)
        elif data:
            self._transport.write(data)

    def follow(self) -> None:
        """Be told that the next write is followed by another one at once."""
        self._followed = True

    def close(self) -> None:
        """End the connection when all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


class BoundedProtocol(H11Protocol):
    """A connection that is ended when its client takes too long."""

    _joining: Joining
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._joining = Joining(transport, self.loop)
        self.transport = self._joining  # type: ignore[assignment]
        # asyncio does so itself, but not for the sockets of a listener that uvicorn bound: without it the body of an
        # answer waits 40 ms for the client to acknowledge the head.
        found = transport.get_extra_info("socket")
        if found is not None and found.family != socket.AF_UNIX:
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes; a head that began must end soon, and so must the body of a request that was refused."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._got_head()
            if not self.cycle.more_body:
                self.scope["state"][WHOLE] = self._joining.follow  # the application runs after this
        elif self._head is None and self._between():
            self._await_head()

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

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or has too long a head, with a problem document as everything else."""
        refused = problem(
            MalformedBody(f"{msg} A head has {self.config.h11_max_incomplete_event_size} bytes at most."),
            uuid.uuid4().hex,
        )
        lines = [b"HTTP/1.1 400 Bad Request", b"connection: close"]
        headers = [*self.server_state.default_headers, *refused.raw_headers]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(refused.body)]))
        self.transport.close()

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
