"""Waiting in tests: for what is bound to come, however busy the machine is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOKS, _PAUSE = 15_000, 0.02  # seconds: five minutes or more, by no clock: one goes on while the machine stands still


def until(
    holds: Callable[[], T],
    process: subprocess.Popen[bytes] | None = None,
    told: Callable[[], object] = lambda: "it never came",
) -> T:
    """What `holds` gives once that is true.

    Args:
        process: that is to bring it about: it must not end before, and is killed where it never comes.
        told: what to say where it never comes.
    """
    for _ in range(_LOOKS):
        found = holds()
        if found:
            return found
        assert process is None or process.poll() is None, told()
        time.sleep(_PAUSE)
    if process is not None:
        process.kill()
        process.wait()
    raise AssertionError(told())
