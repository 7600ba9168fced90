"""Questions about the service itself, answered beside all others: most of all while every thread is busy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Connection, Engine

from sensedict import wire
from sensedict.errors import Unavailable
from sensedict_server import metrics, readiness
from sensedict_server.database import one_beside
from sensedict_server.queries.dictionaries import count_published
from sensedict_server.queries.operations import builds_by_state, count_workers

PATIENCE = 3.0  # seconds; who asks gives up after ten at most
_STATEMENT = 2.0  # seconds; before that, so that the answer says why
_BUILD_STATES = ("running", "published", "failed", "cancelled")
_T = TypeVar("_T")


class Probes:
    """One connection and one thread of their own."""

    def __init__(self, engine: Engine, files_root: Path) -> None:
        self._engine = one_beside(engine, _STATEMENT).execution_options(isolation_level="AUTOCOMMIT")
        self._files_root = files_root
        self._lane = anyio.CapacityLimiter(1)

    async def readiness(self) -> tuple[wire.Health, list[wire.ProblemError]]:
        """What there is to answer from, and the faults; no answer in time is one of the database."""
        try:
            return await self._beside(lambda: readiness.examine(self._engine, self._files_root))
        except Unavailable as late:
            return wire.Health(status="ok"), [wire.ProblemError(pointer="/database", detail=late.detail)]

    async def numbers(self) -> bytes:
        """Every number, in Prometheus' text format; those of the database are missing while it does not answer."""
        try:
            of_database = await self._beside(self._count)
        except Unavailable:
            of_database = _database_up(0)
        return metrics.exposition(of_database)

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()

    async def _beside(self, ask: Callable[[], _T]) -> _T:
        with anyio.move_on_after(PATIENCE):
            # The thread of a question that waits too long ends by itself: its statements have a limit too.
            return await anyio.to_thread.run_sync(ask, limiter=self._lane, abandon_on_cancel=True)
        raise Unavailable(f"the database did not answer within {PATIENCE:.0f} s")

    def _count(self) -> CollectorRegistry:
        with self._engine.connect() as connection:
            return _counted(connection)


def _counted(connection: Connection) -> CollectorRegistry:
    registry = _database_up(1)
    states = builds_by_state(connection)
    jobs = Gauge("sensedict_jobs", "Builds of dictionaries by state", ["state"], registry=registry)
    for state in _BUILD_STATES:
        jobs.labels(state).set(states.get(state, 0))
    living, _ = count_workers(connection)
    Gauge("sensedict_workers", "Workers that gave a sign of life lately", registry=registry).set(living)
    dictionaries = Gauge("sensedict_dictionaries", "Published dictionaries", registry=registry)
    dictionaries.set(count_published(connection))
    return registry


def _database_up(value: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("sensedict_database_up", "Whether the database answered just now", registry=registry).set(value)
    return registry
