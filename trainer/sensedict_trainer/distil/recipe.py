"""A recipe: everything that decides a training run but its data and its dictionary."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from sensedict.errors import InvalidInput, reason
from sensedict_trainer.distil.draws import Sampling
from sensedict_trainer.distil.layers import CHOICES, Choice
from sensedict_trainer.distil.objective import NAMED, kinds, term_names
from sensedict_trainer.distil.terms.sense import SenseLoss
from sensedict_trainer.distil.terms.term import HeadTerm, StateTerm, Term

OBJECTIVES = tuple(NAMED)  # what a comparison trains
_HIGHEST_RATE = 0.1


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; the defaults are the paper's for Llama-3 (DSKD §4, METHOD §4).

    Attributes:
        objective: `kd`; `dskd`, KD and the sense loss; `kd+mse`, KD and d² to the teacher's own states at the positions
            where DSKD has its sense loss: the control without a dictionary. Or any sum of terms, `ce + rkl + sense`.
        terms: settings of terms that differ from their defaults, by name; a recipe may have some that its objective
            does not use.
        layers: share of the teacher's layers that the student has; choice: which ones, see `choose_layers`; trainable:
            of them, the last so many are trained.
        nearest: p, senses chosen of the positives and of the negatives.
        fraction, minimum, neighbours: see `draws.Sampling`.
        lr, weight_decay, warmup, clip: of AdamW with a cosine; warmup a share of the steps; clip the gradient's norm, 0
            for none.
        epochs: over the text; batch_size: windows a step; window: tokens a window.
        pack: short windows share rows of at most `window` tokens, see `packing`, and `batch_size` counts rows.
        loss_on: tokens that cross-entropy counts: `all`, or an assistant's `answers` in chats; the other terms count
            every position.
        seed: of draws and order.
    """

    objective: str = "dskd"
    terms: Mapping[str, Term] = field(default_factory=dict)
    layers: float = 0.5
    choice: Choice = "first"
    trainable: int = 2
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
    pack: bool = False
    loss_on: Literal["all", "answers"] = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        rules = self._rules()
        values = {name: getattr(self, name) for name, _, _ in rules}
        for name, term in self.terms.items():
            rules += [(f"{name}.{setting}", good, what) for setting, good, what in term.rules()]
            values |= {f"{name}.{setting.name}": getattr(term, setting.name) for setting in fields(term)}
        faults = [f"{name} {values[name]!r} is not {what}" for name, good, what in rules if not good]
        if faults:
            raise InvalidInput("the recipe cannot be used: " + "; ".join(faults))
        term_names(self.objective)

    def _rules(self) -> list[tuple[str, bool, str]]:
        least = ("trainable", "nearest", "neighbours", "epochs", "batch_size")
        weights = ("clip", "minimum")
        return [
            ("layers", 0 < self.layers <= 1, "a share of the teacher's layers, above 0 and at most 1"),
            ("choice", self.choice in CHOICES, f"one of {', '.join(CHOICES)}"),
            ("lr", self.lr > 0, "above 0"),
            ("fraction", 0 <= self.fraction <= 1, "from 0 to 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("window", self.window >= 8, "at least 8"),
            ("loss_on", self.loss_on in ("all", "answers"), "all or answers"),
            *[(name, getattr(self, name) >= 1, "at least 1") for name in least],
            *[(name, getattr(self, name) >= 0, "0 or more") for name in weights],
        ]

    @property
    def active(self) -> dict[str, Term]:
        """The terms of the objective, with their settings."""
        return {name: self.terms.get(name) or kinds()[name]() for name in term_names(self.objective)}

    @property
    def sampling(self) -> Sampling:
        """How positions and neighbours are drawn."""
        return Sampling(self.fraction, self.minimum, self.neighbours, self.seed)

    @property
    def row(self) -> int | None:
        """Tokens of a row that windows share; None for a row each."""
        return self.window if self.pack else None

    @property
    def uses_dictionary(self) -> bool:
        """Whether a dictionary says where some term applies, or gives it senses; KD alone needs none."""
        return any(isinstance(term, StateTerm) and not term.everywhere for term in self.active.values())

    @property
    def uses_senses(self) -> bool:
        """Whether some term compares with senses."""
        return any(isinstance(term, StateTerm) and term.needs_senses for term in self.active.values())

    @property
    def reads_teacher(self) -> bool:
        """Whether some term compares with the teacher; CE alone does not."""
        return any(not isinstance(term, HeadTerm) or term.needs_teacher for term in self.active.values())

    @property
    def needs_units(self) -> bool:
        """Whether distances of the dictionary must be measured before the first step."""
        return any(isinstance(term, SenseLoss) and term.needs_units for term in self.active.values())

    def student_layers(self, teacher_layers: int) -> int:
        """Layers of the student: the share of the teacher's, rounded down, at least 1."""
        return max(1, int(self.layers * teacher_layers))

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values, with every setting of the terms that it uses."""
        plain = {setting.name: getattr(self, setting.name) for setting in fields(self) if setting.name != "terms"}
        if not self.pack:
            del plain["pack"]  # so that a run of an earlier version, which had no such setting, is the same run
        return {**plain, **{name: asdict(term) for name, term in self.active.items()}}


def load_recipe(
    name_or_file: str, decided: Collection[str] = (), settings: Sequence[str] = (), **changes: Any
) -> Recipe:
    """A recipe that comes with the package, or a TOML file; then with some changes.

    A file has the fields of `Recipe`, and a table for each term whose settings are not the default ones: `[sense]`.

    Args:
        decided: fields that are decided elsewhere and may not stand in the recipe.
        settings: further settings as `lr=1e-4` or `sense.margin=0.5`, which go before the file's.
        changes: fields to change; None changes nothing.

    Raises:
        InvalidInput: no such recipe, a broken file, an unknown field, a value of another type, or one out of all
            proportion.
    """
    inside = files("sensedict_trainer.distil").joinpath("recipes", f"{name_or_file}.toml")
    try:
        text = inside.read_text("utf-8") if inside.is_file() else Path(name_or_file).read_text("utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        near = difflib.get_close_matches(name_or_file, recipe_names(), 1)
        meant = f", is {near[0]!r} meant?" if near else ":"
        raise InvalidInput(
            f"no recipe {name_or_file!r}{meant} give a TOML file, or one of {', '.join(recipe_names())}"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the recipe {name_or_file} cannot be read: {reason(error)}") from error
    put = {_put(values, setting): setting for setting in settings}

    def where(name: str) -> str:
        return f"the setting {put[name]}" if name in put else f"the recipe {name_or_file}"

    for key in values:
        if key in decided:
            raise InvalidInput(f"{where(key)} has {key} = {values[key]!r}, which is decided by the command here")
    tables = {name: values.pop(name) for name in kinds() if name in values}
    terms = {name: kinds()[name](**_checked(table, kinds()[name], where, name)) for name, table in tables.items()}
    plain = _checked(values, Recipe, where)
    recipe = replace(Recipe(**plain, terms=terms), **{k: value for k, value in changes.items() if value is not None})
    if recipe.lr > _HIGHEST_RATE:
        raise InvalidInput(
            f"{where('lr')} has lr = {recipe.lr:g}: AdamW moves each weight by about as much at each step, so this is "
            f"taken for a slip; usual are {Recipe.lr:g} to 3e-3"
        )
    return recipe


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = files("sensedict_trainer.distil").joinpath("recipes")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _put(values: dict[str, Any], setting: str) -> str:
    """Set `name=value` or `term.name=value`, whose name it gives; the value is TOML's, or a bare word."""
    name, equals, text = (part.strip() for part in setting.partition("="))
    if not equals or not name:
        raise InvalidInput(f"the setting {setting!r} is not NAME=VALUE, as lr=1e-4 or sense.margin=0.5")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except ValueError:
        value = text
    table, dot, inner = name.partition(".")
    if not dot:
        values[name] = value
    elif isinstance(values.setdefault(table, {}), dict):
        values[table][inner] = value
    return name


def _checked(values: Any, kind: type[Any], where: Callable[[str], str], table: str = "") -> dict[str, Any]:
    """The values of a table, each of the type that the setting has; `where` says where a name was read."""
    if not isinstance(values, dict):
        raise InvalidInput(f"{where(table)} has {table} = {values!r}, and [{table}] is a table of settings")
    settings = {setting.name: setting for setting in fields(kind) if setting.name != "terms"}
    known = [*settings, *(f"[{name}]" for name in kinds())] if kind is Recipe else [*settings]
    checked = {}
    for key, value in values.items():
        name = f"{table}.{key}" if table else key
        if key not in settings:
            near = difflib.get_close_matches(key, [name.strip("[]") for name in known], 1)
            meant = f", is {near[0]!r} meant?" if near else ";"
            raise InvalidInput(f"{where(name)} has an unknown field {name!r}{meant} known: {', '.join(known)}")
        checked[key] = _of_type(value, settings[key], f"{where(name)} has {name}")
    return checked


def _of_type(value: Any, setting: Field[Any], where: str) -> Any:
    kind = type(setting.default)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InvalidInput(f"{where} = {value!r}, which is no {kind.__name__}")
    return value
