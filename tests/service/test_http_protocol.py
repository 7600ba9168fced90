"""What is no request, or too much of one, before any application sees it; and where one ends and the next begins."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from guarded_server import connected, raw, serving
from sensedict.wire import Limits
from sensedict_server import http_protocol, metrics
from sensedict_server.http_protocol import BoundedProtocol
from until import until

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
WISH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
REFUSED = HEAD + b"Content-Type: text/plain\r\n"  # before its body is read


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(Limits(max_header_bytes=2000)) as found:
        yield found


def bodies(answers: bytes) -> list[bytes]:
    """Those of several answers, none of which is in chunks."""
    return [answer.rpartition(b"\r\n\r\n")[2] for answer in answers.split(b"HTTP/1.1 ")[1:]]


NO_REQUEST = b"this is no request of HTTP/1.1, or one whose head is longer than 2000 bytes"


@pytest.mark.parametrize(
    ("request_bytes", "told"),
    [
        (b"nonsense\r\n\r\n", NO_REQUEST),
        (b"GET /\r\n\r\n", b"HTTP/0.9 is not spoken here"),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", b"HTTP/2.0 is not spoken here"),
        (b"GET / HTTP/1.1\r\n\r\n", b"0 Host headers: send one"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"2 Host headers: send one"),
        (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 2000), b"bytes; at most 2000"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"x" * 2000), b"bytes; at most 2000"),
        (HEAD + b"X: y\r\n" * 1000 + b"\r\n", b"bytes; at most 2000"),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NO_REQUEST),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", NO_REQUEST),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"no other protocol is spoken here"),
    ],
)
def test_bad_requests_are_refused(url: str, request_bytes: bytes, told: bytes) -> None:
    answer = raw(url, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in answer
    assert b"x-request-id: " in answer
    assert told in answer


def test_a_head_without_an_end_is_refused_while_it_comes(url: str) -> None:
    chunked = HEAD + CHUNKED
    for begun in (b"GET / HTTP/1.1\r\nX: ", b"GET /", chunked + b"3;", chunked + b"0\r\nX: "):
        assert raw(url, begun, *[b"x" * 500] * 5, pause=0.05).startswith(b"HTTP/1.1 400 ")
    assert raw(url, chunked + b"0\r\n", *[b"X: y\r\n" * 100] * 5, pause=0.05).startswith(b"HTTP/1.1 400 ")


def test_requests_at_once_are_answered_in_their_order(url: str) -> None:
    sent = b"".join(HEAD + b"Content-Length: %d\r\n\r\n%s" % (size, b"x" * size) for size in (3, 1, 2))
    assert bodies(raw(url, sent + LAST)) == [b"3", b"1", b"2", b"0"]


def test_too_many_requests_at_once_end_the_connection(url: str) -> None:
    """A bad request would stand where the answer to the first one belongs."""
    assert b" 400 " not in raw(url, HEAD + b"\r\n", *[LAST * (2 + http_protocol.PIPELINED)])
    assert b" 400 " not in raw(url, b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n")


def test_a_wish_for_another_protocol_is_overlooked(url: str) -> None:
    """As Java's client has it, with a body and on a connection that is used again."""
    assert bodies(raw(url, HEAD + WISH + b"Content-Length: 14\r\n\r\n\r\nupgrade: abc\n" + LAST)) == [b"14", b"0"]
    begun = HEAD + b"Content-Length: 0\r\n\r\n" + HEAD + b"Content-Length: 22\r\n"
    body = b"X\r\nupgrade: abc\r\n\r\nDEF"
    assert bodies(raw(url, begun, b"\r\n" + body + LAST, pause=0.1)) == [b"0", b"22", b"0"]
    parts = (HEAD + b"Upg", b"rade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc")
    assert raw(url, *parts, pause=0.2).startswith(b"HTTP/1.1 400 ")  # rather than without its body


def test_after_a_request_that_was_refused(url: str) -> None:
    """A next one is read as any other, unless it could be the body of that one; a bad body has no second answer."""
    wish = HEAD + WISH + b"Content-Length: 3\r\n\r\nabc"
    assert bodies(raw(url, REFUSED + b"Content-Length: 3\r\n\r\n", b"abc", wish + LAST, pause=0.1))[1:] == [b"3", b"0"]
    expecting = REFUSED + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    for sent in ((expecting, LAST), (REFUSED + CHUNKED, b"zzz\r\n")):
        answers = raw(url, *sent, pause=0.1)
        assert answers.startswith(b"HTTP/1.1 415 ")
        assert answers.count(b"HTTP/1.1 ") == 1


def test_a_head_is_answered_without_a_body(url: str) -> None:
    sent = [b"HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"/some", b"/untold")]
    assert bodies(raw(url, *sent, LAST)) == [b"", b"", b"0"]


def test_http_1_0_has_no_chunks(url: str) -> None:
    assert bodies(raw(url, b"GET /untold HTTP/1.0\r\nHost: localhost\r\n\r\n")) == [b"0"]


def test_neither_trailers_nor_spaces_are_part_of_a_head(url: str) -> None:
    """Of two Host headers the guard takes one, and that is of another site."""
    trailer = HEAD + CHUNKED + b"3\r\nabc\r\n0\r\nHost: evil.example\r\n\r\n"
    spaces = b"POST / HTTP/1.1\r\nHost: localhost \t\r\nContent-Length: 3 \r\n\r\nabc"
    assert bodies(raw(url, trailer + spaces + LAST)) == [b"3", b"3", b"0"]


def test_a_body_is_whole_only_where_it_is(url: str) -> None:
    """And not because that of the request before was."""
    with connected(url) as client:
        client.sendall(HEAD + b"Content-Length: 3\r\n\r\nabcGET /slow HTTP/1.1\r\n")
        begun = until(lambda: [found for found in connections() if found.cycle is not None])
        client.sendall(b"Host: localhost\r\nContent-Length: 3\r\n\r\nab")
        until(lambda: begun[0].cycle.scope["path"] == "/slow")
        assert http_protocol.WHOLE not in begun[0].cycle.scope["state"]


def test_who_waits_for_two_answers_and_leaves_is_noticed(url: str) -> None:
    until(lambda: in_flight() == 0)
    with connected(url) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n" + LAST)
        until(lambda: in_flight() == 1)
    until(lambda: in_flight() == 0)


def test_who_leaves_the_last_bytes_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are too few for the transport to tell that it waits for the client."""
    monkeypatch.setattr(http_protocol, "STALL_SECONDS", 0.2)
    with serving(Limits()) as url, connected(url) as client:
        connection = until(connections)[0]
        connection.timeout_keep_alive = 1
        sent = 0

        def full() -> bool:
            nonlocal sent
            if connection.server_state.total_requests < sent:
                return False
            if connection.transport.get_write_buffer_size() > 0:
                return True
            client.sendall(b"GET /some HTTP/1.1\r\nHost: localhost\r\n\r\n")
            sent += 1
            return False

        until(full)
        assert not connection.flow.write_paused
        until(lambda: connection not in connection.connections)


def connections() -> list[BoundedProtocol]:
    """Those that are open."""
    # by the type alone: an object may warn where it is asked for its class
    found = [connection for connection in gc.get_objects() if issubclass(type(connection), BoundedProtocol)]
    return [connection for connection in found if connection in connection.connections]


def in_flight() -> float:
    """Requests that are being answered."""
    return sum(sample.value for family in metrics.IN_FLIGHT.collect() for sample in family.samples)
