"""The order of a run's text, and its learning rate; both functions of the recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.text import TokenWindow


def batches(recipe: Recipe, windows: Sequence[TokenWindow]) -> Iterator[list[TokenWindow]]:
    """Windows in an order of each epoch's own, a function of the seed."""
    for epoch in range(recipe.epochs):
        order = np.argsort(mix(sequence_key(recipe.seed, str(epoch), "order"), np.arange(len(windows))), kind="stable")
        for start in range(0, len(order), recipe.batch_size):
            yield [windows[i] for i in order[start : start + recipe.batch_size]]


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Of step 0 .. steps − 1: a linear warm-up, then half a cosine down to 0."""
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
