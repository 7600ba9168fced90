"""Builds: which there are, how far they are, and starting those that the service's configuration names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import Connection

from sensedict import wire
from sensedict.errors import Conflict, JobNotFound, PlanNotFound, UnsupportedMediaType
from sensedict_server.build.identity import known_threads
from sensedict_server.build.jobs import cancel_build
from sensedict_server.build.opening import open_build
from sensedict_server.media import Body, accepts_json, read_body
from sensedict_server.plans import NamedPlan
from sensedict_server.problems import described, validate_json
from sensedict_server.progress import job_detail, job_info
from sensedict_server.queries.builds import Build, find_build, list_builds, running_build
from sensedict_server.queries.dictionaries import find_dictionary
from sensedict_server.queries.versions import find_tombstone
from sensedict_server.routes.access import administrator
from sensedict_server.routes.cursors import JobsCursor, Place
from sensedict_server.routes.shared import LIMITS, SharedCatalogue

router = APIRouter(tags=["jobs"], dependencies=[Depends(accepts_json)])

_LARGEST = 2**63 - 1  # ids are bigint
_LOG_LINES = 20
# A path or URL up to its last name; `~` is a home folder. What stands after a letter is no path: and/or, harvest/0.
# Between quotation marks it may hold blanks.
_PLACE = re.compile(
    r"""(?<=['"])(?:~|\.{1,2})?/[^'"]*/|(?:\b[a-z][a-z0-9+.-]*://|(?<![\w/.])(?:~|\.{1,2})?/)[^\s'"]*/""", re.ASCII
)
_DATA_SET = "datasets:"  # mostly a public name with a slash in it
_TEXTS = ("corpus", "training_text")  # settings that name files

JobId = Annotated[int, Path(description="number of a build")]
State = Annotated[wire.JobState | None, Query(description="only jobs in this state")]
Limit = Annotated[int, Query(description="jobs in one page", ge=1, le=LIMITS.max_page)]
Next = Annotated[str | None, Query(alias="cursor", description="`next_cursor` of the page before, of the same query")]


def configured_plans(request: Request) -> Mapping[str, NamedPlan]:
    """The plans of the running service's configuration, by name."""
    found: Mapping[str, NamedPlan] = request.app.state.plans
    return found


Plans = Annotated[Mapping[str, NamedPlan], Depends(configured_plans)]
Asked = Annotated[Body, Depends(read_body)]


@router.get(wire.JOBS, responses=described(406, 422, 503))
def jobs(shared: SharedCatalogue, state: State = None, cursor: Next = None, limit: Limit = 100) -> wire.JobPage:
    """Builds of dictionaries, running and past, newest first."""
    cursors = JobsCursor(state)
    before = None if cursor is None else cursors.read(cursor).id
    with shared.engine.connect() as connection:
        found = list_builds(connection, state, before, limit + 1)
    more = len(found) > limit
    return wire.JobPage(
        jobs=[_info(build) for build in found[:limit]],
        next_cursor=cursors.make(Place(0, found[limit - 1].id)) if more else None,
    )


@router.get(wire.JOB, responses=described(404, 406, 422, 503))
def job(job: JobId, shared: SharedCatalogue) -> wire.JobDetail:
    """One build: its stages, how far it is, and the end of its log."""
    with shared.engine.connect() as connection:
        return _detail(connection, _find(connection, job))


@router.post(
    wire.JOBS,
    status_code=202,
    dependencies=[Depends(administrator)],
    response_model=wire.JobDetail,
    responses={
        200: {"description": "The plan's build is running already", "model": wire.JobDetail},
        **described(400, 404, 406, 409, 413, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {wire.JSON: {"schema": wire.JobRequest.model_json_schema()}}}
    },
)
def start(asked: Asked, plans: Plans, shared: SharedCatalogue, response: Response) -> wire.JobDetail:
    """Start a plan that the service's configuration names, or find it running; workers do it, `sensedict worker`."""
    if asked.media != wire.JSON:
        raise UnsupportedMediaType(f"Content-Type {asked.media!r} cannot be read here: send {wire.JSON}")
    plan = _planned(plans, validate_json(wire.JobRequest, asked.data).plan)
    settings = plan.at(datetime.now(UTC))
    with shared.engine.connect() as connection:
        for build in list_builds(connection, "running"):
            if build.plan == plan.name:  # begun on another day, perhaps
                settings = replace(settings, version=build.version)
        if plan.threads is None:
            threads = known_threads(connection, settings.name, settings.version)
            settings = replace(settings, threads=threads or settings.threads)
        running = running_build(connection, settings.name, settings.version)
        published = find_dictionary(connection, settings.name, settings.version, drafts=True)
        tombstone = find_tombstone(connection, "dictionary", settings.name, settings.version)
    if tombstone is not None:
        raise Conflict(f"{tombstone.told()}; a version never comes back: give the plan {plan.name!r} another")
    if running is None and published is not None:
        raise Conflict(
            f"{published.ref} is {'published' if published.state == 'published' else 'a draft'} already, and a version "
            f"is made once: give the plan {plan.name!r} another version, or one with {{date}}"
        )
    build = open_build(shared.transactions, settings, None, plan.store, plan=plan.name)
    response.headers["Location"] = wire.JOB.format(job=build.id)
    if running is not None:
        response.status_code = 200
    with shared.engine.connect() as connection:
        return _detail(connection, build)


@router.post(wire.CANCEL_JOB, dependencies=[Depends(administrator)], responses=described(404, 406, 409, 422, 503))
def cancel(job: JobId, shared: SharedCatalogue) -> wire.JobDetail:
    """Cancel a running build: its workers stop within seconds; started again, it goes on with what was made."""
    with shared.engine.connect() as connection:
        _find(connection, job)
    build = cancel_build(shared.transactions, job)
    with shared.engine.connect() as connection:
        return _detail(connection, build)


def _planned(plans: Mapping[str, NamedPlan], name: str) -> NamedPlan:
    if name in plans:
        return plans[name]
    if not plans:
        raise PlanNotFound(
            "the service's configuration names no plans: set SENSEDICT_PLANS to a TOML file with a table for each, and "
            "start the service again"
        )
    raise PlanNotFound(f"there is no plan {name[:100]!r}; the service's configuration names {', '.join(sorted(plans))}")


def _find(connection: Connection, job: int) -> Build:
    found = find_build(connection, job) if 0 <= job <= _LARGEST else None
    if found is None:
        raise JobNotFound(f"there is no job {job}: {wire.JOBS} lists those that there are")
    return found


def _info(build: Build) -> wire.JobInfo:
    info = job_info(build)
    return info.model_copy(update={"error": info.error and _without_places(info.error, build)})


def _detail(connection: Connection, build: Build) -> wire.JobDetail:
    found = job_detail(connection, build, _LOG_LINES)
    log = [line.model_copy(update={"message": _without_places(line.message, build)}) for line in found.log]
    return found.model_copy(update={"error": _info(build).error, "settings": _shown(build.settings), "log": log})


def _shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the folders and addresses of the server's machines."""
    texts = {name: [_name(place) for place in settings[name]] for name in _TEXTS if name in settings}
    teacher = {"teacher": _PLACE.sub("", settings["teacher"])} if "teacher" in settings else {}
    return {**settings, **texts, **teacher}


def _name(place: str) -> str:
    return _PLACE.sub("", place) if place.startswith(_DATA_SET) else place.rstrip("/").rpartition("/")[2]


def _without_places(text: str, build: Build) -> str:
    """What the server says of a build, each folder and address by its last name: they are not the caller's business."""
    known = (build.store, *(place for name in _TEXTS for place in build.settings.get(name, ())))
    for place in sorted(known, key=len, reverse=True):  # the longer one first, which may hold a shorter
        if _name(place):
            text = text.replace(place, _name(place))
    return _PLACE.sub("", text)
