"""Frozen activations on disk: what enters the trained layers, and the teacher's last hidden states.

Both depend on teacher and text alone, so they are computed once for all epochs and all runs that share them. A number
takes 14 bits: `docs/activation-cache.md` has what else was measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sensedict_trainer.distil.rows import GROUP, Bytes, Rows, build_rows
from sensedict_trainer.text import TokenWindow, text_hash

if TYPE_CHECKING:
    from sensedict_trainer.teacher import Teacher

FORMAT = "14 bits, 4 apart"  # part of the key: another format is another cache
MASSIVE = 4  # numbers of a row that are kept apart: a few channels are thousands of times as large as the rest
_BITS = 14  # four numbers of that are 7 bytes
_LEVELS = 2 ** (_BITS - 1) - 1

States = tuple[Tensor, ...]  # (T, D) each


def width_of(dim: int) -> int:
    """Bytes that a row of D numbers takes: 7 for four numbers, 4 for the scale, 6 for each number apart."""
    return _packed(dim) + 4 + 6 * min(MASSIVE, dim)


def to_stored(states: Tensor) -> Tensor:
    """(n, `width_of(D)`) uint8 rows of states (n, D): whole numbers of 14 bits with a scale a row, the largest apart.

    >>> rows = torch.tensor([[30000.0, 1.0, -2.0, 0.5, 0.25, -0.125]])
    >>> to_states(to_stored(rows), 6).sub(rows).abs().max().item() < 0.25 / 8191
    True
    """
    count, dim = states.shape
    rest = states.float().clone()
    at = rest.abs().topk(min(MASSIVE, dim), dim=1).indices
    apart = rest.gather(1, at)
    rest.scatter_(1, at, 0.0)
    scale = rest.abs().amax(dim=1, keepdim=True) / _LEVELS
    numbers = (rest / torch.where(scale > 0, scale, 1.0)).round().long() + _LEVELS
    fours = torch.nn.functional.pad(numbers, (0, -dim % 4)).view(count, -1, 4)
    words = (fours << _shifts(states.device)).sum(dim=2)  # 56 bits each
    packed = words.view(torch.uint8).view(count, -1, 8)[:, :, :7]
    channels = torch.stack([at & 255, at >> 8], dim=2).to(torch.uint8)
    parts = [packed.reshape(count, -1), scale.view(torch.uint8), channels.view(count, -1), apart.view(torch.uint8)]
    return torch.cat(parts, dim=1)


def to_states(stored: Tensor, dim: int) -> Tensor:
    """(n, D) float32 states of the rows that `to_stored` made, on their device."""
    count, many = len(stored), min(MASSIVE, dim)
    packed, scale, channels, apart = torch.split(stored, [_packed(dim), 4, 2 * many, 4 * many], dim=1)
    scale, apart = (part.clone(memory_format=torch.contiguous_format) for part in (scale, apart))  # to be viewed wider
    words = torch.nn.functional.pad(packed.reshape(count, -1, 7), (0, 1)).view(torch.int64)  # (n, D / 4, 1)
    numbers = ((words >> _shifts(stored.device)) & (2**_BITS - 1)).view(count, -1)[:, :dim]
    states: Tensor = (numbers - _LEVELS).float() * scale.view(torch.float32)
    pairs = channels.reshape(count, many, 2).long()
    states.scatter_(1, pairs[:, :, 0] | (pairs[:, :, 1] << 8), apart.view(torch.float32))
    return states


def _packed(dim: int) -> int:
    return 7 * ((dim + 3) // 4)


def _shifts(device: torch.device) -> Tensor:
    return torch.arange(4, device=device) * _BITS


class Activations:
    """The cache of a text in a folder: some states of each window.

    Args:
        rows: as `build_rows` gives them.
        teacher: whose states they are.
        parts: states a token: 2, what enters the trained layers and h_t; 1 where h_t is not wanted.
    """

    def __init__(self, rows: Rows, teacher: Teacher, parts: int) -> None:
        self._rows, self._teacher, self._parts = rows, teacher, parts

    @classmethod
    def build(
        cls,
        folder: Path,
        teacher: Teacher,
        key: Mapping[str, Any],
        windows: Sequence[TokenWindow],
        run: Callable[[Sequence[TokenWindow]], Sequence[States]],
        parts: int,
    ) -> Activations:
        """Open the cache in a folder, having made what is missing of it.

        Args:
            key: what decides the states beside teacher and text.
            run: gives the states of windows that pass together.

        Raises:
            ConfigurationError: the folder holds a cache of another key, or has no room.
            Corrupt: a file of it is damaged.
        """

        def make(group: Sequence[TokenWindow]) -> list[Bytes]:
            return [torch.cat([to_stored(part) for part in states], dim=1).cpu().numpy() for states in run(group)]

        whole = {**text_key(teacher, windows), **key, "format": FORMAT, "parts": parts}
        rows = build_rows(folder, whole, windows, parts * width_of(teacher.dim), make, "frozen activations")
        return cls(rows, teacher, parts)

    def of(self, window: TokenWindow) -> States:
        """(T, D) each, in the teacher's dtype on its device.

        Raises:
            Corrupt: the file's bytes are not what was written.
        """
        stored = torch.from_numpy(np.array(self._rows.of(window))).to(self._teacher.device)
        dim = self._teacher.dim
        parts = torch.split(stored, width_of(dim), dim=1)
        return tuple(to_states(part, dim).to(self._teacher.dtype) for part in parts)


def text_key(teacher: Teacher, windows: Sequence[TokenWindow]) -> dict[str, Any]:
    """What decides a teacher's states of some windows: weights, dtype, text, and how it is cut and packed."""
    return {
        "teacher": teacher.fingerprint,
        "dtype": teacher.dtype_name,
        "text": text_hash(windows),
        "windows": len(windows),
        "window": max(len(window.ids) for window in windows),
        "windows a pass": GROUP,
    }


def weights_key(modules: Sequence[nn.Module]) -> str:
    """sha256 over the weights of some modules, in order."""
    digest = hashlib.sha256()
    for module in modules:
        for name, weight in module.state_dict().items():
            digest.update(f"{name}\x00{weight.dtype}\x00{tuple(weight.shape)}\x00".encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
