"""The plans that the server's configuration names: the only builds that can be started over HTTP."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sensedict.errors import ConfigurationError, InvalidInput, reason
from sensedict_server.build.check import check_name
from sensedict_server.build.places import (
    is_of_one_process,
    is_whole_source,
    is_whole_store,
    is_whole_teacher,
    store_place,
)
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.settings_check import USED_WITH, check_settings

_DATE = "{date}"
_STORE = "store"


@dataclass(frozen=True)
class NamedPlan:
    """A build that the configuration describes.

    Attributes:
        settings: of the build; `{date}` in its version stands for the day on which it is started.
        store: folder or URL of its shards, which every worker reaches.
        threads: that the configuration names; None leaves them to whoever starts the plan first.
    """

    name: str
    settings: BuildSettings
    store: str
    threads: int | None = None

    def at(self, moment: datetime) -> BuildSettings:
        """The settings of the build that is started then; the day is UTC's."""
        day = f"{moment.astimezone(UTC):%Y%m%d}"
        return replace(self.settings, version=self.settings.version.replace(_DATE, day))


def read_plans(path: Path | None) -> dict[str, NamedPlan]:
    """The plans of a TOML file, a table each, by name; none where no file is configured.

    The keys of a table are the fields of `BuildSettings`, and `store`.

    Raises:
        ConfigurationError: naming every fault of the file at once.
    """
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # ValueError: no TOML, no UTF-8
        raise ConfigurationError(f"the plans of SENSEDICT_PLANS cannot be read: {path}: {reason(error)}") from error
    faults: list[str] = []
    plans = {name: _plan(name, table, faults) for name, table in tables.items()}
    if faults:
        raise ConfigurationError(f"the plans of SENSEDICT_PLANS, {path}, cannot be used: " + "; ".join(faults))
    return {name: plan for name, plan in plans.items() if plan is not None}


def _plan(name: str, table: object, faults: list[str]) -> NamedPlan | None:
    if not isinstance(table, Mapping):
        faults.append(f"{name} stands outside of a plan: write it below a line [NAME]")
        return None
    found: list[str] = list(_faults(table))
    try:
        check_name("plan", name)
        if not found:
            found += _misplaced(table)
        if not found:
            values = {key: value for key, value in _values(table).items() if key != _STORE}
            plan = NamedPlan(name, BuildSettings(**values), store_place(table[_STORE]), values.get("threads"))
            check_settings(plan.at(datetime.now(UTC)))
            return plan
    except InvalidInput as error:
        found.append(error.detail)
    faults += [f"[{name}] {fault}" for fault in found]
    return None


def _faults(table: Mapping[str, Any]) -> Iterator[str]:
    kinds = _kinds()
    for key, value in table.items():
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, 1)
            yield f"{key} is no option of a build" + (f": write {near[0]}" if near else "")
            continue
        try:
            _value(kinds[key], value)
        except ValidationError as error:
            yield f"{key} is {value!r}: {error.errors()[0]['msg']}"
    for key in _required():
        if key not in table:
            yield f"{key} is missing"
    for key, (setting, value) in USED_WITH.items():
        if key in table and table.get(setting) != value:
            yield f'{key} does nothing without {setting} = "{value}": add that, or leave it out'


def _misplaced(table: Mapping[str, Any]) -> Iterator[str]:
    """Places that mean others in another folder, or process: the service and its workers do not run in one."""
    texts = [(key, place) for key in ("corpus", "training_text") for place in table.get(key, ())]
    for key, place, is_whole in (
        (_STORE, table[_STORE], is_whole_store),
        ("teacher", table["teacher"], is_whole_teacher),
        *((key, place, is_whole_source) for key, place in texts),
    ):
        if not is_whole(place):
            yield f"{key} is {place!r}, in whatever folder a worker runs: write the whole path"
    if is_of_one_process(table[_STORE]):
        yield f"{_STORE} is {table[_STORE]!r}, which no two processes share: name a folder, or a URL of another kind"


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    kinds = _kinds()
    return {key: _value(kinds[key], value) for key, value in table.items()}


def _value(kind: Any, value: object) -> Any:
    """The value as the build takes it: lists are tuples there; by JSON, which is strict about all else."""
    return TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)


def _kinds() -> dict[str, Any]:
    known = {"KeyPolicy": Literal["next", "predicted", "input"]}  # the trainer's, which is not imported here
    return {**get_type_hints(BuildSettings, localns=known), _STORE: str}


def _required() -> list[str]:
    needed = [field for field in fields(BuildSettings) if field.default is MISSING and field.default_factory is MISSING]
    return [*(field.name for field in needed), _STORE]
