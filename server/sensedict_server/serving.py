"""uvicorn, from the first connection to the last: what was begun is finished, and nothing new is taken on meanwhile."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from sensedict.errors import SenseDictError
from sensedict_server import metrics
from sensedict_server.http_protocol import bounds
from sensedict_server.logs import log
from sensedict_server.routes.shared import LIMITS

GRACE = 25.0  # seconds for what was begun; Kubernetes kills after 30
_LAST = 3.0  # more, for what had to be cancelled
_ROUNDS = 60  # of half a second each, also while it starts: in uvicorn's 5 seconds none starts on a busy machine


def run(host: str, port: int, workers: int) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; a second signal ends at once what is still going on.

    New connections are refused from the first signal on. Requests have `GRACE` seconds to end; then their queries are
    cancelled. Told once, the process ends with status 0. The address must be free.
    """
    config = uvicorn.Config(
        "sensedict_server.app:from_environment",
        factory=True,
        workers=workers,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        **bounds(LIMITS.max_header_bytes),
        timeout_graceful_shutdown=round(GRACE),
    )
    listening = config.bind_socket()
    if workers > 1:
        with metrics.shared_by_processes():
            supervisor = _Supervisor(config, [listening])
            supervisor.run()
        if supervisor.useless:
            sys.exit(STARTUP_FAILURE)
        return
    server = _Server(config)
    try:
        server.run([listening])
    except KeyboardInterrupt:
        pass
    except SystemExit:  # what `serve` makes of SIGTERM, which uvicorn raises again when it has stopped
        if not server.started or server.force_exit:
            raise
    finally:
        threading.Thread(target=_leave_threads_behind, daemon=True).start()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


class _Server(uvicorn.Server):
    """One process that answers by itself."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; asked again, at once: uvicorn itself heeds only a second SIGINT."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)


class _Process(Process):
    """One of several processes that answer.

    Attributes:
        began: it could answer, as far as it told.
    """

    began = False

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve; what is wrong with the settings is told in a line, as `serve` itself does."""
        try:
            super().target(sockets)
        except SenseDictError as error:
            log.error("the service cannot begin: %s", error)
            sys.exit(STARTUP_FAILURE)

    def listen(self) -> bool:
        """Whether there was an answer since."""
        if not self.parent_conn.poll():
            return False
        self.began = self.parent_conn.recv()
        return True


class _Supervisor(Multiprocess):
    """Several processes that answer on one socket.

    Signals are looked at between two rounds over the processes, so no round waits for one of them.

    Attributes:
        useless: a process ended by itself before it could answer, and so would its successor.
    """

    processes: list[_Process]  # type: ignore[assignment]

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.useless = False
        self._stops = 0
        self._owed: dict[_Process, int] = {}  # rounds since it was asked: a clock goes on while all are stopped

    def init_processes(self) -> None:
        """Start them."""
        for _ in range(self.processes_num):
            self.processes.append(self._started())

    def handle_term(self) -> None:
        """Stop."""
        self._stops += 1
        super().handle_term()

    def handle_int(self) -> None:
        """Stop; at a terminal the processes got the signal too."""
        self._stops += 1
        super().handle_int()

    def handle_hup(self) -> None:
        """Stop, as one process alone does when its terminal is closed; uvicorn's restart would wait, deaf meanwhile."""
        self.handle_term()

    def handle_ttin(self) -> None:
        """Nothing: `--workers` says how many there are."""

    def handle_ttou(self) -> None:
        """Nothing, as `handle_ttin`."""

    def keep_subprocess_alive(self) -> None:
        """Replace the processes that ended, and those that have said nothing for long."""
        for place, process in enumerate(self.processes):
            if process.process.is_alive() and self._rounds_owed(process) < _ROUNDS:
                continue
            process.listen()  # once more: it may have begun and ended since the last round
            process.kill()
            process.join()
            self._owed.pop(process, None)
            if not process.began and process.exitcode is not None and process.exitcode >= 0:  # nobody killed it
                told = (process.pid, process.exitcode)
                log.error("process %d ended with status %d before it could answer: the reason is logged above", *told)
                self.useless = True
                self.should_exit.set()
                return
            log.warning("process %d ended or said nothing; another one takes its place", process.pid)
            self.processes[place] = self._started()

    def _started(self) -> _Process:
        process = _Process(self.config, self.sockets)
        process.start()
        return process

    def _rounds_owed(self, process: _Process) -> int:
        """Rounds for which it has owed an answer; it is asked again once it gave one."""
        if process in self._owed and process.listen():
            del self._owed[process]
        if process not in self._owed:
            process.parent_conn.send(b"ping")
            self._owed[process] = 0
        self._owed[process] += 1
        return self._owed[process]

    def terminate_all(self) -> None:
        """Tell the processes to stop, and let go of the socket: who connected would wait and never be served."""
        super().terminate_all()
        for listening in self.sockets:
            listening.close()

    def join_all(self) -> None:
        """Wait for the processes; not for ever, and not when asked again."""
        deadline = time.monotonic() + GRACE + _LAST
        # A list, so that all are looked at: one that ended is not let go before.
        while left := [process for process in self.processes if process.process.is_alive()]:
            self.handle_signals()
            if self._stops > 1 or time.monotonic() > deadline:
                for process in left:
                    process.process.kill()
            time.sleep(0.1)
        super().join_all()


def _leave_threads_behind() -> None:
    """End the process although a thread goes on, which Python would wait for: writing a file set may take minutes."""
    time.sleep(_LAST)
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if left:
        log.warning("%d threads are left behind in the middle of their work", len(left))
        logging.shutdown()
        os._exit(1)
