"""A table's cells: a condition and a seed, with the recipe that is trained; and what decides each one's numbers."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensedict.errors import InvalidInput, reason
from sensedict_trainer.distil.activations import FORMAT
from sensedict_trainer.distil.layers import choose_layers
from sensedict_trainer.distil.loop import run_identity
from sensedict_trainer.distil.recipe import Recipe, load_recipe
from sensedict_trainer.experiments.spec import Condition, Experiment
from sensedict_trainer.text import text_hash
from sensedict_trainer.work import flatten

if TYPE_CHECKING:
    from sensedict_trainer.experiments.material import Material

_COMMON = ("window", "seed", "objective")  # what is compared at equal windows and seeds, and what a condition is
_CODE = 1  # of this engine: another number where cells of before are no longer good
Tuned = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A model to be made and scored.

    Attributes:
        seed: of the run; None for a model that is not trained.
    """

    condition: Condition
    seed: int | None
    recipe: Recipe

    @property
    def name(self) -> str:
        """As a progress bar has it."""
        return self.condition.name if self.seed is None else f"{self.condition.name}, seed {self.seed}"


def cells_of(
    experiment: Experiment, recipe: str, seeds: Sequence[int], settings: Sequence[str] = (), tuned: Tuned | None = None
) -> list[Cell]:
    """The cells of an experiment, seed by seed, so that a table can be read before all of it is there.

    A setting is the recipe's; before it goes one of `settings`, before that the condition's, before that a tuned one of
    the condition's base, and before all the point of an axis.

    Raises:
        InvalidInput: a setting that no recipe has; the condition is named.
    """
    tuned = tuned or {}
    found = []
    for seed in (None, *seeds):
        for condition in experiment.conditions:
            if (condition.model == "student") != (seed is not None):
                continue
            own = {**condition.settings, **tuned.get(condition.base, {}), **condition.point}
            try:
                made = load_recipe(recipe, settings=[*settings, *map(_setting, own.items())], seed=seed)
            except InvalidInput as error:
                raise InvalidInput(f"{experiment.name}, {condition.name}: {error.detail}") from error
            found.append(Cell(condition, seed, made))
    return found


def read_tuned(path: Path | None) -> dict[str, dict[str, Any]]:
    """Settings by condition, as `sensedict grid` writes them: a TOML table for each.

    Raises:
        InvalidInput: the file cannot be read, or is not that; it has a setting that is not a condition's to choose.
    """
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {path}: {reason(error)}") from error
    for name, table in values.items():
        if not isinstance(table, dict):
            raise InvalidInput(f"{path} has {name} = {table!r}: a table of settings for each condition is wanted")
    tuned = {name: flatten(table) for name, table in values.items()}
    for name, settings in tuned.items():
        if fixed := [setting for setting in _COMMON if setting in settings]:
            raise InvalidInput(f"{path} has {fixed[0]} for {name}: that is not tuned; use --set, or another condition")
    return tuned


def identity_of(cell: Cell, material: Material) -> dict[str, Any]:
    """What decides a cell's numbers, as JSON."""
    teacher = material.teacher
    made: dict[str, Any] = {"model": cell.condition.model}
    if cell.condition.model == "teacher":
        made |= {"teacher": teacher.fingerprint, "dtype": teacher.dtype_name, "code": version("sensedict")}
    else:
        kept = layers_of(cell, material)
        source = material.source(cell.condition.variant) if cell.recipe.uses_dictionary else None
        made |= run_identity(cell.recipe, teacher, material.training, source, kept)
        made |= {"activations": FORMAT} if material.options.activations is not None else {}
    if cell.condition.model == "untrained":
        made = {name: made[name] for name in ("model", "layers", "teacher", "dtype", "code")}
    if cell.condition.stored is not None:
        stored = cell.condition.stored
        made["states"] = {"kind": stored.kind, "count": stored.count}
        if stored.kind == "senses":
            made["states"]["dictionary"] = material.source(cell.condition.variant).identity.content_hash
    scored = {"text": text_hash(material.held_out), "tasks": material.described_tasks}
    return {"engine": _CODE, "made": made, "scored": scored}


def layers_of(cell: Cell, material: Material) -> tuple[int, ...]:
    """The teacher's layers that a cell's student keeps.

    Raises:
        InvalidInput: fewer than are to be trained.
    """
    recipe, teacher = cell.recipe, material.teacher
    layers = recipe.student_layers(teacher.layers)
    if layers < recipe.trainable:
        raise InvalidInput(
            f"{cell.condition.name}: {recipe.trainable} layers are to be trained, and at layers = {recipe.layers:g} a "
            f"student of this teacher has {layers} of {teacher.layers}"
        )
    wanted = (recipe.choice, layers)
    if wanted not in material.kept:  # what `influence` keeps is measured
        material.kept[wanted] = choose_layers(
            recipe.choice, layers, teacher, material.training, material.options.micro_batch
        )
    return material.kept[wanted]


def key_of(identity: Mapping[str, Any]) -> str:
    """A name for what decides something, in a few letters."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _setting(item: tuple[str, Any]) -> str:
    """A setting as `--set` has it."""
    name, value = item
    return f"{name}={json.dumps(value)}"  # TOML reads JSON's numbers, texts and truth values
