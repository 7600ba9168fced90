"""What the tests of processes have them do; a module of its own, since processes import it by its name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float16]


def killed(vectors: Vectors, die: bool) -> float:
    """Their sum, unless it kills a process that is not the test's own."""
    if die and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(vectors.sum())


def divided(vectors: Vectors, by: int) -> int:
    return len(vectors) // by


def asleep(_vectors: Vectors, seconds: float) -> int:
    """The process that slept."""
    time.sleep(seconds)
    return os.getpid()
