"""The options that `sensedict experiment` and `sensedict grid` share, and the order that they make."""

from __future__ import annotations

import difflib
import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from sensedict_trainer.options import Command, add_options, dictionary_options, parse_seeds, setting_option
from sensedict_trainer.text_sources import KINDS

if TYPE_CHECKING:
    from sensedict_trainer.experiments.order import Order
    from sensedict_trainer.experiments.spec import Experiment

_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Given:
    """The shared options, as they were typed."""

    teacher: str | None
    text: tuple[str, ...]
    out: Path | None
    dictionary: str | None
    server: str
    snapshot: Path | None
    patience: float
    variants: tuple[str, ...]
    recipe: str
    settings: tuple[str, ...]
    train_tokens: int | None
    seeds: str | None
    data: Path | None
    tasks: tuple[str, ...]
    shots: int | None
    task_limit: int | None
    task_seed: int
    dtype: str
    device: str
    cache_mb: int
    micro_batch: int | None
    activations: Path | None
    jobs: int | None
    threads: int | None
    keep_students: bool
    dry_run: bool

    def order(self, experiment: Experiment, **more: Any) -> Order:
        """The order of an experiment.

        Args:
            more: further attributes of `Order`.

        Raises:
            InvalidInput: a source of text, or the name of a task or a measure, that there is not.
            UsageError: seeds or variants that cannot be read.
        """
        from sensedict_trainer.experiments.measures import check_measures
        from sensedict_trainer.experiments.order import Order
        from sensedict_trainer.tasks.registry import check_names
        from sensedict_trainer.text_sources import check_sources

        for name in ("teacher", "text", "out"):
            if not getattr(self, name):
                raise click.UsageError(f"Missing option '--{name}'.")
        check_sources(self.text)
        tasks = self.tasks or experiment.tasks
        check_names(tasks)
        check_measures(experiment)
        devices = tuple(device.strip() for device in self.device.split(","))
        same = {name: getattr(self, name) for name in _SAME}
        return Order(
            experiment=experiment,
            seeds=parse_seeds(self.seeds) if self.seeds is not None else tuple(range(experiment.seeds)),
            variants=known_variants(parse_variants(self.variants), experiment),
            tasks=tasks,
            shots=experiment.shots if self.shots is None else self.shots,
            devices=devices,
            jobs=len(devices) if self.jobs is None else self.jobs,
            command=shlex.join(["sensedict", *sys.argv[1:]]),
            **same,
            **more,
        )


_SAME = (
    *("teacher", "text", "out", "dictionary", "server", "snapshot", "patience", "recipe", "settings", "train_tokens"),
    *("data", "task_limit", "task_seed", "dtype", "cache_mb", "micro_batch", "activations", "threads", "keep_students"),
)

_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option("--teacher", help="Folder (config.json, *.safetensors, tokenizer) or transformers name."),
    click.option("--text", multiple=True, metavar="SOURCE", help=f"Text to train on. Repeatable. {KINDS}"),
    click.option("--out", type=_FOLDER, help="Folder of results; several experiments may share it."),
    dictionary_options,
    click.option(
        "--variant",
        "variants",
        multiple=True,
        metavar="NAME:FILESET",
        help="The file set of another dictionary that the experiment names, as k=5:FOLDER. Repeatable.",
    ),
    click.option(
        "--recipe", default="demo", show_default=True, help="What all conditions begin from: a name, or TOML."
    ),
    setting_option,
    click.option("--train-tokens", type=click.IntRange(8), help="Tokens of the text to train on.  [default: all]"),
    click.option("--seeds", help="Seeds of the runs, with commas: 0,1,2.  [default: as many as the experiment wants]"),
    click.option("--task-data", "data", type=_FOLDER, help="Folder of the tasks' files; without it no task is scored."),
    click.option(
        "--task", "tasks", multiple=True, metavar="NAME", help="A task in place of the experiment's. Repeatable."
    ),
    click.option(
        "--task-shots", "shots", type=click.IntRange(0), help="Examples before a question.  [default: its own]"
    ),
    click.option("--task-limit", type=click.IntRange(1), help="Questions of a task, chosen by seed.  [default: all]"),
    click.option("--task-seed", default=0, show_default=True, help="Of the choice of questions and examples."),
    click.option(
        "--dtype",
        default="float32",
        show_default=True,
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Of the teacher's weights and the students'.",
    ),
    click.option(
        "--device", default="cpu", show_default=True, help="Where cells are made; with commas, a process on each."
    ),
    click.option(
        "--cache-mb", default=256, show_default=True, type=click.IntRange(1), help="Sense vectors on a device."
    ),
    click.option("--micro-batch", type=click.IntRange(1), help="Windows a forward pass.  [default: a batch]"),
    click.option("--activations", type=_FOLDER, help="Folder of a cache of what is frozen, shared by all processes."),
    click.option("--jobs", type=click.IntRange(1), help="Processes.  [default: one a device]"),
    click.option("--threads", type=click.IntRange(1), help="Threads of each process.  [default: torch's choice]"),
    click.option("--keep-students", is_flag=True, help="Keep the students' folders, in OUT/runs."),
    click.option(
        "--dry-run", is_flag=True, help="Print the cells, which are done, and how long the others would take."
    ),
)


def order_options(command: Command) -> Command:
    """Give a command the shared options, as one argument `given`."""

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:
        given = Given(**{setting.name: values.pop(setting.name) for setting in fields(Given)})
        return command(given=given, **values)

    return cast("Command", add_options(_OPTIONS, gathered))


def known_variants(given: dict[str, Path], experiment: Experiment) -> dict[str, Path]:
    """The file sets, where the experiment has a use for each; one that counts dictionaries has for any.

    Raises:
        BadParameter: no condition has a dictionary of that name.
    """
    for name in given:
        if experiment.kind == "training" and name not in experiment.variants:
            near = difflib.get_close_matches(name, experiment.variants, 1)
            raise click.BadParameter(
                f"{name!r} is no dictionary of {experiment.name}"
                + (f", is {near[0]!r} meant?" if near else ";")
                + f" its conditions have {', '.join(experiment.variants)}",
                param_hint="--variant",
            )
    return given


def parse_variants(given: Sequence[str]) -> dict[str, Path]:
    """File sets by variant, from `k=5:FOLDER`. Raises `BadParameter` when one is not of that form, or twice."""
    found: dict[str, Path] = {}
    for text in given:
        name, colon, folder = text.partition(":")
        if not (colon and name and folder) or name in found:
            raise click.BadParameter(
                f"{text!r}: a name and a folder, each name once, as k=5:FOLDER", param_hint="--variant"
            )
        found[name] = Path(folder)
    return found
