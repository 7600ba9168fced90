"""Limits, whether the service lives and is ready, and its numbers. None of it waits for a thread that others use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from sensedict import wire
from sensedict.errors import Unavailable
from sensedict_server import metrics
from sensedict_server.probes import Probes
from sensedict_server.problems import described, problem
from sensedict_server.routes.shared import LIMITS

router = APIRouter(tags=["service"])


async def probes(request: Request) -> Probes:  # async: it needs no thread
    """The probes of the running service."""
    found: Probes = request.app.state.probes
    return found


SharedProbes = Annotated[Probes, Depends(probes)]


@router.get(wire.LIMITS)
async def limits() -> wire.Limits:
    """What one request may ask for."""
    return LIMITS


@router.get(wire.LIVEZ)
async def livez() -> wire.Health:
    """The process answers; the database may be away."""
    return wire.Health(status="ok")


@router.get(wire.READYZ, response_model=wire.Health, responses=described(503))
async def readyz(request: Request, shared: SharedProbes) -> wire.Health | Response:
    """The database answers, has the schema and the pgvector that are needed, and file sets are here or can be made.

    Otherwise `errors` of the problem names each check that failed: /database, /migration, /pgvector or /files.
    """
    health, faults = await shared.readiness()
    if not faults:
        return health
    told = "; ".join(f"{fault.pointer[1:]}: {fault.detail}" for fault in faults)
    return problem(Unavailable(told), str(request.state.request_id), faults)


@router.get(
    wire.METRICS,
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' format"}},
)
async def numbers(shared: SharedProbes) -> Response:
    """The service's numbers for Prometheus, of all its processes."""
    return Response(await shared.numbers(), media_type=metrics.CONTENT_TYPE)
