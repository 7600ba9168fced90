"""What a model costs: parameters, memory, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sensedict_trainer.distil.cost import count_parameters

if TYPE_CHECKING:
    from sensedict_trainer.distil.recipe import Recipe
    from sensedict_trainer.teacher import Teacher

# What a table calls them. `evaluation_seconds/DATA_SET` beside these, for each data set of tasks.
NAMES = {
    "layers": "layers",
    "parameters": "parameters",
    "trained_parameters": "trained parameters",
    "weights_bytes": "weights",
    "peak_bytes": "most memory of the device in training",
    "trained_tokens": "trained tokens",
    "frozen_seconds": "frozen pass",
    "training_seconds": "training",
    "text_seconds": "evaluation, held-out text",
    "state_bytes": "bytes a position kept of the teacher",
}


def sizes(teacher: Teacher, recipe: Recipe, kept: Sequence[int]) -> dict[str, float]:
    """Layers, parameters and bytes of weights of a student, or of the teacher where all its layers are kept."""
    whole = len(kept) == teacher.layers
    found = count_parameters(teacher, kept, min(recipe.trainable, len(kept)))
    parameters = found.teacher if whole else found.student
    return {
        "layers": len(kept),
        "parameters": parameters,
        "trained_parameters": 0 if whole else found.trained,
        "weights_bytes": parameters * teacher.dtype.itemsize,
    }


def reset_peak(device: torch.device) -> None:
    """Begin to watch a device's memory; a CPU's is not watched: a process that trained there keeps what it freed."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> dict[str, float]:
    """The most memory that was held on the device since."""
    return {"peak_bytes": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {}
