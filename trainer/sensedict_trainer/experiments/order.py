"""What a command was asked for, and the work of it: by one process, or by several on one folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sensedict.errors import InvalidInput, SenseDictError
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.recipe import load_recipe
from sensedict_trainer.distil.run_options import TrainOptions
from sensedict_trainer.experiments.cells import Cell, Tuned, cells_of
from sensedict_trainer.experiments.engine import Engine, Keyed, keyed, made_with
from sensedict_trainer.experiments.material import Dictionaries, Material, open_all
from sensedict_trainer.experiments.outcome import Outcome
from sensedict_trainer.experiments.spec import Experiment
from sensedict_trainer.experiments.store import Store
from sensedict_trainer.options import open_source
from sensedict_trainer.tasks.evaluation import some_of
from sensedict_trainer.tasks.registry import load_tasks
from sensedict_trainer.teacher import load_teacher
from sensedict_trainer.text import check_held_out, cut_windows, overlapping, text_hash
from sensedict_trainer.text_sources import read_documents
from sensedict_trainer.work import flatten

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from sensedict_trainer.teacher import Teacher
    from sensedict_trainer.text import TokenWindow


@dataclass(frozen=True)
class Order:
    """An experiment to be run, and on what.

    Attributes:
        teacher: folder or name; text, held_out: sources; out: folder of results.
        seeds: of the runs.
        dictionary, server, snapshot, patience: see `options.open_source`; variants: other file sets, by variant.
        recipe, settings: what all conditions begin from; tuned: settings by condition, which go before its own.
        train_tokens, eval_tokens: at most; None for all.
        tune_share: of the training text's windows, taken off as the text that is scored, in place of `held_out`.
        tasks: names; data: folder of their files, None for no tasks; shots, task_limit, task_seed: see `load_tasks`.
        dtype, cache_mb, micro_batch, activations: see `TrainOptions`.
        devices: one a process, in turn; jobs: processes; threads: of each, None for torch's own choice.
        keep_students: leave their folders.
        command: as it was typed.
    """

    experiment: Experiment
    teacher: str
    text: tuple[str, ...]
    held_out: tuple[str, ...]
    out: Path
    seeds: tuple[int, ...]
    dictionary: str | None = None
    server: str = ""
    snapshot: Path | None = None
    patience: float = 300.0
    variants: Mapping[str, Path] = field(default_factory=dict)
    recipe: str = "demo"
    settings: tuple[str, ...] = ()
    tuned: Tuned = field(default_factory=dict)
    train_tokens: int | None = None
    eval_tokens: int | None = None
    tune_share: float = 0.0
    tasks: tuple[str, ...] = ()
    data: Path | None = None
    shots: int = 0
    task_limit: int | None = None
    task_seed: int = 0
    dtype: str = "float32"
    cache_mb: int = 256
    micro_batch: int | None = None
    activations: Path | None = None
    devices: tuple[str, ...] = ("cpu",)
    jobs: int = 1
    threads: int | None = None
    keep_students: bool = False
    command: str = ""


@dataclass(frozen=True)
class Bench:
    """An order with everything open: ready to work, or to be read."""

    order: Order
    material: Material
    store: Store
    cells: Sequence[Keyed]

    def outcome(self) -> Outcome:
        """What is finished."""
        found: dict[str, dict[int | None, Any]] = {}
        for entry in self.cells:
            if self.store.has(entry.key):
                found.setdefault(entry.cell.condition.name, {})[entry.cell.seed] = self.store.read(entry.key)
        failed = tuple(entry.cell.name for entry in self.cells if self.store.failure(entry.key) is not None)
        return Outcome(self.order.experiment, found, failed)

    def made(self) -> dict[str, Any]:
        """With what, as JSON."""
        order, material, teacher = self.order, self.material, self.material.teacher
        return {
            "command": order.command,
            "seeds": list(order.seeds),
            "teacher": {
                "name": teacher.name,
                "weights": teacher.fingerprint,
                "layers": teacher.layers,
                "dtype": teacher.dtype_name,
            },
            "text": {
                **material.trained_on(),
                "held-out text": text_hash(material.held_out),
                "training tokens": sum(len(window.ids) for window in material.training),
                "training documents": len(_documents(material.training)),
                "held-out tokens": sum(len(window.ids) for window in material.held_out),
                "held-out documents": len(_documents(material.held_out)),
            },
            "dictionaries": {name: self._dictionary(name) for name in self._variants()},
            "tasks": {
                task.name: {
                    "questions": f"{len(task.ids)} of {task.total}, by the seed {task.seed}",
                    "shots": task.shots,
                    "examples": some_of(task.example_ids) or None,
                    "not asked, being examples or asking the same": some_of(task.left_out) or None,
                    "prompts": task.prompts_hash,
                    "sha256": task.file_hash,
                }
                for task in material.tasks
            },
            **made_with(material),
            **self._recipes(),
        }

    def _recipes(self) -> dict[str, Any]:
        """The settings that all students have, and of each condition those that are its own."""
        flat: dict[str, dict[str, Any]] = {}
        for entry in self.cells:
            if entry.cell.condition.model == "student":
                settings = flatten(entry.cell.recipe.to_json())
                flat[entry.cell.condition.name] = {n: value for n, value in settings.items() if n != "seed"}
        if not flat:
            return {}
        first, *others = flat.values()
        common = {n: v for n, v in first.items() if all(n in other and other[n] == v for other in others)}
        own = {
            f"condition {name}": ", ".join(f"{n}={value}" for n, value in found.items() if n not in common)
            for name, found in flat.items()
        }
        return {"all conditions": common, **own}

    def _variants(self) -> list[str]:
        used = [entry.cell.condition.variant for entry in self.cells if _needs_dictionary(entry.cell)]
        return list(dict.fromkeys(used))

    def _dictionary(self, variant: str) -> dict[str, Any]:
        source = self.material.source(variant)
        identity = asdict(source.identity)
        kept = ("name", "version", "k", "key_policy", "state_point", "senses", "content_hash")
        build = source.manifest.settings.get("build", {}) if isinstance(source, Snapshot) else {}
        return {**{name: identity[name] for name in kept}, **({"build": build} if build else {})}


@contextmanager
def opened(order: Order, device: str | None = None) -> Iterator[Bench]:
    """Teacher, text, tasks and dictionaries of an order, checked against one another before anything is trained.

    Raises:
        InvalidInput: text or settings that cannot be used; held-out text that is trained on.
        ConfigurationError: a dictionary that is missing; a folder of other results.
        Mismatch: a dictionary of another teacher.
    """
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    experiment = order.experiment
    base = load_recipe(order.recipe, settings=order.settings)
    cells = cells_of(experiment, order.recipe, order.seeds, order.settings, order.tuned)
    tasks = load_tasks(order.tasks, order.data, order.shots, order.task_seed, order.task_limit) if order.data else []
    with dictionaries_of(order) as dictionaries:
        open_all({cell.condition.variant for cell in cells if _needs_dictionary(cell)}, dictionaries)
        teacher = load_teacher(order.teacher, order.dtype, device or order.devices[0])
        training = _windows(order.text, teacher, base.window, order.train_tokens)
        if order.tune_share:
            training, held_out = set_aside(training, order.tune_share)
        else:
            held_out = _windows(order.held_out, teacher, base.window, order.eval_tokens)
            check_held_out(held_out, training)
        options = TrainOptions(
            cache_bytes=order.cache_mb * 2**20, micro_batch=order.micro_batch, activations=order.activations
        )
        material = Material(teacher, training, held_out, tasks, dictionaries, options)
        store = Store(order.out, material.trained_on())
        yield Bench(order, material, store, keyed(cells, material))


def work(order: Order, say: Callable[[str], object] = print) -> tuple[Outcome, dict[str, Any]]:
    """Make the cells of an order, with so many processes; gives what was found, and with what, as JSON.

    All cells are finished then, whoever made them.

    Raises:
        SenseDictError: of this process; what was finished stays.
    """
    context = multiprocessing.get_context("spawn")
    others: list[BaseProcess] = []
    for number in range(1, order.jobs):
        device = order.devices[number % len(order.devices)]
        others.append(context.Process(target=_help, args=(replace(order, jobs=1), device)))
    try:
        for other in others:
            other.start()
        with opened(order) as bench:
            Engine(bench.material, bench.store, order.keep_students, say).run(bench.cells)
            found = bench.outcome(), bench.made()
    except BaseException:
        for other in others:
            if other.pid is not None:
                other.terminate()  # its cell ends with a checkpoint
        raise
    finally:
        for other in others:
            if other.pid is not None:
                other.join()
    failed = [other.exitcode for other in others if other.exitcode]
    if failed:
        say(f"{len(failed)} of {order.jobs} processes failed; the others made their cells")
    return found


def set_aside(windows: Sequence[TokenWindow], share: float) -> tuple[list[TokenWindow], list[TokenWindow]]:
    """The windows without every n-th document, and those documents' windows: about the share, at least one document.

    Raises:
        InvalidInput: the text is one document, or its documents share text.
    """
    documents = _documents(windows)
    step = max(2, round(1 / share))
    aside = set(documents[step - 1 :: step] or documents[-1:])
    if len(documents) < 2:
        raise InvalidInput("the text is one document, and a part of it is to be set aside for tuning: give more text")
    kept = [window for window in windows if window.id.rpartition("#")[0] not in aside]
    tuning = [window for window in windows if window.id.rpartition("#")[0] in aside]
    if shared := overlapping(tuning, kept):
        raise InvalidInput(
            f"documents of the text share some of it, {shared[0][0]} with {shared[0][1]}, so that no part can be set "
            "aside for tuning: give such a part by --tuning, as `sensedict tasks prepare --hold-back` writes it"
        )
    return kept, tuning


def _help(order: Order, device: str) -> None:
    """The work of a further process, until nothing is left or the first is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with opened(order, device) as bench:
            Engine(bench.material, bench.store, order.keep_students).run(bench.cells)
    except SenseDictError as error:
        print(f"a process on {device} ended: {error.detail}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    """Be told to end when the process that began this one has ended, by whatever signal."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def dictionaries_of(order: Order) -> Dictionaries:
    """The dictionaries that an order names, none of them opened yet."""
    named = order.dictionary is not None or order.snapshot is not None
    base = partial(open_source, order.dictionary, order.server, order.snapshot, order.patience)
    return Dictionaries(base if named else None, order.snapshot, order.variants, order.experiment.build)


def _needs_dictionary(cell: Cell) -> bool:
    stored = cell.condition.stored
    of_senses = stored is not None and stored.kind == "senses"
    return cell.condition.model == "student" and (cell.recipe.uses_dictionary or of_senses)


def _documents(windows: Sequence[TokenWindow]) -> list[str]:
    """Ids of the documents that windows are of, each once."""
    return list(dict.fromkeys(window.id.rpartition("#")[0] for window in windows))


def _windows(sources: Sequence[str], teacher: Teacher, length: int, tokens: int | None) -> list[TokenWindow]:
    return cut_windows(read_documents(sources), teacher.tokenizer, length, tokens)
