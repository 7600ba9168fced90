"""Query parameters that a route does not have: a misspelt filter that is passed over would look like an answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI, Request
from starlette.routing import Route

from sensedict.errors import InvalidInput
from sensedict.wire import ProblemError
from sensedict_server.problems import InvalidRequest


async def only_known_parameters(request: Request) -> None:  # async: it needs no thread, nor does /livez
    """Let pass a query that is text and holds parameters of the route alone, each that is no list once.

    Raises:
        InvalidInput: the query is not UTF-8, percent-encoded.
        InvalidRequest: it holds others, or one several times; names each, and those that there are.
    """
    raw: bytes = request.scope["query_string"]
    if not raw:
        return
    _refuse_other_encodings(raw)
    known = _parameters(request.app, request.scope["route"], request.method)
    faults = list(_faults(request, known))
    if faults:
        raise InvalidRequest(faults)


def _refuse_other_encodings(raw: bytes) -> None:
    """The framework puts U+FFFD in place of what it cannot read: another word, which might even be found."""
    for part in raw.split(b"&"):
        name = part.partition(b"=")[0].decode("utf-8", "replace")
        if not part.isascii():
            raise InvalidInput(f"the parameter {name[:40]!r} is not percent-encoded: write é as %C3%A9")
        try:
            unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"the parameter {name[:40]!r} is not UTF-8, percent-encoded: write é as %C3%A9, not as %E9"
            ) from error


def _parameters(app: FastAPI, route: Route, method: str) -> dict[str, bool]:
    """The route's parameters, by name whether one may be given several times; what OpenAPI says is what there is."""
    operation: dict[str, Any] = app.openapi()["paths"].get(route.path_format, {}).get(method.lower(), {})
    return {
        parameter["name"]: any(kind.get("type") == "array" for kind in _kinds(parameter["schema"]))
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }


def _kinds(schema: dict[str, Any]) -> list[dict[str, Any]]:
    either: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return either


def _faults(request: Request, known: dict[str, bool]) -> Iterator[ProblemError]:
    for name in request.query_params:
        if name not in known:
            yield ProblemError(pointer=f"/{name[:40]}", detail=_unknown(name, list(known)))
        elif not known[name] and len(request.query_params.getlist(name)) > 1:
            yield ProblemError(pointer=f"/{name}", detail="given several times: give it once")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:40], known, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    there = f"there are {', '.join(known)}" if known else "it has none"
    return f"the route has no such parameter: {there}.{meant}"
