"""Memory that a process keeps for itself."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

# Page faults of making and dropping a tensor of 64 MiB again and again, once the heap has a place for it.
_FAULTS = """
import resource, sys, torch
from sensedict_trainer.allocator import keep_freed_memory
assert sys.argv[1] == "as it is" or keep_freed_memory()
for _ in range(12):
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_tensors_are_made_in_memory_that_was_freed() -> None:
    faults = {
        way: int(subprocess.run([sys.executable, "-c", _FAULTS, way], check=True, capture_output=True).stdout)
        for way in ("as it is", "kept")
    }
    pages = (64 << 20) // resource.getpagesize()
    assert faults["as it is"] >= 8 * pages
    assert faults["kept"] < 2 * pages
