"""Which dictionaries there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from sqlalchemy import Connection

from sensedict import wire
from sensedict_server.catalogue import Catalogue
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import Dictionary, aliases_of, list_dictionaries
from sensedict_server.routes.shared import Named, SharedCatalogue

router = APIRouter(tags=["dictionaries"], dependencies=[Depends(accepts_json)])


@router.get(wire.DICTIONARIES, responses=described(406, 503))
def dictionaries(shared: SharedCatalogue) -> list[wire.DictionaryInfo]:
    """Every published dictionary, by name and then newest first."""
    with shared.engine.connect() as connection:
        return _infos(shared, connection, list_dictionaries(connection))


@router.get(wire.DICTIONARY, responses=described(404, 406, 422, 503))
def dictionary(named: Named, shared: SharedCatalogue) -> wire.DictionaryInfo:
    """One published dictionary; its aliases may move, so this answer is not to be kept."""
    with shared.engine.connect() as connection:
        return _infos(shared, connection, [named])[0]


def _infos(shared: Catalogue, connection: Connection, found: list[Dictionary]) -> list[wire.DictionaryInfo]:
    aliases = aliases_of(connection, [dictionary.id for dictionary in found])
    return [
        wire.DictionaryInfo(
            **_fields(dictionary),
            aliases=aliases.get(dictionary.id, []),
            sources=[wire.SourceInfo(**asdict(source)) for source in shared.sources(connection, dictionary)],
        )
        for dictionary in found
    ]


def _fields(dictionary: Dictionary) -> dict[str, Any]:
    return {name: getattr(dictionary, name) for name in wire.DictionaryInfo.model_fields if hasattr(dictionary, name)}
