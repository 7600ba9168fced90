"""Before every request: who sends it, and whether it is one too many.

Plain ASGI, before routes are looked for and before a body is read, so that no route can forget it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from sensedict.errors import Forbidden, Unauthorized, UnsupportedMediaType, UrlTooLong, WrongHost
from sensedict.wire import JSON, LIVEZ, METRICS, READYZ, SAFETENSORS, Limits
from sensedict_server.exchange import SHARE
from sensedict_server.fair_share import FairShare, Share
from sensedict_server.keys import Caller, KeyRing
from sensedict_server.routes.access import NO_KEY

PROTECTED = "/v1"
_PROBES = (LIVEZ, READYZ, METRICS)  # they take no thread, and are asked most while nothing else is answered
_SAFE = ("GET", "HEAD", "OPTIONS")
_OF_FORMS = ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """Let requests pass that are allowed.

    Args:
        keys: whom to let in; None: anybody.
        local: without keys, only under this machine's own names.
    """

    def __init__(self, app: ASGIApp, limits: Limits, share: FairShare, keys: KeyRing | None, local: bool) -> None:
        self._app, self._limits, self._share, self._keys, self._local = app, limits, share, keys, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its caller's share in its state.

        Raises:
            SenseDictError: why not.
        """
        if scope["type"] == "lifespan" or scope.get("path") in _PROBES:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = dict(scope["headers"])
            self._check_address(scope)
            self._check_origin(scope, headers)
            share = scope["state"][SHARE] = await self._enter(scope, headers)
            try:
                await self._app(scope, receive, send)
            finally:
                self._share.leave(share)

    def _check_address(self, scope: Scope) -> None:
        size = len(scope.get("raw_path", b"")) + len(scope["query_string"])
        if size > self._limits.max_url_bytes:
            raise UrlTooLong(f"an address of {size} bytes; at most {self._limits.max_url_bytes}")

    def _check_origin(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Let pass what no page of another site sends."""
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local and _name(host) not in _LOOPBACK:
            # Such a page can have its own name lead to this machine (DNS rebinding): the browser then takes us for it.
            raise WrongHost(
                f"Host {host[:100]!r} is no name of this machine, and without keys the service answers under "
                f"{', '.join(_LOOPBACK)} alone: for another name start it with SENSEDICT_KEYS=required"
            )
        if scope["method"] in _SAFE:
            return
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.partition("://")[2] != host:
            raise Forbidden(f"a page of {origin[:100]!r} may send nothing here")
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        if media in _OF_FORMS:  # what a page may send to any site without asking first
            raise UnsupportedMediaType(f"Content-Type {media!r} cannot be read here: send {JSON} or {SAFETENSORS}")

    async def _enter(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Share:
        """Find out who it is, and count the request in."""
        now = asyncio.get_running_loop().time()
        state = scope["state"]
        authorization = headers.get(b"authorization")
        if self._keys is None:
            state["caller"] = Caller(_address(scope), "admin")
        elif authorization is not None:
            known = self._keys.find(authorization)
            if known is not None:
                state["caller"], state["key_name"] = known, known.name
                return self._share.enter(known.name, now)
        share = self._share.enter("@" + _address(scope), now)  # "@": no key is named so
        try:
            if self._keys is not None and _is_protected(scope["path"]):
                if authorization is None:
                    raise Unauthorized(NO_KEY)
                known = await self._keys.caller(authorization)
                state["caller"], state["key_name"] = known, known.name
        except BaseException:
            self._share.leave(share)
            raise
        return share


def _is_protected(path: str) -> bool:
    return path == PROTECTED or path.startswith(PROTECTED + "/")


def _name(host: str) -> str:
    """A Host header without its port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0].lower()


def _address(scope: Scope) -> str:
    """The client's address; of IPv6 the network, since who has one address there has 2⁶⁴."""
    client = scope.get("client")
    if client is None:
        return "unknown"
    host: str = client[0]
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
