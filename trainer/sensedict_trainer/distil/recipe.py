"""A recipe: everything that decides a training run but its data and its dictionary."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from sensedict.errors import InvalidInput
from sensedict_trainer.distil.draws import Sampling

Objective = Literal["kd", "dskd", "kd+mse"]
OBJECTIVES: tuple[Objective, ...] = ("kd", "dskd", "kd+mse")


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; the defaults are the paper's for Llama-3 (DSKD §4, METHOD §4).

    Attributes:
        objective: `kd`; `dskd`, KD and the sense loss; `kd+mse`, KD and d² to the teacher's own states at the positions
            where DSKD has its sense loss: the control without a dictionary.
        layers: share of the teacher's layers that the student has; trainable: of them, the last so many are trained.
        alpha, temperature: weight and temperature of the KL.
        lambda_positive, lambda_negative, margin: of the sense loss; margin in units of d².
        nearest: p, senses chosen of the positives and of the negatives.
        fraction, minimum, neighbours: see `draws.Sampling`.
        lr, weight_decay, warmup, clip: of AdamW with a cosine; warmup a share of the steps; clip the gradient's norm, 0
            for none.
        epochs: over the text; batch_size: windows a step; window: tokens a window.
        seed: of draws and order.
    """

    objective: Objective = "dskd"
    layers: float = 0.5
    trainable: int = 2
    alpha: float = 1.0
    temperature: float = 2.0
    lambda_positive: float = 1.0
    lambda_negative: float = 1.0
    margin: float = 1.0
    nearest: int = 5
    fraction: float = 0.4
    minimum: int = 25
    neighbours: int = 25
    lr: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    epochs: int = 2
    batch_size: int = 8
    window: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [f"{name} {getattr(self, name)!r} is not {what}" for name, good, what in self._rules() if not good]
        if faults:
            raise InvalidInput("the recipe cannot be used: " + "; ".join(faults))

    def _rules(self) -> list[tuple[str, bool, str]]:
        least = ("trainable", "nearest", "neighbours", "epochs", "batch_size")
        weights = ("alpha", "lambda_positive", "lambda_negative", "margin", "weight_decay", "clip", "minimum")
        return [
            ("objective", self.objective in OBJECTIVES, f"one of {', '.join(OBJECTIVES)}"),
            ("layers", 0 < self.layers <= 1, "a share of the teacher's layers, above 0 and at most 1"),
            ("temperature", self.temperature > 0, "above 0"),
            ("lr", self.lr > 0, "above 0"),
            ("fraction", 0 <= self.fraction <= 1, "from 0 to 1"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("window", self.window >= 8, "at least 8"),
            *[(name, getattr(self, name) >= 1, "at least 1") for name in least],
            *[(name, getattr(self, name) >= 0, "0 or more") for name in weights],
        ]

    @property
    def sampling(self) -> Sampling:
        """How positions and neighbours are drawn."""
        return Sampling(self.fraction, self.minimum, self.neighbours, self.seed)

    @property
    def uses_dictionary(self) -> bool:
        """Whether a dictionary says where the loss applies; KD alone needs none."""
        return self.objective != "kd"

    def student_layers(self, teacher_layers: int) -> int:
        """Layers of the student: the share of the teacher's, rounded down, at least 1."""
        return max(1, int(self.layers * teacher_layers))

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self)


def load_recipe(name_or_file: str, decided: Collection[str] = (), **changes: Any) -> Recipe:
    """A recipe that comes with the package, or a TOML file of the fields of `Recipe`; then with some changes.

    Args:
        decided: fields that are decided elsewhere and may not stand in the recipe.
        changes: fields to change; None changes nothing.

    Raises:
        InvalidInput: no such recipe, a broken file, an unknown field, or a value of another type.
    """
    inside = files("sensedict_trainer.distil").joinpath("recipes", f"{name_or_file}.toml")
    try:
        text = inside.read_text("utf-8") if inside.is_file() else Path(name_or_file).read_text("utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        raise InvalidInput(
            f"no recipe {name_or_file!r}: give a TOML file, or one of {', '.join(recipe_names())}"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the recipe {name_or_file} cannot be read: {error}") from error
    defaults = {field.name: field.default for field in fields(Recipe)}
    for key, value in values.items():
        if key not in defaults:
            raise InvalidInput(f"the recipe {name_or_file} has an unknown field {key!r}; known: {', '.join(defaults)}")
        if key in decided:
            raise InvalidInput(f"the recipe {name_or_file} has {key} = {value!r}, which is decided by the command here")
        kind = type(defaults[key])
        if kind is float and type(value) is int:
            values[key] = float(value)
        elif type(value) is not kind:
            raise InvalidInput(f"the recipe {name_or_file} has {key} = {value!r}, which is no {kind.__name__}")
    return replace(Recipe(**values), **{name: value for name, value in changes.items() if value is not None})


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = files("sensedict_trainer.distil").joinpath("recipes")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
