"""Which hidden states of a key are kept: at most so many, each use with the same chance (DSKD §3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def keep(keys: NDArray[np.integer], priorities: NDArray[np.uint64], cap: int) -> NDArray[np.bool_]:
    """Mark, for every key, the `cap` uses of lowest priority: a bottom-k sample, unbiased when priorities are uniform.

    The choice depends on the priorities alone, so it may be made before the teacher runs, after it, or part by part.

    Args:
        keys: (n,) the key of each use.
        priorities: (n,) distinct with overwhelming probability; see `hashing.mix`.
        cap: most uses kept of one key.

    Returns:
        (n,) mask.

    >>> keep(np.array([7, 7, 3, 7]), np.array([5, 1, 9, 3], dtype=np.uint64), 2).tolist()
    [False, True, True, True]
    """
    order = np.lexsort((priorities, keys))
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.r_[starts, len(keys)])
    rank = np.arange(len(keys)) - np.repeat(starts, sizes)
    kept = np.zeros(len(keys), dtype=np.bool_)
    kept[order] = rank < cap
    return kept
