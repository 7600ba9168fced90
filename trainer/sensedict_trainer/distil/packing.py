"""Several short windows in one row of a pass: positions begin anew at each window, and none sees another.

What is drawn, remembered and cached goes by window; a row is how windows pass through layers, nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sensedict.errors import ConfigurationError
from sensedict_trainer.text import TokenWindow, pad_windows

_POOL = 1024  # windows among which rows are filled
_WORST = {torch.float32: 1e-3, torch.float64: 1e-3}  # share that rounding may change of states; of half precision 0.05

Rows = list[list[TokenWindow]]


def rows_of(windows: Sequence[TokenWindow], row: int | None) -> Rows:
    """Windows in order, cut into as few rows of at most `row` tokens as keep the order; None: a row each."""
    rows: Rows = []
    room = 0
    for window in windows:
        if row is None or len(window.ids) > room:
            rows.append([])
            room = row or 0
        rows[-1].append(window)
        room -= len(window.ids)
    return rows


def fill_rows(windows: Sequence[TokenWindow], row: int) -> Rows:
    """Windows in rows with little room left over, the longest first into the first row that has room for it.

    Rows are filled among 1,024 windows at a time. `rows_of` makes of the windows of some of these rows, in order, no
    more rows than they were.
    """
    filled: Rows = []
    for start in range(0, len(windows), _POOL):
        pool = sorted(windows[start : start + _POOL], key=lambda window: -len(window.ids))  # stable
        rows: Rows = []
        room = np.zeros(len(pool), dtype=np.int64)
        for window in pool:
            fits = np.flatnonzero(room[: len(rows)] >= len(window.ids))
            if not len(fits):
                room[len(rows)] = row
                fits = np.array([len(rows)])
                rows.append([])
            rows[fits[0]].append(window)
            room[fits[0]] -= len(window.ids)
        filled += rows
    return filled


def passes(windows: Sequence[TokenWindow], at_once: int | None, row: int | None = None) -> list[list[TokenWindow]]:
    """Windows in order, in parts of at most `at_once` rows; None leaves them together."""
    rows = rows_of(windows, row)
    size = at_once or max(len(rows), 1)
    return [flat(rows[start : start + size]) for start in range(0, len(rows), size)]


def flat(rows: Sequence[Sequence[TokenWindow]]) -> list[TokenWindow]:
    """The windows of some rows, in order."""
    return [window for row in rows for window in row]


@dataclass(frozen=True)
class Layout:
    """Where windows lie in the rows of a pass.

    Attributes:
        ids: (R, T) int64 tokens; mask: (R, T) int64, 1 where a token is real.
        places: row, first column and end of each window.
        positions: (R, T) int64, each token's place in its window; None where every window has a row of its own.
    """

    ids: Tensor
    mask: Tensor
    places: Sequence[tuple[int, int, int]]
    positions: Tensor | None = None

    @property
    def has_target(self) -> Tensor:
        """(R, T − 1) bool, whether the token after a position is of the same window."""
        following = self.mask[:, 1:].bool()
        return following if self.positions is None else following & (self.positions[:, 1:] > 0)

    def seen(self) -> dict[str, Tensor | None]:
        """What tells a model who sees whom: transformers finds packed windows by positions, and only without a mask."""
        if self.positions is None:
            return {"attention_mask": self.mask}
        return {"attention_mask": None, "position_ids": self.positions}

    def put(self, parts: Sequence[Tensor]) -> Tensor:
        """(R, T, …) of each window's (T_i, …)."""
        rows: list[list[Tensor]] = [[] for _ in self.ids]
        for (row, _, _), part in zip(self.places, parts, strict=True):
            rows[row].append(part)
        return pad_sequence([row[0] if len(row) == 1 else torch.cat(row) for row in rows], batch_first=True)

    def take(self, tensor: Tensor) -> list[Tensor]:
        """Of each window (T_i, …), of (R, T, …)."""
        return [tensor[row, first:end] for row, first, end in self.places]


def lay_out(windows: Sequence[TokenWindow], row: int | None, device: torch.device) -> Layout:
    """Windows in the rows of `rows_of`, padded on the right."""
    if row is None:
        return Layout(*pad_windows(windows, device), [(place, 0, len(w.ids)) for place, w in enumerate(windows)])
    rows = rows_of(windows, row)
    joined = [TokenWindow("", np.concatenate([window.ids for window in some])) for some in rows]
    ids, mask = pad_windows(joined, device)
    positions = torch.zeros_like(ids)
    places = []
    for number, some in enumerate(rows):
        first = 0
        for window in some:
            end = first + len(window.ids)
            positions[number, first:end] = torch.arange(len(window.ids), device=device)
            places.append((number, first, end))
            first = end
        # What pads a row is a window of its own that nothing sees, of a token that no model takes for padding.
        positions[number, first:] = torch.arange(ids.shape[1] - first, device=device)
        ids[number, first:] = ids[number, first - 1]
    return Layout(ids, mask, places, positions)


@torch.inference_mode()
def check_packing(backbone: nn.Module, windows: Sequence[TokenWindow], row: int, device: torch.device) -> None:
    """Check on real text that a model keeps windows apart that share a row.

    Raises:
        ConfigurationError: it takes no positions, or its states are not those of the windows alone.
    """
    name = type(backbone).__name__
    some = sorted(windows, key=lambda window: len(window.ids))[:2]
    if len(rows_of(some, row)) == len(some):
        return  # not even the shortest fit together
    remedy = f"{name} does not keep windows apart that share a row: use --set pack=false"
    if "position_ids" not in inspect.signature(backbone.forward).parameters:
        raise ConfigurationError(f"{remedy} (it takes no positions)")
    backbone.eval()

    def states(of: Sequence[TokenWindow]) -> list[Tensor]:
        layout = lay_out(of, row, device)
        return layout.take(backbone(input_ids=layout.ids, use_cache=False, **layout.seen()).last_hidden_state.float())

    alone = torch.cat([part for window in some for part in states([window])])
    packed = torch.cat(states(some))
    differ = float((packed - alone).norm() / alone.norm())
    dtype = next(backbone.parameters()).dtype
    if not differ <= _WORST.get(dtype, 0.05):
        raise ConfigurationError(f"{remedy} (packed, its states differ by {differ:.1%})")
