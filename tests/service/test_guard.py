"""What is refused before a route is looked for, over a trivial application and a real server."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterator

import httpx
import pytest

from guarded_server import BIG, connected, raw, rest, serving
from running_service import Service as Running
from sensedict.wire import Limits
from sensedict_server import exchange, http_protocol
from sensedict_server.app import Service
from sensedict_server.request_context import RequestContext
from service_problems import expect_problem


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    limits = Limits(max_body_bytes=1000, max_url_bytes=100, max_header_bytes=2000)
    with serving(limits) as found:
        yield found


def test_an_unforeseen_error_of_a_route_is_a_problem_and_ends_there() -> None:
    app = Service()
    app.around = RequestContext(app.around)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("unforeseen")

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
            return await http.get("/broken")

    expect_problem(asyncio.run(ask()), 500, "internal", "its log tells why")


def test_names_of_other_sites_are_not_answered_without_keys(url: str) -> None:
    """A page of such a site whose name leads to 127.0.0.1 would be answered as if it were our own."""
    for host in ("127.0.0.1:80", "localhost", "LOCALHOST:8000", "[::1]:8000"):
        assert httpx.get(url, headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "[::2]", "0.0.0.0"):
        expect_problem(httpx.get(url, headers={"Host": host}), 421, "wrong-host", "SENSEDICT_KEYS=required")


def test_pages_of_other_sites_send_nothing(url: str) -> None:
    own = url.replace("http://", "")
    assert httpx.post(url, headers={"Origin": url}).status_code == 200
    assert httpx.get(url, headers={"Origin": "https://evil.example"}).status_code == 200  # which the page cannot read
    for origin in ("https://evil.example", "null", f"http://{own}.evil.example"):
        expect_problem(httpx.post(url, headers={"Origin": origin}), 403, "forbidden", origin)
    for media in ("text/plain", "Application/X-WWW-Form-Urlencoded; a=b", "multipart/form-data"):
        answer = httpx.put(url, content=b"{}", headers={"Content-Type": media})
        expect_problem(answer, 415, "unsupported-media-type", "cannot be read here")


def test_sizes(url: str) -> None:
    assert httpx.post(url, content=b"x" * 1000).text == "1000"
    expect_problem(httpx.post(url, content=b"x" * 1001), 413, "request-too-large", "1001 bytes or more; at most 1000")
    assert httpx.post(f"{url}/large", content=b"x" * 2000).text == "2000"
    expect_problem(httpx.get(f"{url}/{'x' * 100}"), 414, "url-too-long", "101 bytes; at most 100")
    expect_problem(httpx.get(f"{url}/?q={'x' * 100}"), 414, "url-too-long")
    answer = raw(url, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2000)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b"whose head is longer than 2000 bytes" in body


def test_a_body_is_counted_while_it_comes(url: str) -> None:
    """Of chunks no header states the size."""
    chunk = b"100\r\n" + b"x" * 256 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(url, head + chunk * 4)
    assert b" 413 " in answer.partition(b"\r\n")[0]


def test_slow_bodies_and_slow_heads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PIECE_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    with serving(Limits()) as url:
        answer = raw(url, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc")
        assert b" 408 " in answer.partition(b"\r\n")[0]
        assert b"nothing of the body came for 0.2 s" in answer
        assert raw(url, b"GET / HTTP/1.1\r\nHost: loc") == b""
        assert raw(url, b"") == b""
        monkeypatch.setattr(exchange, "PIECE_SECONDS", 1.0)  # no piece is that late, unless the machine is busy
        pieces = [
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n",
            *[b"x"] * 40,
        ]
        assert any(b"bytes of the body in" in raw(url, *pieces, pause=0.05) for _ in range(5))


def test_a_request_that_takes_too_long() -> None:
    with serving(Limits(request_seconds=1)) as url:
        answer = httpx.get(f"{url}/slow", timeout=60)
        expect_problem(answer, 503, "unavailable", "not ready after 1 s")
        assert answer.headers["retry-after"] == "1"
        assert httpx.get(url).status_code == 200


def test_more_than_a_share() -> None:
    with serving(Limits(requests_per_second=1, max_burst=2)) as url, httpx.Client() as http:
        assert [http.get(url).status_code for _ in range(2)] == [200, 200]
        answer = http.get(url)
        expect_problem(answer, 429, "too-many-requests", "more than 1 requests a second")
        assert answer.headers["retry-after"] == "1"
        assert http.get(f"{url}/livez").status_code == 200  # probes are not counted


def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Limits()) as url:
        with monkeypatch.context() as patched, connected(url) as client:
            patched.setattr(http_protocol, "STALL_SECONDS", 0.2)
            client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            ending = select.poll()
            ending.register(client, 0)  # nothing but the end of the connection
            assert ending.poll(30_000)
            assert len(rest(client)) < BIG
        with connected(url) as reader:
            reader.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert len(rest(reader)) > BIG


def test_every_answer_has_the_headers_of_safety(service: Running) -> None:
    for path in ("/livez", "/docs", "/v1/limits", "/nosuch", "/v1/dictionaries/x"):
        headers = httpx.get(service.url + path).headers
        for name, value in http_protocol.HEADERS:
            assert headers[name] == value
        assert "access-control-allow-origin" not in headers
