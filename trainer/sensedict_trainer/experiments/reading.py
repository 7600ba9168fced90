"""An experiment's TOML file, read: its conditions, and the points of the axes that they lie on."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from sensedict.errors import InvalidInput, reason
from sensedict_trainer.experiments.spec import BASE, Condition, Experiment, Paper, States, Stored

_STATES: tuple[States, ...] = ("exact", "senses", "logits")
_KINDS = ("training", "dictionary", "recipes")
_MODELS = ("student", "teacher", "untrained")


def experiment_names() -> list[str]:
    """The experiments that come with the package."""
    return sorted(
        (entry.name.removesuffix(".toml") for entry in _tables().iterdir() if entry.name.endswith(".toml")),
        key=lambda name: (name.rstrip("0123456789"), int(name[len(name.rstrip("0123456789")) :] or 0)),
    )


def load_experiment(name_or_file: str) -> Experiment:
    """An experiment that comes with the package, or a TOML file.

    Raises:
        InvalidInput: no such experiment, a broken file, or a field that is unknown, missing or of another type.
    """
    inside = _tables().joinpath(f"{name_or_file}.toml")
    try:
        text = inside.read_text("utf-8") if inside.is_file() else Path(name_or_file).read_text("utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        near = difflib.get_close_matches(name_or_file, experiment_names(), 1)
        raise InvalidInput(
            f"no experiment {name_or_file!r}"
            + (f", is {near[0]!r} meant?" if near else ".")
            + f" Give a TOML file, or one of {', '.join(experiment_names())}"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the experiment {name_or_file} cannot be read: {reason(error)}") from error
    return _experiment(Path(name_or_file).stem, _Table(values, f"the experiment {name_or_file}"))


def _tables() -> Any:
    return files(__package__).joinpath("tables")


class _Table:
    """A TOML table whose fields are taken one by one, each of its type; what is left over is unknown."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise InvalidInput(f"{where} is {values!r} and must be a table")
        self._values, self.where, self._known = dict(values), where, list[str]()

    def take(self, name: str, default: Any) -> Any:
        """The field, of the default's type; a type in place of a default says that it must be there."""
        self._known.append(name)
        needed = isinstance(default, type)
        if name not in self._values:
            if needed:
                raise InvalidInput(f"{self.where} has no {name!r}")
            return default
        kind, value = default if needed else type(default), self._values.pop(name)
        if type(value) is not kind:
            raise InvalidInput(f"{self.where} has {name} = {value!r}, which is no {kind.__name__}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self.take(name, [])
        if not all(isinstance(value, str) for value in values):
            raise InvalidInput(f"{self.where} has {name} = {values!r}, which is no list of texts")
        return tuple(values)

    def tables(self, name: str) -> list[_Table]:
        """A list of tables."""
        return [_Table(value, f"{self.where}, {name} {n}") for n, value in enumerate(self.take(name, []), start=1)]

    def one_of(self, name: str, choices: Collection[str], default: str) -> str:
        """A text out of some."""
        value: str = self.take(name, default)
        if value not in choices:
            raise InvalidInput(f"{self.where} has {name} = {value!r}: it is one of {', '.join(choices)}")
        return value

    def end(self) -> None:
        """Refuse what was not taken."""
        for name in self._values:
            near = difflib.get_close_matches(name, self._known, 1)
            meant = f", is {near[0]!r} meant?" if near else ";"
            raise InvalidInput(f"{self.where} has an unknown field {name!r}{meant} known: {', '.join(self._known)}")


def _experiment(name: str, table: _Table) -> Experiment:
    plain = [_condition(entry) for entry in table.tables("conditions")]
    axes = [_Axis.read(entry, plain) for entry in table.tables("axes")]
    cross = table.take("cross", False)
    paper = _Table(table.take("paper", {}), f"{table.where}, paper")
    found = Experiment(
        name=name,
        title=table.take("title", str),
        source=table.take("source", ""),
        about=table.take("about", ""),
        kind=table.one_of("kind", _KINDS, "training"),
        conditions=tuple(_crossed(plain, axes) if cross else _beside(plain, axes)),
        cross=cross,
        seeds=table.take("seeds", 3),
        tasks=table.texts("tasks"),
        shots=table.take("shots", 0),
        measures=table.texts("measures") or ("ce", "kl"),
        primary=table.texts("primary"),
        pooled=table.texts("pooled"),
        against=table.texts("against"),
        build=table.take("build", {}),
        paper=_paper(paper),
        notes=table.texts("notes"),
    )
    table.end()
    _check(found, table.where)
    return found


def _check(experiment: Experiment, where: str) -> None:
    names = [condition.name for condition in experiment.conditions]
    bases = {condition.base for condition in experiment.conditions}
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InvalidInput(f"{where} has the condition {min(twice)!r} twice")
    if experiment.kind == "training" and not names:
        raise InvalidInput(f"{where} has no conditions")
    if experiment.seeds < 1 or experiment.shots < 0:
        raise InvalidInput(
            f"{where} has seeds = {experiment.seeds} and shots = {experiment.shots}: one seed or more, no shots or more"
        )
    for name in experiment.against:
        if name not in {*bases, *names}:
            raise InvalidInput(f"{where} compares with {name!r}, which is no condition")
    for condition in experiment.conditions:
        for setting in ("window", "seed"):
            if setting in {**condition.settings, **condition.point}:
                raise InvalidInput(f"{where}, {condition.name}: {setting} is the same for all conditions: use --set")
    if experiment.kind == "training":
        for name in experiment.paper.rows:
            if name not in names:
                raise InvalidInput(f"{where} has numbers of the paper for {name!r}, which is no condition")


def _condition(table: _Table) -> Condition:
    name = table.take("name", str)
    stored = table.take("states", {})
    found = Condition(
        name=name,
        base=name,
        label=table.take("label", name),
        settings=table.take("set", {}),
        variant=table.take("variant", BASE),
        stored=_stored(_Table(stored, f"{table.where}, states")) if stored else None,
        model=table.one_of("model", _MODELS, "student"),
    )
    table.end()
    return found


def _stored(table: _Table) -> Stored:
    kind = table.one_of("kind", _STATES, "exact")
    found = Stored(next(known for known in _STATES if known == kind), table.take("count", 0))
    table.end()
    return found


@dataclass(frozen=True)
class _Axis:
    """Some conditions, each at several points.

    Attributes:
        points: name of a place, settings there, and the dictionary's variant where it is another.
    """

    name: str
    conditions: tuple[str, ...]
    points: tuple[tuple[str, Mapping[str, Any], str], ...]

    @classmethod
    def read(cls, table: _Table, conditions: Sequence[Condition]) -> _Axis:
        """`settings` that take the same one of `values`; or `variants`; or `points` with name, set and variant."""
        name = table.take("name", str)
        wanted = table.texts("conditions") or tuple(c.name for c in conditions if c.model == "student")
        settings, values = table.texts("settings"), table.take("values", [])
        points = [(str(value), dict.fromkeys(settings, value), "") for value in values]
        points += [(variant, {}, variant) for variant in table.texts("variants")]
        for entry in table.tables("points"):
            points.append((entry.take("name", str), entry.take("set", {}), entry.take("variant", "")))
            entry.end()
        table.end()
        if not points or (values and not settings):
            raise InvalidInput(f"{table.where} has no points: give settings with values, variants, or points")
        for known in wanted:
            if known not in {condition.name for condition in conditions}:
                raise InvalidInput(f"{table.where} names {known!r}, which is no condition")
        return cls(name, wanted, tuple(points))

    def at(self, condition: Condition, point: tuple[str, Mapping[str, Any], str]) -> Condition:
        """The condition at one of its points."""
        place, settings, variant = point
        # k=5 says what it is; 0.5 does not
        place = place if "=" in place or not _is_number(place) else f"{self.name}={place}"
        return replace(
            condition,
            name=f"{condition.name} {place}",
            label=f"{condition.label}, {place}",
            point={**condition.point, **settings},
            variant=variant or condition.variant,
            axis=f"{condition.axis} × {self.name}" if condition.axis else self.name,
            place=f"{condition.place}, {place}" if condition.place else place,
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _beside(conditions: Sequence[Condition], axes: Sequence[_Axis]) -> list[Condition]:
    """Conditions that lie on no axis, then each axis's."""
    on_some = {name for axis in axes for name in axis.conditions}
    found = [condition for condition in conditions if condition.name not in on_some]
    for axis in axes:
        own = [condition for condition in conditions if condition.name in axis.conditions]
        found += [axis.at(condition, point) for point in axis.points for condition in own]
    return found


def _crossed(conditions: Sequence[Condition], axes: Sequence[_Axis]) -> list[Condition]:
    """Each condition at every combination of the points of the axes that it lies on."""
    found = []
    for condition in conditions:
        own = [axis for axis in axes if condition.name in axis.conditions]
        for points in product(*(axis.points for axis in own)):
            placed = condition
            for axis, point in zip(own, points, strict=True):
                placed = axis.at(placed, point)
            found.append(placed)
    return found


def _paper(table: _Table) -> Paper:
    columns, rows = table.texts("columns"), table.take("rows", {})
    table.end()
    for name, row in rows.items():
        if not isinstance(row, list) or len(row) != len(columns):
            raise InvalidInput(f"{table.where} has {name} = {row!r}, and there are {len(columns)} columns")
    return Paper(columns, {name: tuple(row) for name, row in rows.items()})
