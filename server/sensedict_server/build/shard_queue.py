"""procrastinate's queue as one process works on it: jobs one at a time in a thread, the event loop keeps it alive."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psycopg
import tenacity
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.jobs import Job
from procrastinate.worker import Worker
from psycopg_pool import AsyncNullConnectionPool
from sqlalchemy import Engine
from tqdm import tqdm

from sensedict.errors import Unavailable
from sensedict_server.build.jobs import TASK, nudge, put_back
from sensedict_server.database import conninfo
from sensedict_server.patience import backoff, is_over, passing, patient, shared_patience
from sensedict_server.queries.queue import SILENCE, drop_ended, queue_name, running_ids

HEARTBEAT = 10.0  # seconds between two signs of life of a worker
LOOK = 10.0  # between two looks for the dead, and for builds that stand still
IDLE = 2.0  # between two looks for jobs that were given back, and whether builds ended on which others work
LONGEST_WAIT = 30  # before a shard is tried again

Make = Callable[[JobContext, int, str], None]


def quiet() -> None:
    """Leave what happens to connections and jobs to our own messages and the build's log."""
    for name in ("procrastinate", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class ShardQueue:
    """Takes the jobs of one build or of all, and looks after those of workers that died.

    Args:
        make: called with the job's context, build and shard, in a thread. What it raises puts the job back.
        build_id: whose jobs are taken; None for all.
    """

    def __init__(self, engine: Engine, make: Make, build_id: int | None = None) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._engine, self._make, self._build_id = engine, make, build_id
        # A connection for each query, which are few: a pool's own patience with a database that is away is no good.
        self._app = App(
            connector=_Connector(pool_factory=AsyncNullConnectionPool, conninfo=conninfo(engine), max_size=0, timeout=5)
        )
        self._app.task(name=TASK, pass_context=True, retry=_Again())(self._run)
        self._stopping, self._ended = asyncio.Event(), asyncio.Event()
        self._worker: Worker | None = None
        self._current: int | None = None  # the job that runs
        self._orphans: set[int] = set()

    def work(self, finished: Callable[[], bool] | None = None) -> bool:
        """Take jobs until `finished()`; without it until told to stop.

        SIGINT and SIGTERM say so: the job that runs goes back to the queue, which stderr is told. The second one kills.

        Returns:
            Whether it was told to stop.

        Raises:
            Unavailable: the database was away for longer than a minute.
        """
        try:
            with shared_patience():
                asyncio.run(self._work(finished))
        except (ConnectorException, psycopg.OperationalError) as error:
            raise Unavailable(f"the database cannot be reached: {_reason(error)}") from error
        return self._stopping.is_set()

    async def _work(self, finished: Callable[[], bool] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_heed)
        with self._signals(self._loop):
            async with self._app.open_async():
                while not self._stopping.is_set() and not (finished is not None and await asyncio.to_thread(finished)):
                    await self._look()
                    if not self._stopping.is_set():
                        await self._turn(finished)

    async def _turn(self, finished: Callable[[], bool] | None) -> None:
        """Work as one registered worker until told to stop, or until `finished()`."""
        worker = self._worker = Worker(
            self._app,
            queues=None if self._build_id is None else [queue_name(self._build_id)],
            name=self.name,
            concurrency=1,
            fetch_job_polling_interval=IDLE,
            shutdown_graceful_timeout=0,  # a job that runs is asked to stop at once
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=SILENCE,
        )
        looking = [asyncio.create_task(self._keep_looking())]
        if finished is not None:
            looking.append(asyncio.create_task(self._wait_until(finished)))
        for task in looking:
            task.add_done_callback(lambda _: worker.stop())  # type: ignore[no-untyped-call]
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        except ConnectorException as error:
            # Struck off meanwhile, as on a laptop that slept: the next turn registers anew.
            if not isinstance(error.__cause__, psycopg.errors.ForeignKeyViolation):
                raise
        finally:
            self._worker = None
            for task in looking:
                task.cancel()
            ends = await asyncio.gather(*looking, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            await self._look()  # which waits for the database; procrastinate heeds no heartbeat that fails

    async def _wait_until(self, finished: Callable[[], bool]) -> None:
        """Returns when no job of this worker runs and `finished()`, which is asked after each job and now and then."""
        while self._current is not None or not await asyncio.to_thread(finished):
            self._ended.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), IDLE)

    async def _look(self) -> None:
        """Put back the jobs of the dead, and let builds go on that stand still."""
        jobs = self._app.job_manager
        queue = None if self._build_id is None else queue_name(self._build_id)
        if self._worker is not None and self._worker.worker_id is not None:
            await jobs.update_heartbeat(self._worker.worker_id)  # its own turn may come later, if the loop stood
        await jobs.prune_stalled_workers(SILENCE)
        for job in await jobs.get_stalled_jobs(queue=queue, seconds_since_heartbeat=SILENCE):
            if job.id != self._current:  # it is alive, even if another has struck this worker off
                await asyncio.to_thread(put_back, self._engine, job, self.name, died=True)
        await self._put_back_orphans()
        await asyncio.to_thread(self._nudge)

    async def _put_back_orphans(self) -> None:
        """Jobs that the database gave to this worker in an answer that was lost; twice seen, they are no others."""
        worker_id = None if self._worker is None else self._worker.worker_id
        if worker_id is None:
            return
        mine = await self._app.job_manager.list_jobs_async(status="doing", worker_id=worker_id)
        found = {job.id: job for job in mine if job.id is not None and job.id != self._current}
        for job_id in self._orphans & found.keys():
            await asyncio.to_thread(put_back, self._engine, found[job_id], self.name, died=False)
        self._orphans = set(found) - self._orphans

    @patient
    def _nudge(self) -> None:
        with self._engine.begin() as connection:
            drop_ended(connection)
            running = running_ids(connection)
        for build_id in running if self._build_id is None else [self._build_id]:
            nudge(self._engine, build_id)

    def _run(self, context: JobContext, /, build_id: int, shard: str, **_: object) -> None:
        """One job, in a thread; what is kept with it is for whoever puts it back."""
        self._current = context.job.id
        try:
            self._make(context, build_id, shard)
        finally:
            self._current = None
            self._loop.call_soon_threadsafe(self._ended.set)

    @contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Inside, the first SIGINT or SIGTERM stops the work, the second one kills."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def told(_number: int, _frame: FrameType | None) -> None:
            for number in before:
                signal.signal(number, signal.SIG_DFL)
            loop.call_soon_threadsafe(self._stop)

        for number in before:
            signal.signal(number, told)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        self._stopping.set()
        if self._current is not None:
            tqdm.write("stopping after this batch; once more kills", file=sys.stderr)  # above a bar, where there is one
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]


class _Again(BaseRetryStrategy):
    """A job that was told to stop waits for any worker; one that failed is tried again after a while.

    Whether it may still be tried is for whoever makes the shard to say: it fails the build instead of raising.
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, JobAborted):
            return RetryDecision()
        return RetryDecision(retry_in={"seconds": min(2**job.attempts, LONGEST_WAIT)})


def _is_away(error: BaseException) -> bool:
    """Whether the database could not be asked, so that it may be asked again."""
    return isinstance(error, ConnectorException) and isinstance(
        error.__cause__, psycopg.OperationalError | psycopg.InterfaceError
    )


def _heed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody awaited, but for a database that is away, which `work` raises."""
    error = context.get("exception")
    if not isinstance(error, Unavailable) and not (isinstance(error, BaseException) and _is_away(error)):
        loop.default_exception_handler(context)


_waits = tenacity.retry(
    retry=passing(_is_away),
    wait=backoff,
    stop=is_over,
    reraise=True,
)
_waits_for_ever = tenacity.retry(retry=tenacity.retry_if_exception(_is_away), wait=backoff, reraise=True)


class _Connector(PsycopgConnector):
    """Waits for a database that is away, so that a fail-over costs no work."""

    @_waits
    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        try:
            await super().execute_query_async(query, **arguments)
        except ConnectorException as error:
            # "Job was not found": ended already, by an attempt whose answer was lost or by whoever took it over.
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                raise

    @_waits
    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        return found

    @_waits
    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await super().execute_query_all_async(query, **arguments)
        return found

    @_waits_for_ever  # of no use but speed: the queue is looked at every few seconds too
    async def listen_notify(self, on_notification: Any, channels: Any) -> None:
        await super().listen_notify(on_notification, channels)


def _reason(error: BaseException) -> str:
    lines = str(error.__cause__ or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
