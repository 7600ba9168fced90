"""What the C library does with memory that is given back: for training on a CPU it keeps it."""

from __future__ import annotations

import ctypes
import platform

# Of mallopt, see its manual page.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have memory that is freed used again, in place of giving it back to the system; False where that is not glibc.

    A tensor of more than 32 MiB is otherwise mapped anew each time, and the system clears its pages one by one,
    at every step. The process then stays as large as it once was.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
