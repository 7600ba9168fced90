"""The service: routes, errors and middleware put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from sqlalchemy import Engine

from sensedict import wire
from sensedict_server import metrics, problems
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import engine
from sensedict_server.logs import log_to_stderr
from sensedict_server.middleware import BodyLimit
from sensedict_server.plans import read_plans
from sensedict_server.probes import Probes
from sensedict_server.request_context import RequestContext
from sensedict_server.routes import bulk, dictionaries, explorer, health, id_maps, jobs, relations, senses, words
from sensedict_server.routes.access import reader
from sensedict_server.routes.parameters import only_known_parameters
from sensedict_server.routes.shared import LIMITS, NotModified
from sensedict_server.settings import Settings
from sensedict_server.work import follow


def create_app(database: Engine, settings: Settings) -> FastAPI:
    """Give the service over that database and the file sets of `settings`; both are closed when it stops.

    Raises:
        ConfigurationError: the file of plans; names every fault of it.
    """
    catalogue = Catalogue(database, settings.files)
    plans = read_plans(settings.plans)
    probes = Probes(database, settings.files)
    follow(database)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # As many threads as connections: no request ever waits for the pool with a thread in its hands.
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.pool_size
        metrics.POOL_SIZE.inc(settings.pool_size)
        yield
        probes.close()
        catalogue.close()

    app = FastAPI(
        title="sensedict",
        summary="Senses of a language model's tokens and words, and lexical relations between them",
        version=version("sensedict"),
        lifespan=lifespan,
        redoc_url=None,
        dependencies=[Depends(only_known_parameters)],
    )
    app.state.catalogue = catalogue
    app.state.plans = plans
    app.state.probes = probes
    # bulk first: its paths `{ref}:candidateSets` would match `{ref}` too
    for module in (bulk, dictionaries, senses, relations, id_maps, words, jobs):
        app.include_router(module.router, dependencies=[Depends(reader)])
    app.include_router(health.router)  # /livez and /readyz are open
    app.include_router(explorer.router)  # a browser loads a page without a key; what the page asks for needs one
    problems.install(app)
    app.add_exception_handler(NotModified, _not_modified)
    app.add_middleware(BodyLimit, limit=LIMITS.max_body_bytes)
    app.add_middleware(RequestContext)  # the last one added is the outermost
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def from_environment() -> FastAPI:
    """The service as the environment describes it: what uvicorn's worker processes call."""
    settings = Settings.from_environment()
    log_to_stderr(settings.log_level, settings.log_format)
    return create_app(engine(settings), settings)


def _not_modified(_request: Request, error: Exception) -> Response:
    return Response(status_code=304, headers=error.headers if isinstance(error, NotModified) else {})


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with the problem documents that it does not know of in place of its own errors."""
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = described["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        problem = wire.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        app.openapi_schema = described
    return app.openapi_schema
