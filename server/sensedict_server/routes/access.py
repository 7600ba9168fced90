"""Who may call a route: dependencies that let a request pass or refuse it.

The middleware lets nobody without a key to /v1. A route that changes what others read adds
`dependencies=[Depends(administrator)]`; one outside /v1 that is not for everybody, `Depends(reader)`. Both look at what
the middleware found out: no thread, no query.
"""

from __future__ import annotations

from fastapi import Request

from sensedict.errors import Forbidden, Unauthorized
from sensedict_server.keys import Caller

NO_KEY = "a key is needed here: send `Authorization: Bearer KEY`; `sensedict keys create` makes one"


async def reader(request: Request) -> Caller:
    """Let pass a caller who may read, and say who it is.

    Raises:
        Unauthorized: the request has no key.
    """
    found: Caller | None = request.scope["state"].get("caller")
    if found is None:
        raise Unauthorized(NO_KEY)
    return found


async def administrator(request: Request) -> Caller:
    """Let pass a caller who may change what others read, and say who it is.

    Raises:
        Unauthorized: see `reader`.
        Forbidden: the key may only read.
    """
    found = await reader(request)
    if found.scope != "admin":
        raise Forbidden(f"the key {found.name!r} may only read: this needs a key of the scope admin")
    return found
