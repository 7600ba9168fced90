"""Which methods a path takes, where more than one route is for it: RFC 9110 wants all of them told in a 405."""

from __future__ import annotations

import re
from functools import cache

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

_PARAMETER = re.compile(r"\\\{\w+\\\}")


def methods_of(app: FastAPI, path: str) -> list[str]:
    """The methods that OpenAPI describes for the path, and HEAD beside GET; none where it does not know the path.

    `name:verb` is for the routes of that verb alone, though it would pass for a name.
    """
    found = {
        template: methods for template, methods in app.openapi()["paths"].items() if _form(template).fullmatch(path)
    }
    verbs = [methods for template, methods in found.items() if ":" in template]
    described = {method.upper() for methods in verbs or found.values() for method in methods}
    return sorted(described | ({"HEAD"} if "GET" in described else set()))


async def only_the_methods_of_a_verb(request: Request) -> None:  # async: it needs no thread
    """Let pass a request for a name; `name:verb` does not stand for one.

    Raises:
        HTTPException: 405, the verb takes other methods.
    """
    path: str = request.scope["path"]
    if ":" not in path or ":" in request.scope["route"].path_format:
        return
    methods = methods_of(request.app, path)
    if methods and request.method not in methods:
        raise HTTPException(405)


@cache
def _form(template: str) -> re.Pattern[str]:
    """Paths of the form of a template as `/v1/dictionaries/{ref}:publish`."""
    return re.compile(_PARAMETER.sub("[^/]+", re.escape(template)))
