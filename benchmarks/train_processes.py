"""Steps of distillation in processes of their own, so that what one way does with memory is not lent to another."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Literal, Self

import numpy as np
import serve_dictionary
from train_steps import Pair, Step, llama_head_teacher, plain_loss, trl_loss

from sensedict_trainer.allocator import keep_freed_memory
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import TokenWindow

Clock = Literal["wall", "cpu"]
OURS = ("apart", "shared", "cached")
CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Setting:
    """What a step works on.

    Attributes:
        name: of the rows.
        teacher: folder of one, or the D of a random one with Llama's share of the head.
        shape: windows a step, tokens a window.
    """

    name: str
    teacher: str | int
    shape: tuple[int, int]

    def load(self) -> Teacher:
        """The teacher; the same numbers in each process."""
        return llama_head_teacher(self.teacher) if isinstance(self.teacher, int) else load_teacher(self.teacher)


class Steps:
    """Ways of a step in one process: the trainer's, with its allocator, or those of plain `transformers`."""

    def __init__(self, setting: Setting, ways: Sequence[str]) -> None:
        """Start it, and take each way's first step."""
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, setting, ways), daemon=True)
        self._process.start()
        theirs.close()
        self._ours.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ours.close()
        self._process.join(timeout=10)

    def seconds(self, way: str, clock: Clock) -> float:
        """Of one step."""
        self._ours.send((way, clock))
        taken: float = self._ours.recv()
        return taken


def batches(count: int, shape: tuple[int, int]) -> Sequence[Sequence[TokenWindow]]:
    """Windows by Zipf's law, all of one length: what padding costs is not what is compared."""
    tokens = np.resize(serve_dictionary.targets(), count * shape[0] * shape[1]).reshape(count, *shape)
    return [
        [TokenWindow(f"{number}-{row}", ids.astype(np.int64)) for row, ids in enumerate(batch)]
        for number, batch in enumerate(tokens)
    ]


def _serve(asked: Connection, setting: Setting, ways: Sequence[str]) -> None:
    if any(way in OURS for way in ways):
        keep_freed_memory()  # as `train` does
    pair = Pair(setting.load(), batches(4, setting.shape))
    makers: dict[str, Callable[[], Step]] = {
        "naive": lambda: pair.naive(plain_loss),
        "trl": lambda: pair.naive(trl_loss),
        "apart": pair.apart,
        "shared": pair.shared,
        "cached": pair.cached,
    }
    steps = {way: makers[way]() for way in ways}
    for step in steps.values():
        step()
    asked.send("ready")
    with suppress(EOFError):
        while True:
            way, clock = asked.recv()
            start = CLOCKS[clock]()
            steps[way]()
            asked.send(CLOCKS[clock]() - start)
