"""What an HTTP answer says, whichever client received it: a value, an error, when to ask again, what is to go."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from pydantic import ValidationError

from sensedict import errors
from sensedict.errors import ConfigurationError, MalformedBody, SenseDictError, Unavailable
from sensedict.exchange import Request

T = TypeVar("T")
_OF_DICTIONARY = re.compile(r".*?/v1/dictionaries/[^/:?]+")

BUSY = frozenset({429, 502, 503, 504})  # too many requests; what a proxy or the service answers while something is away


def value(request: Request[T], url: str, body: bytearray) -> T:
    """What a good answer of the request says.

    Raises:
        MalformedBody: tensors that are none, or not those of the contract.
        ConfigurationError: JSON of another service, or none.
    """
    try:
        return request.read(body)
    except MalformedBody as error:
        raise MalformedBody(f"the answer of {url} cannot be read: {error.detail}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(
            f"the answer of {url} is not a sensedict service's of this version "
            f"({first['msg']} at {'.'.join(map(str, first['loc'])) or 'its start'}): check the address"
        ) from error


def failure(url: str, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> SenseDictError:
    """The error that a bad answer stands for."""
    try:
        problem = json.loads(body)
        code = problem["type"].removeprefix(errors.PROBLEM_TYPE_PREFIX)
        faults = [f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", [])]
        detail = "; ".join([problem["detail"], *(fault for fault in faults[:5] if fault not in problem["detail"])])
    except (ValueError, TypeError, KeyError, AttributeError):
        detail = f"{url} answered {status} {reason}"
        code = Unavailable.code if status in BUSY else ""
        if not code:
            sent_on = f" and names {headers['location']}" if 300 <= status < 400 and "location" in headers else ""
            return ConfigurationError(f"{detail}{sent_on}, and not as a sensedict service does: check the address")
    kind = errors.by_code().get(code, SenseDictError)
    if status in BUSY:
        away = kind if issubclass(kind, Unavailable) else Unavailable
        return away(detail, retry_after(headers.get("retry-after", "")))
    if status == 500:
        detail += f" (request {problem.get('request_id')})"
    return kind(detail)


def retry_after(header: str) -> float:
    """Seconds that a Retry-After header asks to wait: a number or a date (RFC 9110 §10.2.3)."""
    if header.isdecimal():
        return float(header)
    moment = _date(header)
    return 0.0 if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def warn_of_retirement(url: str, headers: Mapping[str, str]) -> None:
    """Warn of a dictionary that the service says is deprecated (RFC 9745) or is to go (RFC 8594).

    Python shows each warning once, so it is of the dictionary, whatever of it was asked for.
    """
    deprecated, end = headers.get("deprecation"), _date(headers.get("sunset", ""))
    since = _deprecation(deprecated or "")
    told = []
    if deprecated:
        told.append("deprecated" + (f" since {since:%Y-%m-%d}" if since else ""))
    if end:
        told.append(f"to go on {end:%Y-%m-%d}")
    if told:
        more = headers.get("link") or "ask for another version"
        # of this very line, whoever asked: Python counts what it has shown by line and text
        named = _OF_DICTIONARY.match(url)
        what = named[0] if named else url.partition("?")[0]
        warnings.warn(f"{what} is {' and '.join(told)}: {more}", FutureWarning, stacklevel=1)


def _deprecation(header: str) -> datetime | None:
    """`@` and seconds since 1970; what else there was before the RFC, `true` or a date, is as good as none."""
    seconds = header.removeprefix("@")
    if seconds.isdecimal() and seconds != header and len(seconds) < 12:
        return datetime.fromtimestamp(int(seconds), UTC)
    return _date(header)


def _date(header: str) -> datetime | None:
    """A date of HTTP; None where it is absent, broken, or has no time zone."""
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    return None if found.tzinfo is None else found
