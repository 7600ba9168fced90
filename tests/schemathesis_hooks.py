"""What Schemathesis cannot know of the service: how its binary bodies are made, and what no schema can say."""

from __future__ import annotations

import re

import numpy as np
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import Failure

from kept_snapshot import DATA
from sensedict import arrays, wire
from sensedict.archive import MEDIA

WHOLE = (DATA / "snapshot-0.1.0.tar").read_bytes()
# Requests that fit the schema and not what the service holds, or not one another: their refusals, by what they say.
_OF_CONTENT = re.compile(
    "|".join(
        (
            r"none of ours: give `next_cursor`",
            r"is of another query: give `next_cursor`",
            r"whose ids are its own: name another dictionary",
            r"^the lexicon \S+ has no ",
            r"undo takes the sunset away",
            r"the sunset \S+ is past",
            r"sunset has no time zone",
            r"^vectors of width |^the vector at index ",
            r"^vectors must be of shape ",
            r"owner tokens were given for",
        )
    )
)
# JSON Schema counts 7.0 as an integer. Who means a number of things writes 7.
_FRACTION = "Input should be a valid integer"
_TOO_LONG = (413, 414)  # several parameters may be that long, not all of them at once


def _spoilt(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes, or a part of them, or others at one place."""
    place = st.integers(0, len(whole) - 1)
    flipped = st.tuples(place, st.integers(1, 255)).map(
        lambda at: whole[: at[0]] + bytes([whole[at[0]] ^ at[1]]) + whole[at[0] + 1 :]
    )
    return st.just(whole) | place.map(lambda stop: whole[:stop]) | flipped | st.binary(max_size=64)


_ASKED = {
    "tokens": np.array([1, 2, 40], np.uint32),
    "ids": np.array([0, 80], np.uint32),
    "vectors": np.ones((2, 8), np.float32),
}
schemathesis.openapi.media_type(MEDIA, _spoilt(WHOLE))
schemathesis.openapi.media_type(
    wire.SAFETENSORS,
    st.sampled_from(sorted(_ASKED)).flatmap(lambda name: _spoilt(arrays.encode({name: _ASKED[name]}))),
)


@schemathesis.serializer(MEDIA, wire.SAFETENSORS)
def as_it_is(_context: schemathesis.SerializationContext, value: object) -> bytes:
    """The body: bytes already, or what a schema of any text gave."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def filter_failure(
    _context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case, response: schemathesis.Response
) -> bool:
    """Whether it is a fault of the service."""
    if failure.title != "Schema-valid request rejected":
        return True
    if response.status_code in _TOO_LONG or case.media_type in (MEDIA, wire.SAFETENSORS):
        return False
    detail = response.json()["detail"]
    if _FRACTION in detail and re.search(rb"\d\.0\b|\de", response.request.body or b""):
        return False
    return _OF_CONTENT.search(detail) is None
