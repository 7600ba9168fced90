"""The trainer's requests past the framework: FastAPI's part of an answer takes longer than the answer itself.

A bulk request that is safetensors both ways, for a version that was asked for before, is answered here by the functions
of `routes.bulk`. Every other one, and what OpenAPI says of them all, is FastAPI's; both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensedict import wire
from sensedict.snapshot import Snapshot
from sensedict_server.answers import added_headers
from sensedict_server.catalogue import Catalogue
from sensedict_server.http_protocol import WHOLE
from sensedict_server.media import Body
from sensedict_server.routes import bulk
from sensedict_server.routes.shared import count, tell

_BEFORE = f"{wire.DICTIONARIES}/"
_MEDIA = wire.SAFETENSORS.encode()
_TYPES = ((b"content-type", _MEDIA), (b"accept", _MEDIA))
_ROUTES = {route.path: route for route in bulk.router.routes if isinstance(route, APIRoute)}
_VERBS = {path: path.rpartition("}")[2] for path in _ROUTES}  # `:candidateSets`


class AtOnce:
    """Answers candidate sets where nothing has to be waited for; no watch, no turn and no timer is needed for them.

    The body is there (`http_protocol.WHOLE`), the index is in memory, and no thread is asked.
    """

    def __init__(self, app: ASGIApp, catalogue: Catalogue) -> None:
        self._app = app
        self._catalogue = catalogue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        whole = WHOLE in scope.get("state", {})
        ref = _asked(scope, wire.CANDIDATE_SETS, self._catalogue) if whole else None
        if ref is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        senses = self._catalogue.at_hand(ref)
        answer = None if senses is None else bulk.candidate_sets_at_once(senses, message.get("body", b""))
        if answer is not None:
            found = self._catalogue.resolve(ref)
            tell(found, scope)
            headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", _MEDIA), *added_headers(scope)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
            count(found, scope)
            return

        waiting = [message]

        async def from_the_first() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, from_the_first, send)


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
        for path, answer in self._answers.items():
            ref = _asked(scope, path, self._catalogue)
            if ref is not None:
                request = Request(scope, receive)
                senses = bulk.opened_at_hand(ref, request)
                response = await answer(senses, Body(wire.SAFETENSORS, await request.body()), wire.SAFETENSORS)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _asked(scope: Scope, path: str, catalogue: Catalogue) -> str | None:
    """The version at hand for which the request asks that route for safetensors; None where it does not."""
    asked: str = scope.get("path", "")
    if not asked.endswith(_VERBS[path]) or not asked.startswith(_BEFORE):
        return None
    ref = asked[len(_BEFORE) : -len(_VERBS[path])]
    if scope["method"] != "POST" or scope["query_string"] or catalogue.at_hand(ref) is None:
        return None
    if any(header not in scope["headers"] for header in _TYPES):
        return None
    scope["route"], scope["path_params"] = _ROUTES[path], {"ref": ref}
    return ref
