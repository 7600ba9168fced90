"""What a run would cost, known before it: parameters, FLOPs, memory, time, and what it asks a dictionary for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from sensedict_trainer.distil.activations import width_of
from sensedict_trainer.distil.cost import Flops, Parameters, count_flops, count_parameters
from sensedict_trainer.distil.draws import expand
from sensedict_trainer.distil.layers import choose_layers, shared_layers
from sensedict_trainer.distil.measuring import Rate, measure
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.schedule import batches
from sensedict_trainer.distil.teacher_states import known_states
from sensedict_trainer.teacher import Teacher, logit_rows
from sensedict_trainer.text import TokenWindow

if TYPE_CHECKING:
    from sensedict.source import SenseSource
    from sensedict_trainer.distil.loop import TrainOptions

_REMEMBERED = 4 * 2**30  # bytes of frozen states that a trunk keeps in memory
_ASKED = 1024  # tokens whose candidates are asked for at once


@dataclass(frozen=True)
class Memory:
    """Bytes on the device, but for `states`, which are in main memory, and `disk`.

    Attributes:
        weights: teacher and student; optimizer: gradients and both moments, float32.
        activations: kept for the backward pass of the longest micro-batch, measured; 0 where nothing was run.
        senses: the table of sense vectors; logits: of both heads, a chunk of positions.
        states: frozen states that are remembered; disk: of the cache that has them in their place.
    """

    weights: int
    optimizer: int
    activations: int
    senses: int
    logits: int
    states: int
    disk: int

    @property
    def device(self) -> int:
        """All but states and disk."""
        return self.weights + self.optimizer + self.activations + self.senses + self.logits


@dataclass(frozen=True)
class Reads:
    """What is asked of a dictionary: candidates of so many tokens, and at most so many senses of so many bytes."""

    tokens: int
    senses: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """A run before it is run.

    Attributes:
        kept: the teacher's layers that the student has; shared: of them, those that are run as the teacher's.
        windows, tokens: of the text, an epoch; steps: of all epochs.
        remembered: share of the text whose frozen states are; the rest are computed anew in each epoch.
        reads: None for an objective without a dictionary.
    """

    recipe: Recipe
    kept: tuple[int, ...]
    shared: int
    parameters: Parameters
    flops: Flops
    memory: Memory
    windows: int
    tokens: int
    steps: int
    remembered: float
    rate: Rate
    reads: Reads | None

    def total(self, frozen: float, step: float) -> float:
        """Of the whole run, what costs so much a token once and so much in each epoch."""
        passes = 1 + (self.recipe.epochs - 1) * (1 - self.remembered)
        return self.tokens * (passes * frozen + self.recipe.epochs * step)

    def lines(self) -> Iterator[str]:
        """The plan as a reader has it."""
        return (f"{name:<26}{value}" for name, value in self._rows())

    def _rows(self) -> Iterator[tuple[str, str]]:
        flops, memory, parameters, recipe = self.flops, self.memory, self.parameters, self.recipe
        yield "layers kept", f"{', '.join(map(str, self.kept))}; the last {recipe.trainable} are trained"
        yield "parameters, teacher", f"{parameters.teacher:,}"
        yield "parameters, student", f"{parameters.student:,}, of them {parameters.trained:,} trained"
        yield "text", f"{self.tokens:,} tokens in {self.windows:,} windows, read {recipe.epochs} times"
        rows = "rows of windows" if recipe.pack else "windows"
        yield "steps", f"{self.steps:,}, each of {recipe.batch_size} {rows}"
        yield (
            "FLOPs a token, once",
            (
                f"teacher {_short(flops.teacher)}, of it shared {_short(flops.trunk)}; the student's own frozen layers "
                f"{_short(flops.own_trunk)}"
            ),
        )
        yield (
            "FLOPs a token, each epoch",
            (
                f"trained layers {_short(flops.forward)} forward, {_short(flops.backward)} backward; heads "
                f"{_short(flops.teacher_head)} teacher, {_short(flops.head)} student"
            ),
        )
        yield "FLOPs of the run", _short(self.total(flops.frozen, flops.step))
        yield (
            "memory of the device",
            f"{_size(memory.device)}: weights {_size(memory.weights)}, gradients and optimizer "
            f"{_size(memory.optimizer)}, activations {_size(memory.activations)}, sense cache "
            f"{_size(memory.senses)}, logits {_size(memory.logits)}",
        )
        if memory.disk:
            yield "disk", f"{_size(memory.disk)} of frozen states, made where they are missing"
        else:
            yield "main memory", f"{_size(memory.states)} of remembered states, {self.remembered:.0%} of the text's"
        whole = tqdm.format_interval(self.total(self.rate.frozen, self.rate.step))
        yield (
            "time",
            f"{whole} at the rate of a few windows here: {self.rate.frozen * 1e3:.3g} ms a token once, "
            f"{self.rate.step * 1e3:.3g} ms in each epoch",
        )
        yield (
            "read of the dictionary",
            (
                "nothing"
                if self.reads is None
                else f"candidates of {self.reads.tokens:,} tokens; at most {self.reads.senses:,} senses, "
                f"{_size(self.reads.bytes)}"
            ),
        )


def make_plan(
    recipe: Recipe,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    source: SenseSource | None,
    options: TrainOptions,
) -> Plan:
    """Count what can be counted, and run a few micro-batches for what must be measured; nothing is written.

    Args:
        source: the dictionary, which is asked for the candidates of the text's tokens; None for an objective without.

    Raises:
        ConfigurationError: a student that cannot be cut, or teacher states that cannot be used.
    """
    layers = recipe.student_layers(teacher.layers)
    kept = choose_layers(recipe.choice, layers, teacher, windows, options.micro_batch)
    shared = min(shared_layers(kept), len(kept) - recipe.trainable)
    tokens = sum(len(window.ids) for window in windows)
    parameters = count_parameters(teacher, kept, recipe.trainable)
    known = known_states(recipe, teacher, windows, options.teacher_states)
    parts = tokens * (2 if known is None else 1)
    of_states = parts * teacher.dim * teacher.dtype.itemsize
    on_disk = options.activations is not None
    remembered = 1.0 if on_disk else min(1.0, _REMEMBERED / of_states)
    flops = count_flops(recipe, teacher, kept, [len(window.ids) for window in windows])
    size = options.micro_batch or recipe.batch_size
    longest = recipe.row or max(len(window.ids) for window in windows)
    rate, activations = measure(recipe, teacher, kept, windows, size, known)
    senses = 0
    if source is not None and recipe.uses_senses:
        senses = min(options.cache_bytes, 2 * source.identity.dim * source.identity.senses)
    frozen_weights = parameters.teacher + parameters.student - parameters.trained
    return Plan(
        recipe=recipe,
        kept=kept,
        shared=shared,
        parameters=parameters,
        flops=flops if known is None else replace(flops, teacher=flops.trunk),
        memory=Memory(
            weights=frozen_weights * teacher.dtype.itemsize + 4 * parameters.trained,
            optimizer=3 * 4 * parameters.trained,
            activations=activations,
            senses=senses,
            logits=2
            * min(logit_rows(teacher.vocabulary_size), size * longest)
            * teacher.vocabulary_size
            * teacher.dtype.itemsize,
            states=0 if on_disk else int(remembered * of_states),
            disk=parts * width_of(teacher.dim) if on_disk else 0,
        ),
        windows=len(windows),
        tokens=tokens,
        steps=sum(1 for _ in batches(recipe, windows)),
        remembered=remembered,
        rate=rate,
        reads=_reads(recipe, windows, source),
    )


def _reads(recipe: Recipe, windows: Sequence[TokenWindow], source: SenseSource | None) -> Reads | None:
    if source is None or not recipe.uses_dictionary:
        return None
    tokens = np.unique(np.concatenate([window.ids[1:] for window in windows])).astype(np.uint32)
    if not recipe.uses_senses:
        return Reads(len(tokens), 0, 0)
    wanted = np.zeros(source.identity.senses, dtype=np.bool_)
    for start in range(0, len(tokens), _ASKED):
        found = source.candidate_sets(tokens[start : start + _ASKED])
        for first, count in (
            (found.own_first, found.own_count),
            (found.synonyms.first, found.synonyms.count),
            (found.antonyms.first, found.antonyms.count),
        ):
            wanted[expand(first, count)] = True
    senses = int(wanted.sum())
    return Reads(len(tokens), senses, senses * 2 * source.identity.dim)


def _short(number: float) -> str:
    """A large number in a few letters: 5.3 T."""
    for unit, scale in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.3g}"


def _size(count: int) -> str:
    return "0" if count == 0 else f"{_short(count)}B"
