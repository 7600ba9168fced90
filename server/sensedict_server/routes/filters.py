"""Filters that a lexicon cannot fulfil: a misspelt type is an error, not the answer that there are no relations."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from sqlalchemy import Connection

from sensedict.errors import InvalidInput
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.relations import Filter

_LISTED = 20  # values that a message names


def check_filter(shared: Catalogue, connection: Connection, named: Dictionary, wanted: Filter) -> None:
    """Let pass a filter whose every value some relation of the lexicon has.

    Raises:
        InvalidInput: none has; names the value, those that there are, and the nearest.
    """
    if wanted == Filter(direction=wanted.direction):  # as most are: nothing is to be looked up
        return
    values = shared.filter_values(connection, named)
    for type in wanted.types:
        _check(named, "relations of type", type, values.types)
    _check(named, "relations of source", wanted.source, values.sources)
    _check(named, "relations of rule", wanted.rule, (*values.kinds, *values.rules))
    _check(named, "relations of pos", wanted.pos, values.pos)


def check_pos(shared: Catalogue, connection: Connection, named: Dictionary, pos: str) -> None:
    """Let pass a part of speech that the lexicon's sources know some word as.

    Raises:
        InvalidInput: there is none; names those that there are.
    """
    _check(named, "words of pos", pos, shared.filter_values(connection, named).word_pos)


def _check(named: Dictionary, what: str, value: str | None, there: Sequence[str]) -> None:
    if value is None or value in there:
        return
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    listed = f"it has {', '.join(there[:_LISTED])}{more}" if there else "it has none of any"
    near = difflib.get_close_matches(value[:100], there, 1)
    meant = f". Did you mean {near[0]!r}?" if near else ""
    raise InvalidInput(f"the lexicon {named.lexicon} has no {what} {value[:40]!r}: {listed}{meant}")
