"""Requests and answers as values: what a question to a dictionary is made of, whoever carries it and however.

A question is a generator: it yields `Request`s, is sent their answers, and returns its own. A stream yields what it
gives out on the way, as `Found`, too. Nothing here waits for anything: drivers carry the requests, over HTTP one after
the other or at once (`sensedict.service`), or to a folder on the disk (`sensedict.local`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from sensedict import arrays, wire

T = TypeVar("T")
Parameters = Mapping[str, str | int | Sequence[str] | None]


@dataclass(frozen=True)
class Request(Generic[T]):
    """One request. Every one only reads, so a driver may send it again.

    Attributes:
        route: of `sensedict.wire`.
        read: makes the answer of a body, in memory that the answer may keep.
        places: what stands in the route's braces.
        parameters: of the query; those that are None are left out.
        accept: media type of the answer.
        tensors: the body of a bulk request, with its metadata; None: a GET request.
    """

    route: str
    read: Callable[[bytearray], T]
    places: Mapping[str, str | int] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=dict)
    accept: str = wire.JSON
    tensors: arrays.Tensors | None = None
    metadata: arrays.Metadata = field(default_factory=dict)

    def given(self) -> dict[str, str | int | Sequence[str]]:
        """The parameters that are not None."""
        return {name: value for name, value in self.parameters.items() if value is not None}


@dataclass(frozen=True)
class Found(Generic[T]):
    """Something that a stream gives to the one who asked."""

    value: T


Call = Generator[Request[Any], Any, T]
Stream = Generator[Request[Any] | Found[T], Any, None]


def ask(request: Request[T]) -> Call[T]:
    """Have the request carried, and give its answer."""
    answer: T = yield request
    return answer


def json_as(kind: type[T]) -> Callable[[bytearray], T]:
    """A reader of JSON bodies as that wire model; it raises pydantic's `ValidationError`."""
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # mypy: type[T] is no Hashable
    return lambda body: adapter.validate_json(bytes(body))


def tensors_as(read: Callable[[arrays.Tensors, arrays.Metadata], T]) -> Callable[[bytearray], T]:
    """A reader of safetensors bodies, which are read where they lie; it raises `MalformedBody`."""
    return lambda body: read(*arrays.decode(body))


@cache  # making one takes longer than reading most answers
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
