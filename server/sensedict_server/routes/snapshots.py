"""Dictionaries as archives: sent as they lie on the disk, and taken in, neither ever in memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from sensedict import wire
from sensedict.archive import MEDIA, PIECE, Archive
from sensedict.errors import Conflict, Forbidden, RequestTooLarge, UnsupportedMediaType
from sensedict.fileset import FORMAT
from sensedict.receiver import Receiver
from sensedict_server import files
from sensedict_server.catalogue import Catalogue
from sensedict_server.keys import Caller
from sensedict_server.lifecycle import Because
from sensedict_server.media import accepts_json, negotiate
from sensedict_server.problems import described
from sensedict_server.queries.dictionaries import Dictionary, aliases_of
from sensedict_server.routes.access import administrator
from sensedict_server.routes.shared import Named, SharedCatalogue, caching_headers
from sensedict_server.snapshots.check import check
from sensedict_server.snapshots.importing import Imported, Names, import_staged
from sensedict_server.snapshots.staging import Staged, received, staging

router = APIRouter(tags=["snapshots"])

_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")
_BINARY = {MEDIA: {"schema": {"type": "string", "format": "binary"}}}
_ARCHIVE = {"description": "an uncompressed tar, docs/snapshots.md says what is in it", "content": _BINARY}
_PART = {"description": "the bytes of the Range header", "content": _BINARY}

Administrator = Annotated[Caller, Depends(administrator)]
As = Annotated[str | None, Query(alias="as", description="`name@version` of the dictionary here; else its own")]
LexiconAs = Annotated[str | None, Query(description="`name@version` of its lexicon here; else its own")]
Reason = Annotated[str, Query(description="why, for the log", max_length=2_000, json_schema_extra=wire.A_TEXT)]


def accepts_tar(request: Request) -> None:
    """Let pass a request that takes an archive.

    Raises:
        NotAcceptable: it does not.
    """
    negotiate(request.headers.get("accept"), [MEDIA])


@router.get(
    wire.SNAPSHOT,
    dependencies=[Depends(accepts_tar)],
    response_class=Response,
    responses={200: _ARCHIVE, 206: _PART, **described(404, 406, 409, 410, 416, 422, 503)},
)
def snapshot(named: Named, shared: SharedCatalogue, request: Request) -> Response:
    """The dictionary with its lexicon as one archive; a part of it with `Range`, to go on after a cut."""
    archive = _archive(named, shared)
    try:
        headers = caching_headers(request, archive.tag, for_ever=False)  # aliases move
        headers |= {
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment; filename="{named.ref}.tar"',
        }
        start, stop = _asked_part(request, archive.size, headers["ETag"])
    except BaseException:
        archive.close()
        raise
    headers["Content-Length"] = str(stop - start)
    part = (start, stop) != (0, archive.size)
    if part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{archive.size}"
    return StreamingResponse(_sent(archive, start, stop), 206 if part else 200, headers, MEDIA)


@router.post(
    wire.SNAPSHOTS,
    dependencies=[Depends(accepts_json)],
    status_code=201,
    response_model=wire.SnapshotImport,
    responses={
        200: {"description": "All of it was here already", "model": wire.SnapshotImport},
        **described(406, 409, 422, 503),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def import_snapshot(
    request: Request,
    response: Response,
    caller: Administrator,
    shared: SharedCatalogue,
    renamed: As = None,
    lexicon_as: LexiconAs = None,
    reason: Reason = "imported from a snapshot",
) -> wire.SnapshotImport:
    """Import the archive that is the body: it is checked on the disk before anything of it is visible."""
    names = Names(renamed, lexicon_as) if renamed or lexicon_as else None
    because = Because(caller.name, reason)
    with ExitStack() as kept:
        staged = await _staged(request, kept, shared)
        done = await run_sync(import_staged, shared.transactions, shared.files_root, staged, because, names)
    response.status_code = 201 if done.state == "imported" else 200
    response.headers["Location"] = wire.DICTIONARY.format(ref=done.dictionary.ref)
    return await run_sync(_told, shared, done)


@router.post(
    wire.VERIFY_SNAPSHOT,
    dependencies=[Depends(accepts_json), Depends(administrator)],
    responses=described(406, 422, 503),
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def verify_snapshot(request: Request, shared: SharedCatalogue) -> wire.SnapshotCheck:
    """Check the archive that is the body as an import does, and keep nothing of it."""
    with ExitStack() as kept:
        staged = await _staged(request, kept, shared)
        await run_sync(check, staged)
    manifest = staged.manifest
    return wire.SnapshotCheck(
        dictionary=manifest.ref,
        lexicon=manifest.lexicon,
        aliases=list(staged.aliases),
        senses=manifest.identity.senses,
        content_hash=manifest.identity.content_hash,
        size=sum(entry.bytes for entry in manifest.files.values()),
    )


def _archive(named: Dictionary, shared: Catalogue) -> Archive:
    if named.state != "published":
        raise Conflict(f"{named.ref} is a draft: publish it first")
    if not shared.contexts:
        raise Forbidden("this service gives no contexts (SENSEDICT_CONTEXTS=off), and a snapshot holds them")
    place = files.ensure(shared.transactions, shared.files_root, named, oldest=FORMAT)
    with shared.engine.connect() as connection:
        aliases = aliases_of(connection, [named.id]).get(named.id, [])
    return Archive(place, aliases)


def _asked_part(request: Request, size: int, tag: str) -> tuple[int, int]:
    """The bytes that a Range header asks for (RFC 9110 §14.2); all where there is none that can be obeyed."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked is None or request.headers.get("if-range", tag) != tag:
        return 0, size
    first, last = asked.groups()
    if first is None:
        if last is None:
            return 0, size
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if last is None else min(size, int(last) + 1)
    if start >= stop:
        raise HTTPException(416, f"it has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return start, stop


async def _sent(archive: Archive, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes, read in threads; the files are given back whatever becomes of the client."""
    try:
        pieces = archive.read(start, stop)
        while (piece := await run_sync(next, pieces, b"")) != b"":
            yield piece
    finally:
        archive.close()


async def _staged(request: Request, kept: ExitStack, shared: Catalogue) -> Staged:
    """The file set that is the body, in a folder that is there until `kept` ends.

    Raises:
        UnsupportedMediaType: the body is no archive.
        RequestTooLarge: the disk has no room for it.
        InvalidSnapshot: it is none, or damaged.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != MEDIA:
        raise UnsupportedMediaType(f"Content-Type {media!r} cannot be read here: send {MEDIA}")
    _refuse_full_disk(int(request.headers.get("content-length", "0")), shared)
    folder = await run_sync(kept.enter_context, staging(shared.files_root))  # it may wait for another process
    return received(await _received(request, folder, shared), folder)


async def _received(request: Request, folder: Path, shared: Catalogue) -> Receiver:
    """The body, written into the folder."""
    receiver = Receiver(folder)
    held = bytearray()
    asked = False
    async for piece in request.stream():
        held += piece
        if len(held) >= PIECE:
            await run_sync(receiver.feed, bytes(held))
            held.clear()
            if receiver.begun is not None and not asked:  # a body that comes in chunks does not state its size before
                asked = True
                entries = receiver.begun[1].files.values()
                _refuse_full_disk(sum(entry.bytes for entry in entries) - receiver.received, shared)
    await run_sync(receiver.feed, bytes(held))
    return receiver


def _refuse_full_disk(stated: int, shared: Catalogue) -> None:
    shared.files_root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(shared.files_root).free
    if stated > free:
        raise RequestTooLarge(f"the archive has {stated} bytes, the disk of the file sets has {free} left")


def _told(shared: Catalogue, done: Imported) -> wire.SnapshotImport:
    with shared.engine.connect() as connection:
        info = shared.infos(connection, [done.dictionary])[0]
    return wire.SnapshotImport(
        state=done.state, dictionary=info, lexicon=done.lexicon, aliases=list(done.aliases), left=list(done.left)
    )
