"""Hidden states at chosen positions of some text: the teacher's part in the building of a dictionary (DSKD §3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict.errors import NotFinite
from sensedict_trainer.state_points import FINAL_NORM, StatePoint
from sensedict_trainer.teacher import Teacher, logit_rows
from sensedict_trainer.text import TokenWindow, pad_windows

# A state is kept under the token that comes next, the one that the teacher finds likeliest there, or its own.
KeyPolicy = Literal["next", "predicted", "input"]


@torch.inference_mode()
def harvest_into(
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    wanted: Sequence[NDArray[np.integer]],
    slots: Sequence[NDArray[np.integer]],
    out: NDArray[np.float16],
    batch_size: int,
    advance: Callable[[int], object] = lambda tokens: None,
    predicted: NDArray[np.int32] | None = None,
    point: StatePoint = FINAL_NORM,
) -> None:
    """Run the teacher over some windows and write its hidden states at the wanted positions to their places.

    Windows of like length run together, on the right of them padding that a causal model's states do not depend on.

    Args:
        wanted: rising positions of each window; a window without any is not run.
        slots: for each window, the row of `out` that the state of each wanted position goes to.
        out: (m, D) float16, in memory or mapped from a file.
        batch_size: windows of full length a forward pass, or as many shorter ones as make up their tokens.
        advance: told the number of tokens passed.
        predicted: (m,) int32; to the same rows of it goes the token that the teacher finds likeliest after each state.
        point: where states are read; `predicted` needs the final norm.

    Raises:
        NotFinite: a hidden state is NaN, infinite or too large for float16; names window and position. Nothing is
            written of the batch that holds it.
    """
    for batch in _batches(windows, wanted, batch_size):
        ids, mask = pad_windows([windows[i] for i in batch], teacher.device)
        rows = np.repeat(np.arange(len(batch)), [len(wanted[i]) for i in batch])
        positions = np.concatenate([wanted[i] for i in batch]).astype(np.int64)
        states = teacher.states_at(point, ids, mask)
        here = states[torch.from_numpy(rows).to(states.device), torch.from_numpy(positions).to(states.device)]  # (w, D)
        halves = here.to(torch.float16)
        finite = torch.isfinite(halves).all(dim=-1)
        if not finite.all():
            bad = int(finite.int().argmin())
            # between layers some decoders go beyond what float16 holds, in whatever dtype they run
            other = f"run it with another --dtype than {teacher.dtype_name}"
            fix = other if point == FINAL_NORM else "choose another layer"
            raise NotFinite(
                f"the teacher's hidden state ({point}) at position {positions[bad]} of {windows[batch[rows[bad]]].id} "
                f"is NaN, infinite or beyond float16: {fix}"
            )
        places = np.concatenate([slots[i] for i in batch])
        out[places] = halves.cpu().numpy()
        if predicted is not None:
            predicted[places] = _predicted(teacher, here)
        advance(sum(len(windows[i].ids) for i in batch))


def _batches(
    windows: Sequence[TokenWindow], wanted: Sequence[NDArray[np.integer]], batch_size: int
) -> Iterator[list[int]]:
    """Windows that run together, longest first, so that memory that is too small is known at once.

    Padded, a batch has no more tokens than `batch_size` of the longest windows. It depends on nothing else than what is
    given, so that the same windows give the same numbers.
    """
    order = sorted((i for i in range(len(windows)) if len(wanted[i])), key=lambda i: -len(windows[i].ids))
    room = batch_size * len(windows[order[0]].ids) if order else 0
    start = 0
    while start < len(order):
        stop = start + max(1, room // len(windows[order[start]].ids))
        yield order[start:stop]
        start = stop


def _predicted(teacher: Teacher, states: Tensor) -> NDArray[np.int32]:
    """(w,) the token that the teacher finds likeliest after each position."""
    rows = logit_rows(teacher.vocabulary_size)
    best = [teacher.head(part).argmax(dim=-1) for part in torch.split(states, rows)]
    return torch.cat(best).cpu().numpy().astype(np.int32)
