"""What a model costs: parameters, memory, time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
    "peak_bytes": "most memory in training",
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


@contextmanager
def watched(device: torch.device) -> Iterator[dict[str, float]]:
    """The most memory that is held while the block runs, in what it gives, once the block is left.

    Of a GPU what torch took of it; of a CPU the resident memory of the process, teacher and all, as Linux counts it.
    Nothing where no such count can be begun anew.
    """
    found: dict[str, float] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found["peak_bytes"] = torch.cuda.max_memory_allocated(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS: proc(5)
    except OSError:
        yield found
        return
    yield found
    lines = Path("/proc/self/status").read_text().splitlines()
    found["peak_bytes"] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
