"""The explorer: a page for browsers that asks this API. It holds no data, so anybody who reaches it may load it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

PAGE = "index.html"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Texts come from corpora and thesauri: should one ever reach the page as more than text, the browser runs none of it.
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, and answered by 304
}


@dataclass(frozen=True)
class Asset:
    """A file of the page; `tag` is its hash."""

    content: bytes
    media: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """The files of the page by name."""
    folder = files("sensedict_server") / "explorer"
    found = {}
    for file in folder.iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in _TYPES:
            content = file.read_bytes()
            found[file.name] = Asset(content, f"{_TYPES[suffix]}; charset=utf-8", f'"{sha256(content).hexdigest()}"')
    return found


async def page(request: Request) -> Response:
    """The page itself."""
    return _answer(request, PAGE)


async def file(request: Request) -> Response:
    """A script, a style sheet or an icon of the page."""
    return _answer(request, request.path_params["name"])


async def root(request: Request) -> Response:
    """Lead a browser to the page; whoever takes no HTML is told that there is nothing here."""
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(404)
    return RedirectResponse("explorer", headers={"Vary": "Accept", "Cache-Control": "no-cache"})


def _answer(request: Request, name: str) -> Response:
    asset = assets().get(name)
    if asset is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "ETag": asset.tag}
    known = [given.strip().removeprefix("W/") for given in request.headers.get("if-none-match", "").split(",")]
    if asset.tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media)


# Plain routes: they are no part of the API, so OpenAPI and its checks of parameters know nothing of them.
router = APIRouter()
router.add_route("/", root, methods=["GET"], include_in_schema=False)
router.add_route("/explorer", page, methods=["GET"], include_in_schema=False)
router.add_route("/explorer/{name}", file, methods=["GET"], include_in_schema=False)
