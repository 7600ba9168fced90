"""Filters that a lexicon cannot fulfil; see `sensedict.lexical.check_filter`."""

from __future__ import annotations

from sqlalchemy import Connection

from sensedict import lexical
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.relations import Filter


def check_filter(shared: Catalogue, connection: Connection, named: Dictionary, wanted: Filter) -> None:
    """Let pass a filter whose every value some relation of the lexicon has.

    Raises:
        InvalidInput: none has; names the value, those that there are, and the nearest.
    """
    if wanted != Filter(direction=wanted.direction):  # most are: nothing is to be looked up
        lexical.check_filter(named.lexicon, wanted, shared.filter_values(connection, named))


def check_pos(shared: Catalogue, connection: Connection, named: Dictionary, pos: str) -> None:
    """Let pass a part of speech that the lexicon's sources know some word as.

    Raises:
        InvalidInput: there is none; names those that there are.
    """
    lexical.check_pos(named.lexicon, pos, shared.filter_values(connection, named))
