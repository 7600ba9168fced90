"""A trivial application behind the guard and the bounds of HTTP, and bytes sent to it as they are."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from sensedict.wire import Limits
from sensedict_server import http_protocol
from sensedict_server.disconnects import Watched
from sensedict_server.exchange import Turns
from sensedict_server.fair_share import FairShare
from sensedict_server.heads import Heads
from sensedict_server.middleware import Guard
from sensedict_server.request_context import RequestContext

BIG = 32 * 2**20


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the number of bytes received, of `/untold` without its own length; `/slow` never does.

    `/some` answers 30 kB, `/big` 32 MiB.
    """
    read, more = 0, True
    while more:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(3600)
    sizes = {"/big": BIG, "/some": 30_000}
    body = b"x" * sizes[scope["path"]] if scope["path"] in sizes else str(read).encode()
    headers = [] if scope["path"] == "/untold" else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(limits: Limits, **options: Any) -> Iterator[str]:
    """The address of a server of `echo` behind the guard."""
    share = FairShare(4, limits.requests_per_second, limits.max_burst, limits.max_in_flight)
    bounded = Watched(Turns(echo, limits, share, large={"/large": 10**9}))
    app = RequestContext(Heads(Guard(bounded, limits, share, **{"keys": None, "local": True, **options})))
    bounds = http_protocol.bounds(limits.max_header_bytes)
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, **bounds))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join()


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        yield client


def rest(client: socket.socket) -> bytes:
    """What comes until the other side closes or aborts."""
    pieces = []
    try:
        while piece := client.recv(2**20):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def raw(url: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """The answer to these bytes."""
    with connected(url) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return rest(client)
