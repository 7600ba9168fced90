"""The lives of versions: publishing drafts, aliases, deprecation, deletion; what happened, and who asks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from sensedict import wire
from sensedict.errors import DictionaryGone, InvalidInput, UnsupportedMediaType
from sensedict.inputs import NAME
from sensedict_server import lifecycle
from sensedict_server.build.publish_draft import publish_draft
from sensedict_server.keys import Caller
from sensedict_server.lifecycle import Because
from sensedict_server.media import Body, accepts_json, read_body
from sensedict_server.problems import described, validate_json
from sensedict_server.queries import versions
from sensedict_server.routes.access import administrator
from sensedict_server.routes.shared import Ref, SeesDrafts, SharedCatalogue

router = APIRouter(tags=["versions"], dependencies=[Depends(accepts_json)])

Administrator = Annotated[Caller, Depends(administrator)]
Version = Annotated[
    str,
    Path(
        alias="ref",
        description="`name@version`: no alias stands for what is changed",
        json_schema_extra={"pattern": f"^{NAME}@{NAME}$"},
    ),
]
Name = Annotated[str, Path(description="of a dictionary, without a version")]
Alias = Annotated[str, Path(description="the word after `@`", json_schema_extra={"pattern": f"^{NAME}$"})]
Reason = Annotated[str, Query(description="why, for the log", max_length=2_000, json_schema_extra=wire.A_TEXT)]
Asked = Annotated[Body, Depends(read_body)]
_CHANGING = described(400, 403, 404, 406, 409, 410, 413, 415, 422, 503)


def _takes(model: type[wire.Request]) -> dict[str, Any]:
    """OpenAPI's description of a body that is read by hand."""
    return {"requestBody": {"required": True, "content": {wire.JSON: {"schema": model.model_json_schema()}}}}


@router.post(wire.PUBLISH, responses=_CHANGING, openapi_extra=_takes(wire.PublishRequest))
def publish(ref: Version, caller: Administrator, asked: Asked, shared: SharedCatalogue) -> wire.DictionaryInfo:
    """Publish a draft: from then on it never changes, and `latest` names it. Its file set is written anew."""
    request: wire.PublishRequest = _read(asked, wire.PublishRequest)
    found = publish_draft(shared.transactions, shared.files_root, ref, Because(caller.name, request.reason))
    with shared.engine.connect() as connection:
        return shared.infos(connection, [found])[0]


@router.post(wire.DEPRECATE, responses=_CHANGING, openapi_extra=_takes(wire.DeprecateRequest))
def deprecate(ref: Version, caller: Administrator, asked: Asked, shared: SharedCatalogue) -> wire.DictionaryInfo:
    """Say in every answer of a version that it is not to be begun with; done again, it changes the sunset."""
    request: wire.DeprecateRequest = _read(asked, wire.DeprecateRequest)
    because = Because(caller.name, request.reason)
    if request.undo and request.sunset is not None:
        raise InvalidInput("undo takes the sunset away too: leave sunset out")
    if request.sunset is not None and request.sunset.tzinfo is None:
        raise InvalidInput("sunset has no time zone: write e.g. 2027-01-31T00:00:00Z")
    if request.undo:
        lifecycle.undo_deprecation(shared.transactions, ref, because)
    else:
        lifecycle.deprecate(shared.transactions, ref, because, request.sunset)
    shared.refresh(shared.engine)
    with shared.engine.connect() as connection:
        return shared.infos(connection, [shared.resolve(ref)])[0]


@router.put(wire.ALIAS, responses=_CHANGING, openapi_extra=_takes(wire.AliasRequest))
def set_alias(name: Name, alias: Alias, caller: Administrator, asked: Asked, shared: SharedCatalogue) -> wire.AliasInfo:
    """Let an alias name a published version; whoever asks next gets that one."""
    request: wire.AliasRequest = _read(asked, wire.AliasRequest)
    because = Because(caller.name, request.reason)
    before = lifecycle.set_alias(shared.transactions, name, alias, request.version, because)
    return wire.AliasInfo(name=name, alias=alias, version=request.version, before=before)


@router.delete(wire.ALIAS, responses=_CHANGING)
def remove_alias(
    name: Name, alias: Alias, reason: Reason, caller: Administrator, shared: SharedCatalogue
) -> wire.AliasInfo:
    """Let an alias name nothing."""
    before = lifecycle.remove_alias(shared.transactions, name, alias, Because(caller.name, reason))
    return wire.AliasInfo(name=name, alias=alias, version=None, before=before)


@router.delete(wire.DICTIONARY, responses=_CHANGING)
def delete(ref: Version, reason: Reason, caller: Administrator, shared: SharedCatalogue) -> wire.Deletion:
    """Delete a version that no alias names: who asks for it gets 410, for ever. Its rows are removed in the minutes
    after.
    """
    name, version = lifecycle.split_version(ref)
    tombstone = lifecycle.withdraw(shared.transactions, "dictionary", ref, Because(caller.name, reason))
    shared.refresh(shared.engine)
    return wire.Deletion(name=name, version=version, tombstone=None if tombstone is None else tombstone.on_the_wire())


@router.post(wire.PRUNE, responses=_CHANGING, openapi_extra=_takes(wire.PruneRequest))
def prune(name: Name, caller: Administrator, asked: Asked, shared: SharedCatalogue) -> wire.Pruning:
    """Delete old versions that no alias names and nobody asks for; without `dry_run: false` it only says which."""
    request: wire.PruneRequest = _read(asked, wire.PruneRequest)
    because = Because(caller.name, request.reason)
    found = request.versions
    if request.dry_run or found is None:
        with shared.engine.connect() as connection:
            found = versions.prunable(connection, name, request.keep, request.unused_days)
    if not request.dry_run:
        lifecycle.prune(shared.transactions, name, request.keep, request.unused_days, found, because)
        shared.refresh(shared.engine)
    return wire.Pruning(name=name, versions=found, deleted=not request.dry_run)


@router.get(wire.HISTORY, responses=described(404, 406, 422, 503))
def history(ref: Ref, drafts: SeesDrafts, shared: SharedCatalogue) -> list[wire.HistoryEvent]:
    """Who did what with a version, when and why, oldest first; of a deleted one too."""
    try:
        found = shared.resolve(ref, drafts)
        name, version = found.name, found.version
    except DictionaryGone:
        name, version = lifecycle.split_version(ref)
    with shared.engine.connect() as connection:
        events = versions.history_of(connection, "dictionary", name, version)
    return [wire.HistoryEvent(**asdict(event)) for event in events]


@router.get(wire.USES, responses=described(403, 404, 406, 422, 503))
def uses(ref: Ref, _caller: Administrator, shared: SharedCatalogue) -> list[wire.VersionUse]:
    """Who asked for a version, the last one first; of a deleted one too, up to its deletion."""
    try:
        found = shared.resolve(ref, drafts=True)
        name, version = found.name, found.version
    except DictionaryGone:
        name, version = lifecycle.split_version(ref)
    with shared.engine.connect() as connection:
        return [wire.VersionUse(**asdict(use)) for use in versions.uses_of(connection, name, version)]


def _read(asked: Body, model: type[wire.Request]) -> Any:
    if asked.media != wire.JSON:
        raise UnsupportedMediaType(f"Content-Type {asked.media!r} cannot be read here: send {wire.JSON}")
    return validate_json(model, asked.data)
