"""What the service counts for Prometheus; docs/operations.md says what each number means and when to worry.

With several workers each process writes its numbers to files in one folder, and whichever is asked adds them up.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.process_collector import ProcessCollector

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library reads it when it is imported
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
# When each series began: twice as many lines, and nobody asks.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _counter(name: str, told: str, *labels: str) -> Counter:
    return Counter(f"sensedict_{name}", told, labels, registry=_registry)


def _gauge(name: str, told: str, *labels: str) -> Gauge:
    return Gauge(f"sensedict_{name}", told, labels, registry=_registry, multiprocess_mode="livesum")


def _histogram(name: str, told: str, *labels: str) -> Histogram:
    return Histogram(f"sensedict_{name}", told, labels, registry=_registry, buckets=_SECONDS)


REQUEST_SECONDS = _histogram("request_seconds", "From a request to the end of its answer", "route", "method", "status")
ANSWER_BYTES = _counter("answer_bytes", "Bytes of answers' bodies", "route")
IN_FLIGHT = _gauge("requests_in_flight", "Requests that are being answered, or wait to be")
ABANDONED = _counter("requests_abandoned", "Requests whose client went away before the answer")
BULK_ITEMS = _counter("bulk_items", "Tokens, ids or vectors that bulk requests asked about", "route")
POOL_SIZE = _gauge("pool_connections", "Connections that may be open to the database")
POOL_USED = _gauge("pool_connections_used", "Connections that requests hold")
POOL_WAIT = _histogram("pool_wait_seconds", "From asking for a connection to having one that answers")
POOL_TIMEOUTS = _counter("pool_timeouts", "Requests that were given no connection in time")
DATABASE_ERRORS = _counter("database_errors", "Errors of the database by SQLSTATE; `connection`: none came", "sqlstate")
CATALOGUE = _counter("catalogue_lookups", "Dictionaries looked up by address: `hit` without the database", "result")
SNAPSHOTS = _counter("snapshot_opens", "File sets opened, and those that could not be", "result")


@cache
def of_route(route: str, method: str, status: int) -> tuple[Histogram, Counter]:
    """The seconds and the bytes of a route's answers: `labels` compares texts and takes a lock at every call."""
    return REQUEST_SECONDS.labels(route, method, status), ANSWER_BYTES.labels(route)


@contextmanager
def opening() -> Iterator[None]:
    """Count a file set as opened, or as one that could not be."""
    try:
        yield
    except BaseException:
        SNAPSHOTS.labels("failed").inc()
        raise
    SNAPSHOTS.labels("opened").inc()


@contextmanager
def shared_by_processes() -> Iterator[None]:
    """Inside, processes that are started add their numbers up, in a folder made for it and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="sensedict-metrics-") as folder:
        os.environ[_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[_FOLDER]


def exposition(of_database: CollectorRegistry) -> bytes:
    """Every number in Prometheus' text format: of all processes of the service, and those that the database holds."""
    return b"".join(map(prometheus_client.generate_latest, (_build_info(), _processes(), of_database)))


def _processes() -> CollectorRegistry:
    folder = os.environ.get(_FOLDER)
    if folder is None:
        return _registry
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if not _lives(int(pid)):  # killed, and another took its place: what it held is not held any more
            multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together, folder)  # type: ignore[no-untyped-call]
    return together


def _build_info() -> CollectorRegistry:
    registry = CollectorRegistry()
    info = Gauge("sensedict_build_info", "Versions of what runs", ["version", "python"], registry=registry)
    info.labels(version("sensedict"), platform.python_version()).set(1)
    if _FOLDER not in os.environ:  # of one process among several it would say little
        ProcessCollector(registry=registry)
    return registry


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
