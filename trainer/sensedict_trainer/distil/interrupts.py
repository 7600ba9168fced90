"""Ctrl-C, and the polite kill of a scheduler, at a point where what was done can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the block SIGINT and SIGTERM raise KeyboardInterrupt; in the middle of a step they wait for its end.

    In a thread that is not the main one nothing is changed: only the main one gets signals.

    Args:
        together: the run has several processes, which must stop after the same step: signals are only noted, in
            `asked`, and it is for the run to raise.
    """

    def __init__(self, together: bool = False) -> None:
        self._in_step = False
        self._together = together
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def step(self) -> Iterator[None]:
        """What happens inside is finished first."""
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False
        if self.asked and not self._together:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self._in_step and not self._together:
            raise KeyboardInterrupt
