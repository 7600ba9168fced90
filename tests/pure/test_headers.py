"""Texts of a request that we parse ourselves, of any kind: cursors, Range and If-None-Match."""

from __future__ import annotations

import base64
import re

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sensedict.errors import InvalidInput
from sensedict_server.queries.relations import Filter
from sensedict_server.routes.cursors import Cursor, JobsCursor, Place
from sensedict_server.routes.shared import NotModified, caching_headers
from sensedict_server.routes.snapshots import _asked_part

TAG = "tiny@1-0123"
HEADER = st.text(st.characters(max_codepoint=255))  # as a server reads its bytes
NUMBER = st.integers(0, 30).map(str) | st.sampled_from(["", "9" * 18, "9" * 19, "-1", "+1", "٣", " 1"])


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw})


@given(
    st.tuples(NUMBER, NUMBER).map(lambda ends: f"bytes={ends[0]}-{ends[1]}") | HEADER,
    st.integers(0, 20),
    st.none() | st.sampled_from(['"tag"', 'W/"tag"', '"other"', "Thu, 01 Jan 2026 00:00:00 GMT"]) | HEADER,
)
@example("bytes=0-0", 20, None)
@example("bytes=-5", 20, '"tag"')
@example("bytes=5-", 20, None)
@example("bytes=5-4", 20, None)
@example("bytes=20-", 20, None)
@example("bytes=-0", 20, None)
def test_any_range_is_a_part_or_all_or_416(asked: str, size: int, if_range: str | None) -> None:
    headers = {"range": asked} | ({} if if_range is None else {"if-range": if_range})
    heeded = if_range in (None, '"tag"')
    ends = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", asked.strip(), re.ASCII)
    found = _part_or_416(request(**headers), size)
    if isinstance(found, HTTPException):
        assert (found.status_code, found.headers) == (416, {"Content-Range": f"bytes */{size}"})
        assert heeded
        assert ends is not None
        return
    start, stop = found
    assert 0 <= start <= stop <= size
    if not heeded or ends is None or not any(ends.groups()):
        assert (start, stop) == (0, size)
        return
    first, last = ends.groups()
    expected = range(size)[-int(last) :] if not first else range(size)[int(first) :][: _length(first, last)]
    assert range(start, stop) == expected
    assert start < stop


def _part_or_416(asked: Request, size: int) -> tuple[int, int] | HTTPException:
    try:
        return _asked_part(asked, size, '"tag"')
    except HTTPException as refused:
        return refused


def _length(first: str, last: str) -> int | None:
    return int(last) - int(first) + 1 if last else None


@given(
    st.lists(st.sampled_from([f'"{TAG}"', f'W/"{TAG}"', '"other"', "*", TAG]) | HEADER, max_size=4).map(",".join),
)
def test_any_if_none_match_is_answered(known: str) -> None:
    listed = [tag.strip() for tag in known.split(",")]
    expected = "*" in listed or any(tag in (f'"{TAG}"', f'W/"{TAG}"') for tag in listed)
    try:
        headers = caching_headers(request(if_none_match=known), TAG, for_ever=True)
    except NotModified as unchanged:
        headers = unchanged.headers
        assert expected
    else:
        assert not expected
    assert headers["ETag"] == f'"{TAG}"'


CURSORS = [Cursor(1, "hot", 2, Filter(("antonym",), "both", None, None, None)), JobsCursor(None), JobsCursor("failed")]


@given(
    st.text() | st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.integers(0, 2**15 - 1),
    st.integers(0, 2**63 - 1),
    st.data(),
)
def test_a_cursor_is_a_place_of_its_own_query_or_refused(text: str, depth: int, id: int, data: st.DataObject) -> None:
    own, *others = data.draw(st.permutations(CURSORS))
    made = own.make(Place(depth, id))
    assert own.read(made) == Place(depth, id)
    place = data.draw(st.integers(0, len(made) - 1))
    spoilt = made[:place] + data.draw(st.sampled_from("Az09-_=.\x00é")) + made[place + 1 :]
    for cursors, cursor in ((own, text), (own, spoilt), (own, made[:place]), *((other, made) for other in others)):
        try:
            found = cursors.read(cursor)
        except InvalidInput:
            continue
        assert cursors is own  # a digit of the place was changed: it is another place of the same query
        assert 0 <= abs(found.id) < 2**63
