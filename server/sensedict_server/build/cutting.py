"""Cutting a corpus into shards of the harvest, as its windows come by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensedict_server.build.plan import HarvestPart
from sensedict_server.build.windows import NO_KEY, Windows


class HarvestCutter:
    """Cuts the corpus into shards, window by window.

    Args:
        tokens: about as many are in a shard.
        states: no more than that are kept of one; keys: and no more tokens have sums in it.
        seen: (V,) all False.
    """

    def __init__(self, tokens: int, states: int, keys: int, seen: NDArray[np.bool_]) -> None:
        self._most = (tokens, states, keys)
        self._seen = seen
        self._parts: dict[str, HarvestPart] = {}
        self._open: HarvestPart | None = None

    def add(self, generation: int, windows: Windows, mine: NDArray[np.bool_], rest: NDArray[np.int32]) -> None:
        """Take in windows: which positions are kept (n,), and the keys (n,) of those that are summed."""
        stored = np.add.reduceat(mine, windows.starts, dtype=np.int64).tolist()
        summed = np.add.reduceat(rest != NO_KEY, windows.starts, dtype=np.int64).tolist()
        for i, (start, length) in enumerate(zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True)):
            keys = np.unique(rest[start : start + length]) if summed[i] else np.zeros(0, dtype=np.int32)
            keys = keys[keys != NO_KEY]
            new = int((~self._seen[keys]).sum())
            part = self._open
            if part is None or part.generation != generation or self._is_full(part, stored[i], new):
                self._close()
                self._seen[:] = False
                new = len(keys)
                part = HarvestPart(generation, windows.first + i, 0, 0, 0, 0, 0, 0)
            self._seen[keys] = True
            self._open = HarvestPart(
                generation,
                part.first_window,
                part.windows + 1,
                part.tokens + length,
                part.run_tokens + (length if stored[i] or summed[i] else 0),
                part.stored + stored[i],
                part.summed + summed[i],
                part.summed_keys + new,
            )

    def finished(self) -> dict[str, HarvestPart]:
        """All shards, by name."""
        self._close()
        return self._parts

    def _is_full(self, part: HarvestPart, stored: int, keys: int) -> bool:
        tokens, states, most_keys = self._most
        return (
            part.tokens >= tokens
            or part.stored + stored > states
            or (part.summed_keys > 0 and part.summed_keys + keys > most_keys)
        )

    def _close(self) -> None:
        if self._open is not None:
            number = sum(part.generation == self._open.generation for part in self._parts.values())
            self._parts[f"harvest/{self._open.generation}/{number:06d}"] = self._open
            self._open = None
