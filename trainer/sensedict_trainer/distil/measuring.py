"""What must be measured of a run before it: its rate, and the memory of its activations, on a few windows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sensedict_trainer.distil.layers import shared_layers, some_windows
from sensedict_trainer.distil.packing import fill_rows, rows_of
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.step import BatchLosses, Denominators, Stepper
from sensedict_trainer.distil.student import Tail, cut_student
from sensedict_trainer.distil.terms.term import HeadTerm
from sensedict_trainer.distil.trunk import Known, TeacherStates, Trunk
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow

_TIMED = 3  # micro-batches whose time is taken


@dataclass(frozen=True)
class Rate:
    """Seconds a token, measured: of the frozen pass, and of a step without its sense loss."""

    frozen: float
    step: float


def measure(
    recipe: Recipe,
    teacher: Teacher,
    kept: Sequence[int],
    windows: Sequence[TokenWindow],
    size: int,
    known: Known | None,
) -> tuple[Rate, int]:
    """Seconds a token, and bytes that a micro-batch of the longest windows keeps for its backward pass."""
    student = cut_student(teacher, kept, recipe.trainable)
    tail = Tail(student, recipe.trainable)
    frozen = len(kept) - recipe.trainable
    trunk = Trunk(
        teacher,
        frozen,
        [],
        memory=0,
        student=None if shared_layers(kept) >= frozen else student,
        known=known,
        row=recipe.row,
    )
    heads = [name for name, term in recipe.active.items() if isinstance(term, HeadTerm)]
    stepper = Stepper(replace(recipe, objective=" + ".join(heads or ["ce"])), teacher, student, tail, None)
    at_once = min(size, 2) if teacher.device.type == "cpu" else size  # a CPU is as quick with few
    sample = some_windows(windows, _TIMED * at_once)
    rows = rows_of(windows, None) if recipe.row is None else fill_rows(windows, recipe.row)
    fullest = max(rows, key=lambda row: sum(len(window.ids) for window in row))
    activations = size * _kept_bytes(teacher, tail, trunk.states(fullest))
    times = []
    for batch in (sample[start : start + at_once] for start in (0, *range(0, len(sample), at_once))):
        positions = Denominators(sum(len(window.ids) - 1 for window in batch), 0)
        before = _now(teacher)
        states = trunk.states(batch)
        between = _now(teacher)
        stepper.backward(states, [], positions, BatchLosses(), 0.0, measure=False)
        times.append((between - before, _now(teacher) - between))
    tokens = sum(len(window.ids) for window in sample)
    once, each = np.sum(times[1:], axis=0) / tokens  # the first batch came twice: it warmed up
    return Rate(float(once), float(each)), activations


def _now(teacher: Teacher) -> float:
    """Seconds, when the device has done what it was given."""
    if teacher.device.type != "cpu":
        torch.accelerator.synchronize(teacher.device)
    return time.perf_counter()


def _kept_bytes(teacher: Teacher, tail: Tail, states: TeacherStates) -> int:
    """What autograd keeps of the trained layers' pass, weights left out."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in tail.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with teacher.mixed(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = tail(states.entering, states.mask, states.layout.positions)
    del held  # until here, so that no storage was given to another tensor
    return sum(kept.values())
