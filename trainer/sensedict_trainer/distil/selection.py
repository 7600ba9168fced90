"""P* and N*: of a position's candidate senses, the p nearest to the teacher's hidden state (DSKD §4.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict_trainer.distil.draws import Draw, expand

_CELLS = 1 << 24  # numbers of gathered vectors at once: 64 MiB in float32


@dataclass(frozen=True)
class Selection:
    """The chosen senses of one sequence's sampled positions; it depends on the teacher and the draw alone.

    Attributes:
        positions: (s,) int64.
        positives, negatives: (s, p) int64 sense ids, nearest first, −1 where a place is empty.
        positive_distances, negative_distances: (s, p) float32, the teacher's d² to each; infinite at an empty place.
    """

    positions: NDArray[np.int64]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    positive_distances: NDArray[np.float32]
    negative_distances: NDArray[np.float32]


def select(draw: Draw, hidden: Tensor, table: Tensor, rows: NDArray[np.int64], p: int) -> Selection:
    """Choose for every sampled position the p positives and the p negatives nearest to the teacher's state.

    Args:
        draw: candidates of the sequence.
        hidden: (T, D) the teacher's states of the sequence.
        table: (m, D) vectors of senses, on the device of `hidden`.
        rows: where in `table` each of `draw.ids` is.
        p: most senses chosen a set.
    """
    states = hidden[torch.from_numpy(draw.positions).to(hidden.device)]
    places = torch.from_numpy(rows).to(hidden.device)
    ids = np.append(draw.ids, -1)  # what is picked is −1 where a place is empty
    positive, near = nearest(states, table, places, draw.positive[:-1], draw.negative, p)
    negative, far = nearest(states, table, places, draw.negative, draw.positive[1:], p)
    return Selection(draw.positions, ids[positive], ids[negative], near, far)


def nearest(
    states: Tensor, table: Tensor, places: Tensor, starts: NDArray[np.int64], ends: NDArray[np.int64], p: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(s, p) places in `places[starts[i]:ends[i]]` of the rows nearest to state i, nearest first, and their d².

    A place is −1, and its distance infinite, where there is none.

    Args:
        states: (s, D).
        table: (m, D).
        places: (c,) int64 rows of `table`.
        starts, ends: (s,) each state's part of `places`.
    """
    owners = np.repeat(np.arange(len(starts)), ends - starts)
    offsets = expand(starts, ends - starts)  # every state with each of its candidates, one list without padding
    distances = np.empty(len(offsets), dtype=np.float32)
    count = max(1, _CELLS // table.shape[1])
    for begin in range(0, len(offsets), count):
        part = slice(begin, begin + count)
        here = states[torch.from_numpy(owners[part]).to(states.device)].float()
        there = table[places[torch.from_numpy(offsets[part]).to(table.device)]].float()
        distances[part] = here.sub_(there).square_().mean(dim=-1).cpu().numpy()
    order = np.lexsort((distances, owners))  # within a state; of equal distances the earlier place
    ranks = np.arange(len(order)) - np.repeat(np.cumsum(ends - starts) - (ends - starts), ends - starts)
    kept = ranks < p
    at = (owners[kept], ranks[kept])  # owners rise, before and after the sort
    result = np.full((len(starts), p), -1, dtype=np.int64)
    squares = np.full((len(starts), p), np.inf, dtype=np.float32)
    result[at], squares[at] = offsets[order[kept]], distances[order[kept]]
    return result, squares
