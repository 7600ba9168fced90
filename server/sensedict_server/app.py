"""The service: routes, errors and middleware put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from sqlalchemy import Engine
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from sensedict import wire
from sensedict_server import metrics, openapi, problems
from sensedict_server.answers import Answers, Compressed
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import engine, one_beside
from sensedict_server.disconnects import Watched
from sensedict_server.exchange import Turns
from sensedict_server.fair_share import FairShare
from sensedict_server.heads import Heads
from sensedict_server.keys import PATIENCE, KeyRing, read_key_file
from sensedict_server.logs import log_to_stderr
from sensedict_server.methods import only_the_methods_of_a_verb
from sensedict_server.middleware import Guard
from sensedict_server.plans import read_plans
from sensedict_server.probes import Probes
from sensedict_server.request_context import RequestContext
from sensedict_server.routes import (
    bulk,
    dictionaries,
    explorer,
    health,
    id_maps,
    jobs,
    relations,
    senses,
    snapshots,
    versions,
    words,
)
from sensedict_server.routes.parameters import only_known_parameters
from sensedict_server.routes.shared import LIMITS, NotModified
from sensedict_server.settings import UNPROTECTED, Settings
from sensedict_server.shortcut import AtOnce, Shortcut
from sensedict_server.upkeep import Upkeep
from sensedict_server.uses import Uses
from sensedict_server.work import follow


class Service(FastAPI):
    """FastAPI inside the middleware and not around it: what is answered before a route is looked for waits for none.

    Attributes:
        around: what is called with each request.
    """

    def __init__(self, **said: Any) -> None:
        super().__init__(**said)
        self.around: ASGIApp = super().__call__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["app"] = self
        await self.around(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """FastAPI's own, without what answers an unforeseen error: `RequestContext` does."""
        stack = super().build_middleware_stack()
        return stack.app if isinstance(stack, ServerErrorMiddleware) else stack


def create_app(database: Engine, settings: Settings) -> FastAPI:
    """Give the service over that database and the file sets of `settings`; both are closed when it stops.

    Raises:
        ConfigurationError: the file of plans; names every fault of it.
    """
    catalogue = Catalogue(database, settings.files, settings.contexts)
    plans = read_plans(settings.plans)
    ring = _key_ring(database, settings)
    probes = Probes(database, settings.files)
    follow(database)
    uses = Uses()
    upkeep = Upkeep(database, catalogue, uses)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # As many threads as connections: no request ever waits for the pool with a thread in its hands.
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.pool_size
        metrics.POOL_SIZE.inc(settings.pool_size)
        upkeep.start()
        async with anyio.create_task_group() as beside:
            if ring is not None:
                beside.start_soon(ring.watch)
            yield
            beside.cancel_scope.cancel()
        upkeep.close()
        probes.close()
        catalogue.close()

    app = Service(
        title="sensedict",
        summary="Senses of a language model's tokens and words, and lexical relations between them",
        version=version("sensedict"),
        lifespan=lifespan,
        redoc_url=None,
        dependencies=[Depends(only_the_methods_of_a_verb), Depends(only_known_parameters)],
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.catalogue = catalogue
    app.state.plans = plans
    app.state.uses = uses
    app.state.probes = probes
    # bulk first: its paths `{ref}:candidateSets` would match `{ref}` too
    for module in (bulk, dictionaries, versions, senses, relations, id_maps, words, snapshots, jobs):
        app.include_router(module.router)
    app.include_router(health.router)
    app.include_router(explorer.router)  # a browser loads a page without a key; what the page asks for needs one
    problems.install(app)
    app.add_exception_handler(NotModified, _not_modified)
    local = ring is None and settings.keys != UNPROTECTED
    # Who asks on one's own machine without a key is one person, whom a rate would protect from nobody.
    rate = None if local else LIMITS.requests_per_second
    share = FairShare(settings.pool_size, rate, LIMITS.max_burst, LIMITS.max_in_flight)
    passed = Shortcut(Compressed(app.around), catalogue)
    large = dict.fromkeys((wire.SNAPSHOTS, wire.VERIFY_SNAPSHOT), LIMITS.max_snapshot_bytes)
    bounded = Turns(passed, LIMITS, share, large)
    at_once = AtOnce(Answers(Watched(bounded)), catalogue)
    app.around = RequestContext(Heads(Guard(at_once, LIMITS, share, ring, local)))
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def from_environment() -> FastAPI:
    """The service as the environment describes it: what uvicorn's worker processes call."""
    settings = Settings.from_environment()
    log_to_stderr(settings.log_level, settings.log_format)
    return create_app(engine(settings), settings)


def _key_ring(database: Engine, settings: Settings) -> KeyRing | None:
    """The keys to let in; None where none is needed. Nobody said on which address we listen: then one is needed."""
    if settings.keys in ("off", UNPROTECTED):
        return None
    operators = None if settings.admin_key_file is None else read_key_file(settings.admin_key_file)
    return KeyRing(one_beside(database, PATIENCE), operators)


def _not_modified(_request: Request, error: Exception) -> Response:
    return Response(status_code=304, headers=error.headers if isinstance(error, NotModified) else {})
