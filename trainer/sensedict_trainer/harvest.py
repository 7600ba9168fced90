"""Hidden states at chosen positions of some text: the teacher's part in the building of a dictionary (DSKD §3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict.errors import NotFinite
from sensedict_trainer.teacher import Teacher, logit_rows
from sensedict_trainer.text import TokenWindow, pad_windows

KeyPolicy = Literal["next", "predicted", "input"]
KEY_POLICIES: tuple[KeyPolicy, ...] = ("next", "predicted", "input")

_FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class Harvest:
    """Hidden states with where they were read.

    Attributes:
        vectors: (m, D) float16, after the final norm.
        keys: (m,) int32, the token under which each is kept.
        windows: (m,) int32, place of its window among those given.
        positions: (m,) int32, place in the window.
    """

    vectors: NDArray[np.float16]
    keys: NDArray[np.int32]
    windows: NDArray[np.int32]
    positions: NDArray[np.int32]


def text_keys(window: TokenWindow, policy: KeyPolicy) -> NDArray[np.int32] | None:
    """The key of each position as the text alone gives it; None where the teacher decides.

    Position i is kept under the token that follows it (`next`; the last position has none), or under its own
    (`input`). `predicted`, the token that the teacher finds likeliest there, is known after the pass alone.
    """
    if policy == "next":
        return window.ids[1:]
    return window.ids if policy == "input" else None


@torch.inference_mode()
def harvest(
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    wanted: Sequence[NDArray[np.integer]],
    policy: KeyPolicy,
    batch_size: int,
    advance: Callable[[int], object] = lambda tokens: None,
) -> Harvest:
    """Run the teacher over some windows and keep its hidden states at the wanted positions, by window and position.

    Args:
        windows: at least one.
        wanted: positions of each window; a window without any is not run.
        policy: under which key a state is kept.
        batch_size: windows a forward pass.
        advance: told the number of tokens passed.

    Raises:
        NotFinite: a hidden state is NaN, infinite or too large for float16; names window and position.
    """
    parts: list[tuple[int, NDArray[np.integer], NDArray[np.float16], NDArray[np.int32]]] = []
    order = sorted((i for i in range(len(windows)) if len(wanted[i])), key=lambda i: -len(windows[i].ids))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        ids, mask = pad_windows([windows[i] for i in batch], teacher.device)
        states = teacher.hidden_states(ids, mask)
        for row, i in enumerate(batch):
            here = states[row, torch.from_numpy(wanted[i].astype(np.int64)).to(states.device)]  # (w, D)
            found = text_keys(windows[i], policy)
            keys = _predicted(teacher, here) if found is None else found[wanted[i]].astype(np.int32)
            parts.append((i, wanted[i], _to_float16(here, windows[i], wanted[i]), keys))
        advance(sum(len(windows[i].ids) for i in batch))
    parts.sort(key=lambda part: part[0])
    if not parts:
        none = np.zeros(0, dtype=np.int32)
        return Harvest(np.zeros((0, teacher.dim), dtype=np.float16), none, none, none)
    return Harvest(
        vectors=np.concatenate([vectors for _, _, vectors, _ in parts]),
        keys=np.concatenate([keys for *_, keys in parts]),
        windows=np.concatenate([np.full(len(at), i, dtype=np.int32) for i, at, _, _ in parts]),
        positions=np.concatenate([at.astype(np.int32) for _, at, _, _ in parts]),
    )


def _predicted(teacher: Teacher, states: Tensor) -> NDArray[np.int32]:
    """(w,) the token that the teacher finds likeliest after each position."""
    rows = logit_rows(teacher.vocabulary_size)
    best = [teacher.head(part).argmax(dim=-1) for part in torch.split(states, rows)]
    return torch.cat(best).cpu().numpy().astype(np.int32)


def _to_float16(states: Tensor, window: TokenWindow, positions: NDArray[np.integer]) -> NDArray[np.float16]:
    wide = states.float()
    bad = ~(wide.abs() <= _FLOAT16_MAX).all(dim=-1)  # NaN compares as false
    if bad.any():
        where = int(positions[int(bad.int().argmax())])
        raise NotFinite(
            f"the teacher's hidden state at position {where} of {window.id} is NaN, infinite or beyond float16"
        )
    return wide.to(torch.float16).cpu().numpy()
