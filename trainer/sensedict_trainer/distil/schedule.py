"""The order of a run's text, and its learning rate; both functions of the recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sensedict_trainer.distil.packing import fill_rows, flat
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.text import TokenWindow

_POOL = 16  # batches among which windows of like length are put together


def batches(recipe: Recipe, windows: Sequence[TokenWindow]) -> Iterator[list[TokenWindow]]:
    """Windows in an order of each epoch's own, a function of the seed; those of a batch are of like length.

    Windows are shuffled, and of each 16 batches' worth those of like length make a batch, so that little of it is
    padding; then the batches are shuffled. Within a batch the longest come first. Where windows share rows, a batch has
    as many rows, filled with windows of any length.
    """
    if recipe.row is not None:
        yield from _packed(recipe, windows, recipe.row)
        return
    lengths = np.array([len(window.ids) for window in windows])
    for epoch in range(recipe.epochs):
        order = _shuffled(np.arange(len(windows)), recipe.seed, epoch, "order")
        pool = _POOL * recipe.batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        alike = np.concatenate([some[np.argsort(-lengths[some], kind="stable")] for some in pools])
        starts = _shuffled(np.arange(0, len(alike), recipe.batch_size), recipe.seed, epoch, "batches")
        for start in starts.tolist():
            yield [windows[i] for i in alike[start : start + recipe.batch_size]]


def _packed(recipe: Recipe, windows: Sequence[TokenWindow], row: int) -> Iterator[list[TokenWindow]]:
    for epoch in range(recipe.epochs):
        order = _shuffled(np.arange(len(windows)), recipe.seed, epoch, "order")
        rows = fill_rows([windows[i] for i in order.tolist()], row)
        starts = _shuffled(np.arange(0, len(rows), recipe.batch_size), recipe.seed, epoch, "batches")
        for start in starts.tolist():
            yield flat(rows[start : start + recipe.batch_size])


def _shuffled(numbers: NDArray[np.int64], seed: int, epoch: int, what: str) -> NDArray[np.int64]:
    key = sequence_key(seed, str(epoch), what)
    return numbers[np.argsort(mix(key, np.arange(len(numbers))), kind="stable")]


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Of step 0 .. steps − 1: a linear warm-up, then half a cosine down to 0."""
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
