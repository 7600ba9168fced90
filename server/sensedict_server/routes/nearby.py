"""Nearest senses with their owners: the vectors come from the file set, the owners from the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sensedict import nearby, wire
from sensedict.lookup import Word
from sensedict.nearby import Owner, Owners
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.senses import owners_of


def nearest_of_others(shared: Catalogue, named: Dictionary, sense: int, limit: int) -> list[wire.NearWord]:
    """At most `limit` nearest senses that are not of the owner of `sense`."""
    return nearby.nearest_of_others(shared.snapshot(named), _owners(shared, named), sense, limit)


def nearest_words(shared: Catalogue, named: Dictionary, word: Word, limit: int) -> dict[int, list[wire.NearWord]]:
    """By sense of the word, the nearest sense of each of the nearest words; spellings that fold alike are one word."""
    return nearby.nearest_words(shared.snapshot(named), _owners(shared, named), word, limit)


def _owners(shared: Catalogue, named: Dictionary) -> Owners:
    def find(senses: Sequence[int]) -> Mapping[int, Owner]:
        with shared.engine.connect() as connection:
            return owners_of(connection, named.id, senses)

    return find
