"""Which format a request is in, and which one its answer is to have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from sensedict.errors import NotAcceptable, RequestTooLarge, UnsupportedMediaType
from sensedict.wire import JSON, OWN_LIMITS, PARQUET, SAFETENSORS


@dataclass(frozen=True)
class Body:
    """A request's body and its media type, JSON or SAFETENSORS."""

    media: str
    data: bytes


async def read_body(request: Request) -> Body:
    """The whole body of a bulk request.

    Raises:
        UnsupportedMediaType: its Content-Type is neither JSON nor safetensors.
        RequestTooLarge: more JSON than may be held as Python objects.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (JSON, SAFETENSORS):
        raise UnsupportedMediaType(f"Content-Type {media!r} cannot be read here: send {JSON} or {SAFETENSORS}")
    body = await request.body()
    if media == JSON and len(body) > OWN_LIMITS.max_json_bytes:
        raise RequestTooLarge(
            f"a body of {len(body)} bytes of JSON; at most {OWN_LIMITS.max_json_bytes}: send {SAFETENSORS}, or less"
        )
    return Body(media, body)


def accepts_json(request: Request) -> None:
    """Let pass a request that takes JSON.

    Raises:
        NotAcceptable: it does not.
    """
    negotiate(request.headers.get("accept"), [JSON])


def accepts_parquet(request: Request) -> None:
    """Let pass a request that takes Parquet.

    Raises:
        NotAcceptable: it does not.
    """
    negotiate(request.headers.get("accept"), [PARQUET])


def accepts_bulk(request: Request) -> str:
    """JSON or SAFETENSORS, whichever the request would rather have; JSON where it does not say.

    Raises:
        NotAcceptable: it takes neither.
    """
    return negotiate(request.headers.get("accept"), [JSON, SAFETENSORS])


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """The offer of the highest quality in an Accept header (RFC 9110 §12.5.1), the first of equal ones.

    Raises:
        NotAcceptable: the header takes none of them.

    >>> negotiate("application/vnd.safetensors;q=0.9, */*;q=0.1", ["application/json", "application/vnd.safetensors"])
    'application/vnd.safetensors'
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [_range(part) for part in accept.lower().split(",")]
    qualities = [_quality(offer, ranges) for offer in offers]
    best = max(qualities)
    if best <= 0:
        raise NotAcceptable(f"Accept {accept[:200]!r} takes none of {', '.join(offers)}")
    return offers[qualities.index(best)]


def _range(part: str) -> tuple[str, float]:
    """A media range and its quality; a quality that cannot be read counts as 0."""
    media, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media, float(value)
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Quality of the most specific range that covers the offer."""
    for pattern in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        found = [quality for media, quality in ranges if media == pattern]
        if found:
            return max(found)
    return 0.0
