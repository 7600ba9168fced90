"""What is no request, or too much of one, before any application sees it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guarded_server import raw, serving
from sensedict.wire import Limits
from sensedict_server import http_protocol

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(Limits(max_header_bytes=2000)) as found:
        yield found


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 2000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"x" * 2000),
        HEAD + b"X: y\r\n" * 1000 + b"\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_bad_requests_are_refused(url: str, request_bytes: bytes) -> None:
    answer = raw(url, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in answer
    assert b"A head has 2000 bytes at most" in answer


def test_a_head_without_an_end_is_refused_while_it_comes(url: str) -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for begun in (b"GET / HTTP/1.1\r\nX: ", b"GET /", chunked + b"3;", chunked + b"0\r\nX: "):
        assert raw(url, begun, *[b"x" * 500] * 5, pause=0.05).startswith(b"HTTP/1.1 400 ")
    assert raw(url, chunked + b"0\r\n", *[b"X: y\r\n" * 100] * 5, pause=0.05).startswith(b"HTTP/1.1 400 ")


def test_requests_at_once_are_answered_in_their_order(url: str) -> None:
    bodies = [b"x" * size for size in (3, 1, 2)]
    sent = b"".join(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)
    answers = raw(url, sent + LAST).split(b"HTTP/1.1 200 OK")
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers[1:]] == [b"3", b"1", b"2", b"0"]


def test_too_many_requests_at_once_end_the_connection(url: str) -> None:
    """A bad request would stand where the answer to the first one belongs."""
    assert b" 400 " not in raw(url, HEAD + b"\r\n", *[LAST * (2 + http_protocol.PIPELINED)])
    assert b" 400 " not in raw(url, b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n")


def test_a_wish_for_another_protocol_is_overlooked(url: str) -> None:
    """As Java's client has it, with a body and on a connection that is used again."""
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    answers = raw(url, HEAD + wish + b"Content-Length: 14\r\n\r\n\r\nupgrade: abc\n" + LAST)
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers.split(b"HTTP/1.1 200 OK")[1:]] == [b"14", b"0"]
    parts = (HEAD + b"Upg", b"rade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc")
    assert raw(url, *parts, pause=0.2).startswith(b"HTTP/1.1 400 ")  # rather than without its body
