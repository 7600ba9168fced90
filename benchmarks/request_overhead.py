"""What a request's id, numbers, log line and watch cost: CPU time around an ASGI application that answers at once.

    python benchmarks/request_overhead.py [--requests 5000] [--pairs 7]

Bare and wrapped runs alternate in one process; the medians of their differences are printed, in microseconds a request.
`log` writes the lines to /dev/null. With PROMETHEUS_MULTIPROC_DIR set the numbers go to files, as with `--workers 2`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import time
from typing import Any

from sensedict_server.logs import JsonLines, log
from sensedict_server.request_context import RequestContext

_BODY = b"x" * 1000


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": _BODY})


async def _send(message: Any) -> None:
    pass


async def _receive() -> Any:
    await asyncio.sleep(3600)


async def _ask(app: Any, requests: int) -> float:
    before = time.process_time()
    for _ in range(requests):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/dictionaries/tiny@1/senses",
            "headers": [(b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"user-agent", b"benchmark")],
            "query_string": b"word=hot",
            "path_params": {"ref": "tiny@1"},
            "state": {},
        }
        await app(scope, _receive, _send)
    return (time.process_time() - before) / requests * 1e6


async def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--requests", type=int, default=5000)
    arguments.add_argument("--pairs", type=int, default=7)
    given = arguments.parse_args()
    handler = logging.FileHandler("/dev/null")
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler])
    wrapped = RequestContext(answer)
    for name, level in (("numbers, id, watch", logging.WARNING), ("the same and log", logging.INFO)):
        log.setLevel(level)
        differences = []
        for _ in range(given.pairs):
            bare = await _ask(answer, given.requests)
            differences.append(await _ask(wrapped, given.requests) - bare)
        print(f"{name:20} {statistics.median(differences):6.1f} µs a request")


if __name__ == "__main__":
    asyncio.run(main())
