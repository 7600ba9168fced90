"""Waiting in tests: for what is bound to come, however busy the machine is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOKS, _PAUSE = 3000, 0.02  # seconds: a minute and more, and no clock, which goes on while the machine stands still


def until(
    holds: Callable[[], T],
    process: subprocess.Popen[bytes] | None = None,
    told: Callable[[], object] = lambda: "it never came",
) -> T:
    """What `holds` gives once that is true.

    Args:
        process: that it is waited for together with; it must not end before.
        told: what to say where it never comes.
    """
    for _ in range(_LOOKS):
        found = holds()
        if found:
            return found
        assert process is None or process.poll() is None, told()
        time.sleep(_PAUSE)
    raise AssertionError(told())
