"""`sensedict` without its imports: a process that has torch in memory forks for each command that is asked of it.

`python tests/warm_sensedict.py SOCKET` listens; `run(socket, arguments)` runs `sensedict ARGUMENTS…` in a fork, in the
caller's folder and environment and with its streams. Of a page's commands most take seconds to import what they need.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

HEAVY = (
    "transformers.models.llama.modeling_llama",
    "sensedict_server.build.pipeline",
    "sensedict_trainer.distillation",
    "sensedict_trainer.experiments.render",
    "sensedict_trainer.sense_quality.word_in_context",
)
_MOST = 2**20  # bytes of an environment


@contextmanager
def warm_sensedict(address: Path) -> Iterator[None]:
    """Such a process, listening at the address, for as long as the block lasts."""
    with subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.terminate()


def run(address: str, arguments: list[str]) -> int:
    """The exit status of the command."""
    asked = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        connection.connect(address)
        socket.send_fds(connection, [asked], [0, 1, 2])
        return int(connection.recv(16) or b"1")


def listen(address: str) -> None:
    """Fork for each connection, and again in the fork for the command, whose status the first one waits for."""
    for name in HEAVY:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            _bury()
            if os.fork() == 0:
                listening.close()
                command = os.fork()
                if command == 0:
                    _become(connection)
                connection.send(str(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])).encode())
                os._exit(0)
            connection.close()


def _bury() -> None:
    """Forget the forks that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(connection: socket.socket) -> NoReturn:
    """Be the command: ends this process."""
    asked, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    meant = json.loads(asked)
    os.chdir(meant["folder"])
    os.environ.clear()
    os.environ.update(meant["environment"])
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    importlib.invalidate_caches()
    sys.argv = ["sensedict", *meant["arguments"]]
    from sensedict.cli import main

    main()
    sys.exit(0)


if __name__ == "__main__":
    listen(sys.argv[1])
