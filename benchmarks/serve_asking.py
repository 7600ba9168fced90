"""A client that costs next to nothing: the bytes of a request go out, those of the answer come into memory at hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from itertools import cycle
from urllib.parse import urlsplit

_KEPT = 2.0  # seconds; uvicorn ends a connection that is idle for 5
_HEAD = 4096  # bytes; an answer's head is a few hundred


class Connection:
    """One connection that is kept, and memory for one answer after another."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 0)
        self._socket = socket.create_connection(self._to)
        self._used = time.monotonic()
        self._memory = memoryview(bytearray(_HEAD))

    def ask(self, request: bytes) -> memoryview:
        """The body of the answer, valid until the next is asked for."""
        if time.monotonic() - self._used > _KEPT:
            self.close()
            self._socket = socket.create_connection(self._to)
        self._socket.sendall(request)
        got = 0
        while (end := bytes(self._memory[:got]).find(b"\r\n\r\n")) < 0:
            got += self._receive(got, _HEAD)
        head = bytes(self._memory[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.decode())
        length = head.partition(b"content-length:")[2].split()
        if length:
            whole = end + 4 + int(length[0])
            self._grow(got, whole)
            while got < whole:
                got += self._receive(got, whole)
        else:  # in chunks, of which only the end is looked for
            while bytes(self._memory[max(0, got - 5) : got]) != b"0\r\n\r\n":
                self._grow(got, got + _HEAD)
                got += self._receive(got, len(self._memory))
        self._used = time.monotonic()
        return self._memory[end + 4 : got]

    def _grow(self, got: int, needed: int) -> None:
        if needed > len(self._memory):
            larger = memoryview(bytearray(max(needed, 2 * len(self._memory))))
            larger[:got] = self._memory[:got]
            self._memory = larger

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _receive(self, start: int, end: int) -> int:
        count = self._socket.recv_into(self._memory[start:end])
        if not count:
            raise RuntimeError("the server ended the connection")
        return count


def post(path: str, body: bytes, content_type: str, accept: str) -> bytes:
    """The bytes of a request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\naccept: {accept}\r\n"
        f"accept-encoding: identity\r\nuser-agent: sensedict\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """Some connections to one server, one after the other in turn, over each of which the same requests are sent.

    Args:
        requests: that together make an answer.
    """

    def __init__(self, url: str, requests: Sequence[bytes], connections: int = 8) -> None:
        self._connections = [Connection(url) for _ in range(connections)]
        self._requests = requests

    def __call__(self, answers: int) -> None:
        """Ask until so many answers are there."""
        for connection, _ in zip(cycle(self._connections), range(answers), strict=False):
            for request in self._requests:
                connection.ask(request)

    def sizes(self) -> list[int]:
        """Bytes of each request's answer."""
        return [len(self._connections[0].ask(request)) for request in self._requests]

    def close(self) -> None:
        """End the connections."""
        for connection in self._connections:
            connection.close()
