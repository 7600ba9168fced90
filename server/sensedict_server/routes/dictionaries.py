"""Which dictionaries there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sensedict import wire
from sensedict.errors import Forbidden
from sensedict_server.media import accepts_json
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import list_dictionaries
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
        return shared.infos(connection, list_dictionaries(connection, drafts))


@router.get(wire.DICTIONARY, responses=described(404, 406, 422, 503))
def dictionary(named: Named, shared: SharedCatalogue) -> wire.DictionaryInfo:
    """One published dictionary; its aliases may move, so this answer is not to be kept."""
    with shared.engine.connect() as connection:
        return shared.infos(connection, [named])[0]
