"""Sense vectors on the training device: the whole dictionary where it fits, else the least recently used give way."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict.errors import ConfigurationError

Fetch = Callable[[NDArray[np.int64]], NDArray[np.float16]]


class SenseCache:
    """Rows of a table on the device, one a sense. Safe for one thread that loads and one that reads and releases.

    A loaded set of senses keeps its rows until it is released, so that what was prefetched is still there when the
    batch that needs it comes. Where the whole dictionary fits, nothing ever gives way and a sense's row is its id; it
    then comes into the table as it is needed, so that a run asks a service for no more than it uses.

    Args:
        senses: of the dictionary.
        dim: D.
        capacity: rows, 2 · D bytes each.
        device: where the table is.
    """

    def __init__(self, senses: int, dim: int, capacity: int, device: torch.device) -> None:
        self.table = torch.zeros((min(capacity, senses), dim), dtype=torch.float16, device=device)
        self.whole = len(self.table) == senses
        self._row_of = np.full(senses, -1, dtype=np.int64)
        self._sense_in = np.full(len(self.table), -1, dtype=np.int64)
        self._used = np.zeros(len(self.table), dtype=np.int64)  # the last load that wanted the row; 0: empty
        self._holders = np.zeros(len(self.table), dtype=np.int64)
        self._loads = 0
        self._changed = threading.Condition()
        self._closed = False

    def load(self, ids: NDArray[np.int64], fetch: Fetch) -> tuple[NDArray[np.int64], int]:
        """Put senses into the table and hold them there; waits while others hold too much of it.

        Args:
            ids: distinct sense ids.
            fetch: gives the vectors of those that are missing.

        Returns:
            The row of each, and how many were there already.

        Raises:
            ConfigurationError: the table is too small for these senses alone.
        """
        if len(ids) > len(self.table):
            raise ConfigurationError(
                f"a batch needs {len(ids):,} senses and the cache has room for {len(self.table):,}: give it more "
                "memory (--cache-mb), or make the batch smaller"
            )
        with self._changed:
            if not self.whole:
                self._changed.wait_for(lambda: self._closed or self._fits(ids))
            there = self._row_of[ids] >= 0
            missing = ids[~there]
            self._loads += 1
            self._hold(self._row_of[ids[there]])
        vectors = torch.from_numpy(fetch(missing)) if len(missing) else None  # the lock is not held while we wait
        with self._changed:
            if vectors is not None:
                rows = missing.astype(np.int64) if self.whole else self._free_rows(len(missing))
                self.table[self._sent(torch.from_numpy(rows))] = self._sent(vectors)
                self._row_of[missing] = rows
                self._sense_in[rows] = missing
                self._hold(rows)
            return self._row_of[ids], int(there.sum())

    def _sent(self, numbers: Tensor) -> Tensor:
        """The same on the device; by way of pinned memory, a GPU copies it while it computes."""
        device = self.table.device
        return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers.to(device)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of senses that are held; any row where an id is −1."""
        with self._changed:
            return np.maximum(self._row_of[ids], 0)

    def release(self, rows: NDArray[np.int64]) -> None:
        """Let rows that `load` gave be given up again."""
        with self._changed:
            self._holders[rows] -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Wake whoever waits for room; nothing is held any more."""
        with self._changed:
            self._closed = True
            self._holders[:] = 0
            self._changed.notify_all()

    def _fits(self, ids: NDArray[np.int64]) -> bool:
        rows = self._row_of[ids]
        held = int((self._holders > 0).sum())
        ours = int((self._holders[rows[rows >= 0]] > 0).sum())
        return len(ids) - ours <= len(self.table) - held

    def _hold(self, rows: NDArray[np.int64]) -> None:
        self._holders[rows] += 1
        self._used[rows] = self._loads

    def _free_rows(self, count: int) -> NDArray[np.int64]:
        """Rows that nobody holds, empty and long unused ones first; what was in them is forgotten."""
        free = np.flatnonzero(self._holders == 0)
        rows = free[np.argsort(self._used[free], kind="stable")[:count]]
        forgotten = self._sense_in[rows]
        self._row_of[forgotten[forgotten >= 0]] = -1
        return rows
