"""Which dictionaries there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Connection

from sensedict import wire
from sensedict.errors import Forbidden
from sensedict_server.catalogue import Catalogue
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import Dictionary, aliases_of, list_dictionaries
from sensedict_server.routes.shared import Named, SeesDrafts, SharedCatalogue

router = APIRouter(tags=["dictionaries"], dependencies=[Depends(accepts_json)])


WithDrafts = Annotated[bool, Query(alias="drafts", description="drafts too: for an administrator")]


@router.get(wire.DICTIONARIES, responses=described(403, 406, 422, 503))
def dictionaries(
    shared: SharedCatalogue, sees_drafts: SeesDrafts, drafts: WithDrafts = False
) -> list[wire.DictionaryInfo]:
    """Every published dictionary, by name and then newest first."""
    if drafts and not sees_drafts:
        raise Forbidden("drafts are for administrators: this needs a key of the scope admin")
    with shared.engine.connect() as connection:
        return infos(shared, connection, list_dictionaries(connection, drafts))


@router.get(wire.DICTIONARY, responses=described(404, 406, 422, 503))
def dictionary(named: Named, shared: SharedCatalogue) -> wire.DictionaryInfo:
    """One published dictionary; its aliases may move, so this answer is not to be kept."""
    with shared.engine.connect() as connection:
        return infos(shared, connection, [named])[0]


def infos(shared: Catalogue, connection: Connection, found: list[Dictionary]) -> list[wire.DictionaryInfo]:
    """What there is to say of dictionaries."""
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
