"""What every route needs: the catalogue, the dictionary of its address, and the headers of what never changes."""

from __future__ import annotations

from datetime import UTC
from email.utils import format_datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response
from starlette.types import Scope

from sensedict import inputs
from sensedict.errors import InvalidInput
from sensedict.wire import A_TEXT, OWN_LIMITS
from sensedict_server.answers import add_header
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.uses import Uses

LIMITS = OWN_LIMITS
A_WORD: Any = {**A_TEXT, "maxLength": LIMITS.max_word_characters}  # as `checked_word` has it
_FOR_EVER = "max-age=31536000, immutable"

Ref = Annotated[str, Path(description="`name@version` or `name@alias`; a bare name means its alias `latest`")]


class NotModified(Exception):
    """The caller holds this answer already."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.headers = headers


def catalogue(request: Request) -> Catalogue:
    """The catalogue of the running service."""
    found: Catalogue = request.app.state.catalogue
    return found


SharedCatalogue = Annotated[Catalogue, Depends(catalogue)]


def sees_drafts(request: Request) -> bool:
    """Whether the caller is an administrator."""
    caller = request.scope["state"].get("caller")
    return bool(caller is not None and caller.scope == "admin")


SeesDrafts = Annotated[bool, Depends(sees_drafts)]


def dictionary(ref: Ref, drafts: SeesDrafts, shared: SharedCatalogue, request: Request) -> Dictionary:
    """The dictionary that the path names; a draft for an administrator alone.

    Whatever comes of it, the answer says where the dictionary is deprecated (RFC 9745) and until when it is there
    (RFC 8594).
    """
    found = shared.resolve(ref, drafts)
    count(found, request.scope)
    tell(found, request.scope)
    return found


def count(found: Dictionary, scope: Scope) -> None:
    """Count a use of the dictionary."""
    uses: Uses = scope["app"].state.uses
    uses.note(found.name, found.version, scope["state"].get("key_name", ""))


def tell(found: Dictionary, scope: Scope) -> None:
    """Add to the answer the headers that tell of the dictionary."""
    if found.deprecated_at is not None:
        add_header(scope, "Deprecation", f"@{int(found.deprecated_at.timestamp())}")
    if found.sunset_at is not None:
        add_header(scope, "Sunset", format_datetime(found.sunset_at.astimezone(UTC), usegmt=True))
    if found.state == "draft":
        add_header(scope, "Cache-Control", "no-store")  # it may be made anew under the same address


Named = Annotated[Dictionary, Depends(dictionary)]


def caching_headers(request: Request, tag: str, *, for_ever: bool) -> dict[str, str]:
    """Headers that let an answer be kept: for ever, or as long as asking again gives the same tag.

    What a key was needed for no cache may give to others.

    Raises:
        NotModified: the caller has the answer.
    """
    whose = "private" if "authorization" in request.headers else "public"
    headers = {
        "ETag": f'"{tag}"',
        "Cache-Control": f"{whose}, {_FOR_EVER}" if for_ever else "no-cache",
        "Vary": "Accept",
    }
    known = [given.strip().removeprefix("W/") for given in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known or "*" in known:
        raise NotModified(headers)
    return headers


def unchanging(ref: Ref, named: Named, shared: SharedCatalogue, request: Request, response: Response) -> Dictionary:
    """The dictionary that the path names, and the headers that let its answers be kept.

    Under its version an answer holds for ever; under an alias it is to be asked for again, and the tag tells whether
    the alias moved.

    Raises:
        NotModified: the caller has the answer.
    """
    if named.state == "draft":
        return named
    texts = "" if shared.contexts else "-without-contexts"
    tag = f"{named.ref}-{named.content_hash}{texts}"  # the hash does not cover texts, a version does
    response.headers.update(caching_headers(request, tag, for_ever=ref == named.ref))
    return named


Unchanging = Annotated[Dictionary, Depends(unchanging)]


def asked_word(
    word: Annotated[
        str,
        Query(
            description="the word as it is spelt, percent-encoded; case folds, inflected forms are traced back",
            json_schema_extra=A_WORD,
        ),
    ],
) -> str:
    """The word of the query.

    Raises:
        InvalidInput: it is empty, too long, or holds what no word holds.
    """
    return checked_word(word)


AskedWord = Annotated[str, Depends(asked_word)]


def checked_word(word: str) -> str:
    """The word, when it can be one.

    Raises:
        InvalidInput: it is empty, too long, or holds what no word holds.
    """
    return inputs.checked_word(word, LIMITS.max_word_characters)


def refuse_null(*texts: str | None) -> None:
    """Let pass texts that a database can compare with.

    Raises:
        InvalidInput: one holds U+0000.
    """
    if any(text is not None and "\x00" in text for text in texts):
        raise InvalidInput("type, source, rule and pos cannot hold the character U+0000")


def asked_pos(
    pos: Annotated[
        str | None,
        Query(
            description="only as this part of speech, where sources have it: noun, verb, adjective, adverb or another",
            max_length=100,
        ),
    ] = None,
) -> str | None:
    """The part of speech of the query.

    Raises:
        InvalidInput: it holds U+0000.
    """
    refuse_null(pos)
    return pos


AskedPos = Annotated[str | None, Depends(asked_pos)]
