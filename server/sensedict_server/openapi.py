"""The service as OpenAPI describes it: FastAPI's own, with what a generated client needs of names and problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from sensedict import wire
from sensedict.errors import PROBLEM_TYPE_PREFIX, WordNotFound
from sensedict_server import problems
from sensedict_server.middleware import PROTECTED

_REF = "#/components/schemas/{model}"
_DESCRIPTION = """\
Published dictionaries never change: what is asked under `name@version` may be kept for ever. `name@latest`, and every
other alias, moves. Errors are problem documents (RFC 9457) whose `type` says which; `/v1/limits` says how much one
request may ask for. Bulk operations take and give JSON, or safetensors by `Content-Type` and `Accept`."""
_TAGS = {
    "bulk": "What a trainer reads: many tokens, senses or vectors at once",
    "dictionaries": "Which dictionaries there are, and which sense of one became which of another",
    "versions": "The life of a version: publish, alias, deprecate, delete",
    "senses": "Senses of tokens and words, and what lies near them",
    "relations": "Lexical relations, ways along them, and where they come from",
    "words": "Words by how they begin, and the map of a word's senses",
    "snapshots": "Dictionaries as archives, out and in",
    "jobs": "Builds of dictionaries",
    "service": "Limits, health and numbers of the service",
}
# By name of the parameter; of those that are not here, the schema says enough.
_PARAMETERS: dict[str, Any] = {
    "ref": "smollm2-demo@latest",
    "name": "smollm2-demo",
    "alias": "latest",
    "word": "light",
    "other": "dark",
    "prefix": "lig",
    "token": 1420,
    "sense": 7,
    "relation": 1,
    "job": 1,
    "to": "smollm2-demo@2",
    "type": ["antonym"],
    "pos": "noun",
    "reason": "superseded by version 2",
}
_BODIES: dict[str, Any] = {
    wire.CANDIDATE_SETS: {"tokens": [1420, 2391]},
    wire.GET_SENSES: {"ids": [0, 1, 7]},
    wire.NEAREST_SENSES: {"vectors": [[0.25, -1.5, 0.75]], "p": 5},
    wire.JOBS: {"plan": "weekly"},
    wire.PUBLISH: {"reason": "checked by hand"},
    wire.DEPRECATE: {"reason": "2 is better", "sunset": "2027-01-01T00:00:00Z"},
    wire.PRUNE: {"reason": "disk", "keep": 3, "unused_days": 90, "dry_run": True},
    wire.ALIAS: {"version": "2", "reason": "evaluated"},
}
_PROBLEM = {
    "type": PROBLEM_TYPE_PREFIX + WordNotFound.code,
    "title": "The word is neither in a relation nor a single token of the dictionary.",
    "status": WordNotFound.status,
    "detail": "the word 'lihgt' is in no relation of smollm2-demo@1 and no single token of it",
    "request_id": "0d0f3e0c9a4b4c0e8a3f6a1b2c3d4e5f",
    "errors": [],
}


def operation_id(route: APIRoute) -> str:
    """What a generated client calls the operation: the name of its function."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the service, made once."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=_DESCRIPTION,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
            servers=[{"url": "/", "description": "the service that gave this document"}],
        )
        _describe_problems(described)
        _describe_refusals(described)
        _summarise(described)
        _name_bodies(described)
        _put_json_first(described)
        _give_examples(described)
        app.openapi_schema = described
    return app.openapi_schema


def _describe_problems(described: dict[str, Any]) -> None:
    """The problem documents, which FastAPI does not know of, in place of its own errors."""
    schemas = described["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    problem = wire.Problem.model_json_schema(ref_template=_REF)
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = {**problem, "examples": [_PROBLEM]}


def _describe_refusals(described: dict[str, Any]) -> None:
    """Add what the middleware may answer in place of any route, and the key that /v1 needs."""
    described["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "a key that `sensedict keys create` made"}
    }
    always, protected = problems.described(414, 421, 429, 503), problems.described(401, 403)
    of_a_version = problems.described(410)
    with_body = problems.described(400, 403, 408, 413, 415)
    for path, method, operation in _operations(described):
        refusals = dict(always)
        if path.startswith(PROTECTED):
            operation["security"] = [{"key": []}]
            refusals |= protected
        if path.startswith(wire.DICTIONARY):
            refusals |= of_a_version
        if method not in ("get", "head"):
            refusals |= with_body
        for status, response in refusals.items():
            operation["responses"].setdefault(str(status), response)


def _summarise(described: dict[str, Any]) -> None:
    """Give each operation the first line of its description, in place of its function's name in words."""
    for _, _, operation in _operations(described):
        operation["summary"] = operation["description"].partition("\n")[0].removesuffix(".")


def _name_bodies(described: dict[str, Any]) -> None:
    """Move the models of bodies to the others: routes that read a body themselves describe it on the spot."""
    for _, _, operation in _operations(described):
        body = operation.get("requestBody", {}).get("content", {}).get(wire.JSON)
        if body is not None and "title" in body["schema"]:
            name = body["schema"]["title"]
            described["components"]["schemas"][name] = body["schema"]
            body["schema"] = {"$ref": _REF.format(model=name)}


def _put_json_first(described: dict[str, Any]) -> None:
    """Generators that know one media type take the first: the one that is answered by default."""
    for _, _, operation in _operations(described):
        for answer in operation["responses"].values():
            content = answer.get("content", {})
            if wire.JSON in content:
                answer["content"] = {wire.JSON: content.pop(wire.JSON), **content}


def _give_examples(described: dict[str, Any]) -> None:
    for path, _, operation in _operations(described):
        for parameter in operation.get("parameters", []):
            if parameter["name"] in _PARAMETERS:
                parameter["example"] = _PARAMETERS[parameter["name"]]
        body = operation.get("requestBody", {}).get("content", {}).get(wire.JSON)
        if body is not None and path in _BODIES:
            body["example"] = _BODIES[path]


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation
