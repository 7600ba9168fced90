"""Which sense of a dictionary became which of another: a published map as a file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from sensedict import wire
from sensedict.errors import IdMapNotFound, InvalidInput
from sensedict_server.catalogue import Catalogue
from sensedict_server.media import accepts_parquet
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.id_maps import find_id_map, id_map_content
from sensedict_server.routes.shared import Named, Ref, SharedCatalogue, caching_headers

router = APIRouter(tags=["dictionaries"], dependencies=[Depends(accepts_parquet)])

To = Annotated[str, Query(description="the dictionary to map to: `name@version` or `name@alias`")]
_FILE = {
    "description": "Parquet: `old_id`, `new_id` (null where there is none), `distance`, `state`; how it was made is in "
    "the file's metadata under `sensedict`",
    "content": {wire.PARQUET: {"schema": {"type": "string", "format": "binary"}}},
}


@router.get(wire.ID_MAP, response_class=Response, responses={200: _FILE, **described(404, 406, 422, 503)})
def id_map(ref: Ref, named: Named, to: To, shared: SharedCatalogue, request: Request) -> Response:
    """The map of sense ids from this dictionary to another, as `sensedict diff --publish` made it."""
    new, sha256 = published_map(shared, named, to)
    headers = caching_headers(request, sha256, for_ever=(ref, to) == (named.ref, new.ref))
    with shared.engine.connect() as connection:
        content = id_map_content(connection, named.id, new.id)
    name = f'attachment; filename="{named.ref}-to-{new.ref}.parquet"'
    return Response(content, media_type=wire.PARQUET, headers={**headers, "Content-Disposition": name})


def published_map(shared: Catalogue, named: Dictionary, to: str) -> tuple[Dictionary, str]:
    """The dictionary that is mapped to, and the sha256 of the map.

    Raises:
        IdMapNotFound: none is published.
        InvalidInput: the two are one.
    """
    new = shared.resolve(to)
    if new.id == named.id:
        raise InvalidInput(f"both are {named.ref}, whose ids are its own: name another dictionary")
    with shared.engine.connect() as connection:
        found = find_id_map(connection, named.id, new.id)
    if found is None:
        raise IdMapNotFound(
            f"no map from {named.ref} to {new.ref} is published: run `sensedict diff {named.ref} {new.ref} --publish`"
        )
    return new, found.sha256
