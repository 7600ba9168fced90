"""Which of the teacher's layers a student keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sensedict_trainer.distil.packing import passes
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow, pad_windows

Choice = Literal["first", "even", "influence"]
CHOICES = ("first", "even", "influence")
MEASURED = 32  # windows that influence is measured over
_BATCH = 4  # of them in a pass, unless fewer are asked for


def choose_layers(
    choice: Choice, layers: int, teacher: Teacher, windows: Sequence[TokenWindow], at_once: int | None = None
) -> tuple[int, ...]:
    """The numbers of the teacher's layers that a student keeps, rising.

    Args:
        choice: `first`, as the paper has it; `even`, from the first to the last at even distances; `influence`, those
            that change their input most, see `block_influence`.
        layers: of the student, at most the teacher's.
        windows: text, for `influence`; `MEASURED` of them are read, at most `at_once` in a pass.
    """
    if choice == "even":
        return even_layers(layers, teacher.layers)
    if choice == "influence":
        influence = block_influence(teacher, some_windows(windows), at_once)
        return tuple(sorted(np.argsort(-influence, kind="stable")[:layers].tolist()))
    return tuple(range(layers))


def even_layers(layers: int, of: int) -> tuple[int, ...]:
    """So many of some layers at even distances, the first and the last among them.

    >>> even_layers(6, 12)
    (0, 2, 4, 7, 9, 11)
    """
    return tuple(round(place) for place in np.linspace(0, of - 1, layers).tolist())


def shared_layers(kept: Sequence[int]) -> int:
    """How many of a student's layers, from its first, are the teacher's first ones: the trunk that they can share.

    >>> shared_layers([0, 1, 2, 5, 7])
    3
    """
    return next((place for place, layer in enumerate(kept) if layer != place), len(kept))


def some_windows(windows: Sequence[TokenWindow], most: int = MEASURED) -> list[TokenWindow]:
    """At most so many windows, at even distances in the text."""
    places = np.linspace(0, len(windows) - 1, min(most, len(windows)))
    return [windows[round(place)] for place in places.tolist()]


@torch.inference_mode()
def block_influence(
    teacher: Teacher, windows: Sequence[TokenWindow], at_once: int | None = None
) -> NDArray[np.float64]:
    """(L,) of each layer 1 − the mean cosine between what enters it and what leaves it, at all positions.

    ShortGPT (Men et al. 2024) removes the layers where it is least: they change their input least.
    """
    from sensedict_trainer.distil.student import decoder_layers

    sums = torch.zeros(teacher.layers, dtype=torch.float64)
    real: Tensor = torch.empty(0)

    def add(number: int) -> Any:
        def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            entering = args[0] if args else kwargs["hidden_states"]
            leaving = output[0] if isinstance(output, tuple) else output
            cosine = nn.functional.cosine_similarity(entering[real].float(), leaving[real].float(), dim=-1)
            sums[number] += cosine.double().sum().cpu()

        return look

    hooks = [
        layer.register_forward_hook(add(number), with_kwargs=True)
        for number, layer in enumerate(decoder_layers(teacher.model))
    ]
    try:
        for some in passes(windows, min(_BATCH, at_once or _BATCH)):
            ids, mask = pad_windows(some, teacher.device)
            real = mask.bool()
            teacher.hidden_states(ids, mask)
    finally:
        for hook in hooks:
            hook.remove()
    return (1 - sums / sum(len(window.ids) for window in windows)).numpy()
