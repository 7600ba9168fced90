"""What a request is doing in the database, so that it can be stopped when nobody waits for it any more."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from threading import Lock
from typing import Any

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from sensedict_server import metrics

_CANCEL_TIMEOUT = 2.0  # seconds


class Work:
    """One request, and the connections that it holds. Threads take and give back, the event loop stops.

    Attributes:
        request_id: of the answer and the log.
        stopped: nobody waits for it; what takes long looks here from time to time.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.stopped = False
        self._held: list[psycopg.Connection[Any]] = []
        self._lock = Lock()

    def take(self, connection: psycopg.Connection[Any]) -> None:
        """Remember a connection that the request was given."""
        with self._lock:
            self._held.append(connection)

    def give_back(self, connection: psycopg.Connection[Any] | None) -> None:
        """Forget it, before another request is given it; waits while it is being stopped."""
        with self._lock:
            self._held = [held for held in self._held if held is not connection]

    def stop(self) -> bool:
        """Ask the server to cancel what the request reads; whether there was anything. What changes data goes on.

        The lock is held until the server has heard: a statement of the next request on the connection is not hit.
        """
        self.stopped = True
        with self._lock:
            reading = [held for held in self._held if not held.closed and held.autocommit]
            for connection in reading:
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=_CANCEL_TIMEOUT)
        return bool(reading)


current: ContextVar[Work | None] = ContextVar("work", default=None)


def follow(engine: Engine) -> None:
    """Have the connections of `engine` known to the requests that hold them."""
    event.listen(engine, "checkout", _taken)
    event.listen(engine, "checkin", _given_back)


def _taken(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _proxy: object) -> None:
    metrics.POOL_USED.inc()
    work = current.get()
    if work is not None:
        work.take(connection)
        record.info["work"] = work


def _given_back(connection: psycopg.Connection[Any] | None, record: ConnectionPoolEntry) -> None:
    metrics.POOL_USED.dec()
    work = record.info.pop("work", None)
    if work is not None:
        work.give_back(connection)
