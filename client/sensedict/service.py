"""HTTP as the clients speak it: two thin drivers of httpx that carry the requests of `sensedict.exchange`.

Both send again while the service is away, and turn what it says into values and errors (`sensedict.answers`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import tenacity

from sensedict import answers, arrays, wire
from sensedict.errors import ConfigurationError, InvalidInput, Mismatch, Unavailable
from sensedict.exchange import Request

T = TypeVar("T")
Transport = httpx.BaseTransport
AsyncTransport = httpx.AsyncBaseTransport

KEY = "SENSEDICT_KEY"  # the environment's key to the service
_PIECE = 2**20
_log = logging.getLogger(__name__)
_backoff = tenacity.wait_exponential(multiplier=0.2, max=10.0) + tenacity.wait_random(0.0, 0.5)


@dataclass(frozen=True)
class Address:
    """Which service is asked, and how.

    Attributes:
        root: the service's root, e.g. `http://127.0.0.1:8000`.
        timeout: seconds to wait for a connection, and for each next piece of an answer.
        patience: seconds in which a service that is away is asked again; no attempt starts later.
        connections: most connections open at once; further requests wait for one.
        key: for services that ask for one; None: what the environment has as SENSEDICT_KEY.
    """

    root: str
    timeout: float
    patience: float
    connections: int
    key: str | None

    def __post_init__(self) -> None:
        """Refuse what would wait for ever.

        Raises:
            ConfigurationError: there are no connections to ask over.
        """
        if self.connections < 1:
            raise ConfigurationError(f"connections is {self.connections}: at least 1 is needed to ask anything")

    def url(self) -> httpx.URL:
        """The root.

        Raises:
            ConfigurationError: it is not an http address.
        """
        try:
            url = httpx.URL(self.root)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{self.root!r} is not an address: write e.g. http://127.0.0.1:8000") from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(f"{self.root!r} is not an http address: write e.g. http://127.0.0.1:8000")
        if url.path.rstrip("/").endswith("/v1"):
            short = str(url.copy_with(path=url.path.rstrip("/").removesuffix("/v1")))
            raise ConfigurationError(f"{self.root!r} is not the service's root: leave /v1 out, as in {short}")
        return url

    def headers(self) -> dict[str, str]:
        """What every request says.

        Raises:
            ConfigurationError: the key can be none; it is not told.
        """
        said = {"user-agent": f"sensedict/{version('sensedict')}"}
        key = os.environ.get(KEY, "") if self.key is None else self.key
        if key:
            if not (key.isascii() and key.isprintable() and " " not in key):
                raise ConfigurationError(f"the key has characters that no key has: give it whole, as `key` or in {KEY}")
            said["authorization"] = f"Bearer {key}"
        return said

    def waiting(self) -> httpx.Timeout:
        """Of one attempt; that all connections are in use is not the service's silence, so it has no end."""
        return httpx.Timeout(self.timeout, pool=None)

    def pool(self) -> httpx.Limits:
        """Of connections."""
        return httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections)


class Service:
    """One service, asked one request after the other by each thread.

    Redirects are not followed: the key goes to the address that was given and to no other.
    """

    def __init__(self, address: Address, transport: Transport | None) -> None:
        self._patience = address.patience
        self._http = httpx.Client(
            base_url=address.url(),
            headers=address.headers(),
            timeout=address.waiting(),
            limits=address.pool(),
            transport=transport,
        )

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def send(self, request: Request[T]) -> T:
        """The answer of the request."""
        sent = _built(self._http, request)
        retrying = tenacity.Retrying(**_policy(self._patience))
        try:
            body = retrying(self._attempt, sent)
        except Unavailable as error:
            raise _given_up(error, retrying) from error
        return answers.value(request, str(sent.url), body)

    def download(self, request: Request[Any]) -> Iterator[bytes]:
        """The pieces of an answer that is too large to hold; cut off, it goes on where it was.

        Raises:
            Unavailable: the service is away for longer than the patience; Mismatch: it has another answer meanwhile.
        """
        got = _Got()
        while True:
            sent = _built(self._http, request)
            sent.headers.update({"accept-encoding": "identity", **got.headers()})
            try:
                response = self._http.send(sent, stream=True)
                try:
                    if not response.is_success:
                        _good(response, bytearray(response.read()))
                    got.begin(response)
                    for piece in response.iter_raw(_PIECE):
                        got.bytes += len(piece)
                        got.since = time.monotonic()
                        yield piece
                    return
                finally:
                    response.close()
            except httpx.RequestError as error:
                away: Unavailable = _no_answer(self._http.base_url, error)
            except Unavailable as error:
                away = error
            if time.monotonic() - got.since > self._patience:
                raise away
            _log.warning("%s; asking again from byte %d", away, got.bytes)
            time.sleep(max(1.0, away.retry_after))

    def _attempt(self, sent: httpx.Request) -> bytearray:
        try:
            response = self._http.send(sent, stream=True)
            try:
                body = _Body(response)
                for piece in _pieces(response, body):
                    body.take(piece)
            finally:
                response.close()
        except httpx.RequestError as error:
            raise _no_answer(self._http.base_url, error) from error
        return _good(response, body.whole())


class AsyncService:
    """One service, asked as many requests at once as there are connections; see `Service`."""

    def __init__(self, address: Address, transport: AsyncTransport | None) -> None:
        self._patience = address.patience
        # Requests wait here for a connection: the pool of httpcore looks through all that wait each time one is done.
        self._free = asyncio.Semaphore(address.connections)
        self._http = httpx.AsyncClient(
            base_url=address.url(),
            headers=address.headers(),
            timeout=address.waiting(),
            limits=address.pool(),
            transport=transport,
        )

    async def close(self) -> None:
        """Give back the connections."""
        await self._http.aclose()

    async def send(self, request: Request[T]) -> T:
        """The answer of the request."""
        sent = _built(self._http, request)
        retrying = tenacity.AsyncRetrying(**_policy(self._patience))
        try:
            body: bytearray = await retrying(self._attempt, sent)
        except Unavailable as error:
            raise _given_up(error, retrying) from error
        return answers.value(request, str(sent.url), body)

    async def _attempt(self, sent: httpx.Request) -> bytearray:
        try:
            async with self._free:
                response = await self._http.send(sent, stream=True)
                try:
                    body = _Body(response)
                    async for piece in _async_pieces(response, body):
                        body.take(piece)
                finally:
                    await response.aclose()
        except httpx.RequestError as error:
            raise _no_answer(self._http.base_url, error) from error
        return _good(response, body.whole())


@dataclass
class _Got:
    """What there is of a download: bytes, the tag of the answer that they are of, and when the last ones came."""

    bytes: int = 0
    tag: str = ""
    since: float = field(default_factory=time.monotonic)

    def headers(self) -> dict[str, str]:
        return {"range": f"bytes={self.bytes}-", "if-range": self.tag} if self.bytes else {}

    def begin(self, response: httpx.Response) -> None:
        if self.bytes and response.status_code != httpx.codes.PARTIAL_CONTENT:
            raise Mismatch(f"{response.url} has changed while it was fetched: begin anew")
        self.tag = response.headers.get("etag", "")


class _Body:
    """A body as it comes, in memory that the caller may write to, so that a tensor can be made of it where it lies."""

    def __init__(self, response: httpx.Response) -> None:
        length = response.headers.get("content-length", "")
        self.known = length.isdecimal() and "content-encoding" not in response.headers
        self._held = bytearray(int(length)) if self.known else bytearray()
        self._reached = 0

    def take(self, piece: bytes) -> None:
        if self.known:
            self._held[self._reached : self._reached + len(piece)] = piece
            self._reached += len(piece)
        else:
            self._held += piece

    def whole(self) -> bytearray:
        return self._held


def _pieces(response: httpx.Response, body: _Body) -> Iterable[bytes]:
    return response.iter_raw() if body.known else response.iter_bytes()


def _async_pieces(response: httpx.Response, body: _Body) -> AsyncIterable[bytes]:
    return response.aiter_raw() if body.known else response.aiter_bytes()


def _built(http: httpx.Client | httpx.AsyncClient, request: Request[Any]) -> httpx.Request:
    """The request as it is sent."""
    path = request.route.format(**{name: quote(str(place), safe="@") for name, place in request.places.items()})
    headers = {"accept": request.accept}
    if request.tensors is not None:
        # vectors do not compress, and a decompressed answer would be a copy
        headers |= {"content-type": wire.SAFETENSORS, "accept-encoding": "identity"}
        content = arrays.encode(request.tensors, request.metadata)
        return http.build_request("POST", path, content=content, headers=headers)
    given = request.given()
    try:
        return http.build_request("GET", path, params=given, headers=headers)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{error.object!r:.80} is not Unicode text") from error
    except httpx.InvalidURL as error:
        longest = max(given, key=lambda name: len(str(given[name])), default="the dictionary's name")
        raise InvalidInput(f"{longest} is too long to be sent") from error


def _good(response: httpx.Response, body: bytearray) -> bytearray:
    """The body of a good answer.

    Raises:
        SenseDictError: what another one stands for.
    """
    url = str(response.url)
    answers.warn_of_retirement(url, response.headers)
    if response.is_success:
        return body
    raise answers.failure(url, response.status_code, response.reason_phrase, response.headers, bytes(body))


def _no_answer(root: httpx.URL, error: httpx.RequestError) -> Unavailable:
    return Unavailable(
        f"{root} does not answer ({str(error) or type(error).__name__}): is `sensedict serve` running there?",
        retry_after=0.0,
    )


def _policy(patience: float) -> dict[str, Any]:
    """When a request is sent again, for either kind of `tenacity`."""
    return {
        "retry": tenacity.retry_if_exception_type(Unavailable),
        "wait": _pause,
        "stop": tenacity.stop_before_delay(patience),
        "before_sleep": _tell,
        "reraise": True,
    }


def _given_up(error: Unavailable, retrying: tenacity.BaseRetrying) -> Unavailable:
    """The error with how often was asked."""
    times = retrying.statistics["attempt_number"]
    tried = f" (asked {times} times)" if times > 1 else ""
    return type(error)(error.detail + tried, error.retry_after)


def _pause(state: tenacity.RetryCallState) -> float:
    """Longer with every attempt, never shorter than was asked for; jitter keeps clients from marching in step."""
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.retry_after if isinstance(failure, Unavailable) else 0.0
    return max(asked, _backoff(state))


def _tell(state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    _log.warning("%s; asking again in %.1f s", failure, state.upcoming_sleep)
