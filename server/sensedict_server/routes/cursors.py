"""Opaque cursors: a place in the answer of one query, which no other query takes."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

from sensedict.errors import InvalidInput
from sensedict.wire import JobState
from sensedict_server.queries.relations import Filter

_FORM = struct.Struct(">8sHq")  # of which query, depth, id
_LARGEST = 2**63 - 1  # ids are bigint


@dataclass(frozen=True)
class Place:
    """The last entry of a page, in the order of depth and id."""

    depth: int
    id: int


class _OfOneQuery:
    """Cursors of what a subclass says is asked for, by its fields; how long a page is may change."""

    _question: ClassVar[str]  # its fields in words

    def make(self, last: Place) -> str:
        """The cursor of the page that follows `last`."""
        return base64.urlsafe_b64encode(_FORM.pack(self._query(), last.depth, last.id)).decode()

    def read(self, cursor: str) -> Place:
        """The place that a cursor stands for.

        Raises:
            InvalidInput: it is none of ours, or one of another query.
        """
        try:
            query, depth, id = _FORM.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, struct.error) as error:  # ValueError: not ASCII
            raise InvalidInput(
                f"the cursor {cursor[:40]!r} is none of ours: give `next_cursor` of the page before"
            ) from error
        if query != self._query():
            raise InvalidInput(
                f"the cursor {cursor[:40]!r} is of another query: give `next_cursor` of the page before with the same "
                f"{self._question}, or leave it out for the first page"
            )
        return Place(depth, id)

    def _query(self) -> bytes:
        return blake2b(repr(self).encode(), digest_size=8).digest()


@dataclass(frozen=True)
class Cursor(_OfOneQuery):
    """Cursors of the relations of one word, to one depth, through one filter."""

    _question = "dictionary, word, depth and filters"

    lexicon_id: int
    word: str
    depth: int
    filter: Filter


@dataclass(frozen=True)
class JobsCursor(_OfOneQuery):
    """Cursors of the builds in one state, or in any."""

    _question = "state"

    state: JobState | None
