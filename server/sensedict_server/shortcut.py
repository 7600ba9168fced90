"""The trainer's requests past the framework: FastAPI's part of an answer takes longer than the answer itself.

A bulk request that is safetensors both ways, for a version that was asked for before, is answered here by the functions
of `routes.bulk`. Every other one, and what OpenAPI says of them all, is FastAPI's; both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from sensedict import wire
from sensedict.snapshot import Snapshot
from sensedict_server.catalogue import Catalogue
from sensedict_server.media import Body
from sensedict_server.routes import bulk

_BEFORE = f"{wire.DICTIONARIES}/"
_TYPES = {(b"content-type", wire.SAFETENSORS.encode()), (b"accept", wire.SAFETENSORS.encode())}
_ROUTES = {route.path.rpartition(":")[2]: route for route in bulk.router.routes if isinstance(route, APIRoute)}


class Shortcut:
    """Answers what it knows and passes the rest on. What it raises is for the middleware around it, as from a route."""

    def __init__(self, app: ASGIApp, catalogue: Catalogue) -> None:
        self._app = app
        self._catalogue = catalogue
        self._answers: dict[str, Callable[[Snapshot, Body, str], Awaitable[Response]]] = {
            wire.CANDIDATE_SETS: bulk.answer_candidate_sets,
            wire.GET_SENSES: bulk.answer_senses,
            wire.NEAREST_SENSES: partial(bulk.answer_nearest, catalogue),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        ref, _, verb = scope.get("path", "").removeprefix(_BEFORE).rpartition(":")
        if verb not in _ROUTES or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        if not self._catalogue.is_at_hand(ref) or not _TYPES.issubset(scope["headers"]):
            await self._app(scope, receive, send)
            return
        route = _ROUTES[verb]
        scope["route"], scope["path_params"] = route, {"ref": ref}
        request = Request(scope, receive)
        senses = await bulk.opened(ref, request)
        body = Body(wire.SAFETENSORS, await request.body())
        response = await self._answers[route.path](senses, body, wire.SAFETENSORS)
        await response(scope, receive, send)
