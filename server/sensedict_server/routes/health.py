"""Limits, and whether the service lives and is ready."""

from __future__ import annotations

from fastapi import APIRouter

from sensedict import wire
from sensedict.errors import ConfigurationError, Unavailable
from sensedict_server import schema
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import count_published
from sensedict_server.routes.shared import LIMITS, SharedCatalogue

router = APIRouter(tags=["service"])


@router.get(wire.LIMITS)
def limits() -> wire.Limits:
    """What one request may ask for."""
    return LIMITS


@router.get(wire.LIVEZ)
async def livez() -> wire.Health:
    """The process answers; the database may be away."""
    # async: it needs no thread, so it answers while every one of them waits for the database
    return wire.Health(status="ok")


@router.get(wire.READYZ, responses=described(503))
def readyz(shared: SharedCatalogue) -> wire.Health:
    """The database answers and has the schema that this version needs."""
    with shared.engine.connect() as connection:
        try:
            migration = schema.require_current(connection)
        except ConfigurationError as error:
            raise Unavailable(error.detail) from error
        return wire.Health(status="ok", dictionaries=count_published(connection), migration=migration)
