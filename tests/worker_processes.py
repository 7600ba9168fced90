"""`sensedict worker` in processes of their own, which start at once: their parent has imported what takes long."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

# How small builds are cut; what a shard holds is read in one batch with the rest of it, and so decides the rounding.
SHARD_TOKENS, SHARD_STATES = 150, 250

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "torch",
        "transformers.models.auto.modeling_auto",
        "transformers.models.llama.modeling_llama",
        "pandas",
        "sensedict_trainer.cluster",
        "sensedict_trainer.harvest",
        "sensedict_trainer.outline",
        "sensedict_trainer.text_sources",
        "sensedict_server.build.worker",
    ]
)


def start_worker(environment: Mapping[str, str], log: Path, shard_seconds: float) -> BaseProcess:
    """A worker that ends when no build is running; it cuts builds small and notices the dead within a second.

    Args:
        shard_seconds: that the writing of a shard takes longer: time to be killed in.
    """
    process = _context.Process(target=_work, args=(dict(environment), log, shard_seconds))
    process.start()
    return process


def _work(environment: dict[str, str], log: Path, shard_seconds: float) -> None:
    from sensedict.cli import main
    from sensedict_server.build import planning, shard_queue, store

    os.environ.update(environment)
    with log.open("a", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    planning.SHARD_TOKENS, planning.SHARD_STATES = SHARD_TOKENS, SHARD_STATES
    shard_queue.HEARTBEAT, shard_queue.SILENCE, shard_queue.LOOK, shard_queue.IDLE = 0.3, 1.0, 0.3, 0.1
    write = store.Store.write

    def slow_write(*arguments: object) -> store.Stored:
        time.sleep(shard_seconds)
        return write(*arguments)  # type: ignore[arg-type]

    store.Store.write = slow_write  # type: ignore[method-assign, assignment]
    sys.argv = ["sensedict", "worker", "--once"]
    main()
