"""Random choices that are functions of what they are about, so that no order or batch changes them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def sequence_key(seed: int, sequence_id: str, purpose: str) -> np.uint64:
    """A 64-bit number of (seed, sequence, purpose); two purposes draw independently of each other."""
    digest = hashlib.sha256(f"{seed}\x00{purpose}\x00{sequence_id}".encode("utf-8", "surrogatepass")).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def mix(key: np.uint64 | NDArray[np.uint64], counters: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Uniform 64-bit numbers of (key, counter), by splitmix64; `key` and `counters` broadcast.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2⁶⁴ is meant
        z = key + (counters.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
