"""HTTP as a client speaks it: requests sent again while a service is away, answers as values and errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
import tenacity
from pydantic import TypeAdapter, ValidationError

from sensedict import arrays, errors, wire
from sensedict.errors import (
    ConfigurationError,
    InvalidInput,
    MalformedBody,
    SenseDictError,
    Unavailable,
)

T = TypeVar("T")
Transport = httpx.BaseTransport
Parameters = Mapping[str, str | int | Sequence[str] | None]

_log = logging.getLogger(__name__)
_BUSY = {502, 503, 504}  # what a proxy or the service answers while something behind it is away
_backoff = tenacity.wait_exponential(multiplier=0.2, max=10.0) + tenacity.wait_random(0.0, 0.5)


class Service:
    """One service: sends requests again while it is away, and turns what it says into values and errors."""

    def __init__(self, root: str, timeout: float, patience: float, transport: Transport | None) -> None:
        try:
            url = httpx.URL(root)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{root!r} is not an address: write e.g. http://127.0.0.1:8000") from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(f"{root!r} is not an http address: write e.g. http://127.0.0.1:8000")
        if url.path.rstrip("/").endswith("/v1"):
            short = str(url.copy_with(path=url.path.rstrip("/").removesuffix("/v1")))
            raise ConfigurationError(f"{root!r} is not the service's root: leave /v1 out, as in {short}")
        self._patience = patience
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            transport=transport,
            headers={"user-agent": "sensedict", "accept": wire.JSON},
        )

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def get(self, kind: type[T], path: str, parameters: Parameters | None = None) -> T:
        """The answer's JSON as a wire model; parameters that are None are left out."""
        request = self._asking(path, parameters or {})
        body = self._send(request)
        try:
            return TypeAdapter(kind).validate_json(bytes(body))
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(
                f"the answer of {request.url} is not a sensedict service's of this version "
                f"({first['msg']} at {'.'.join(map(str, first['loc'])) or 'its start'}): check the address"
            ) from error

    def get_bytes(self, path: str, parameters: Parameters, media: str) -> bytearray:
        """The answer as it is, in that media type."""
        return self._send(self._asking(path, parameters, {"accept": media}))

    def post(
        self,
        path: str,
        tensors: arrays.Tensors,
        metadata: arrays.Metadata,
        read: Callable[[arrays.Tensors, arrays.Metadata], T],
    ) -> T:
        """The answer of a bulk request, safetensors both ways, read where it was received."""
        request = self._http.build_request(
            "POST",
            path,
            content=arrays.encode(tensors, metadata),
            # vectors do not compress, and a decompressed answer would be a copy
            headers={"content-type": wire.SAFETENSORS, "accept": wire.SAFETENSORS, "accept-encoding": "identity"},
        )
        body = self._send(request)
        try:
            return read(*arrays.decode(body))
        except MalformedBody as error:
            raise MalformedBody(f"the answer of {request.url} cannot be read: {error.detail}") from error

    def _asking(self, path: str, parameters: Parameters, headers: Mapping[str, str] | None = None) -> httpx.Request:
        """A GET request; parameters that are None are left out."""
        asked = {name: value for name, value in parameters.items() if value is not None}
        try:
            return self._http.build_request("GET", path, params=asked, headers=headers)
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{error.object!r:.80} is not Unicode text") from error
        except httpx.InvalidURL as error:
            longest = max(asked, key=lambda name: len(str(asked[name])), default="the dictionary's name")
            raise InvalidInput(f"{longest} is too long to be sent") from error

    def _send(self, request: httpx.Request) -> bytearray:
        """The body of a good answer. Every request here only reads, so each may be sent again."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=_pause,
            stop=tenacity.stop_before_delay(self._patience),
            before_sleep=_tell,
            reraise=True,
        )
        try:
            return retrying(self._attempt, request)
        except Unavailable as error:
            times = retrying.statistics["attempt_number"]
            tried = f" (asked {times} times)" if times > 1 else ""
            raise Unavailable(error.detail + tried, error.retry_after) from error

    def _attempt(self, request: httpx.Request) -> bytearray:
        try:
            response = self._http.send(request, stream=True)
            try:
                body = _read(response)
            finally:
                response.close()
        except httpx.RequestError as error:
            raise Unavailable(
                f"{self._http.base_url} does not answer ({str(error) or type(error).__name__}): "
                "is `sensedict serve` running there?",
                retry_after=0.0,
            ) from error
        if response.is_success:
            return body
        raise _failure(response, bytes(body))


def _read(response: httpx.Response) -> bytearray:
    """The body, in memory that the caller may write to, so that a tensor can be made of it where it lies."""
    length = response.headers.get("content-length", "")
    if not length.isdecimal() or "content-encoding" in response.headers:
        return bytearray().join(response.iter_bytes())
    body = bytearray(int(length))
    reached = 0
    for piece in response.iter_raw():
        body[reached : reached + len(piece)] = piece
        reached += len(piece)
    return body


def _failure(response: httpx.Response, body: bytes) -> SenseDictError:
    """The error that a bad answer stands for."""
    try:
        problem = json.loads(body)
        code = problem["type"].removeprefix(errors.PROBLEM_TYPE_PREFIX)
        faults = [f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", [])]
        detail = "; ".join([problem["detail"], *(fault for fault in faults[:5] if fault not in problem["detail"])])
    except (ValueError, TypeError, KeyError, AttributeError):
        detail = f"{response.url} answered {response.status_code} {response.reason_phrase}"
        code = Unavailable.code if response.status_code in _BUSY else ""
        if not code:
            return ConfigurationError(f"{detail}, and not as a sensedict service does: check the address")
    if response.status_code in _BUSY:
        return Unavailable(detail, _retry_after(response.headers.get("retry-after", "")))
    if response.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
        detail += f" (request {problem.get('request_id')})"
    return errors.by_code().get(code, SenseDictError)(detail)


def _retry_after(header: str) -> float:
    """Seconds that a Retry-After header asks to wait: a number or a date (RFC 9110 §10.2.3)."""
    if header.isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # absent or broken; TypeError: a date without a time zone
        return 0.0


def _pause(state: tenacity.RetryCallState) -> float:
    """Longer with every attempt, never shorter than was asked for; jitter keeps clients from marching in step."""
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.retry_after if isinstance(failure, Unavailable) else 0.0
    return max(asked, _backoff(state))


def _tell(state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    _log.warning("%s; asking again in %.1f s", failure, state.upcoming_sleep)
