"""Makes and scores the cells of an experiment, beside other processes that do the same."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from sensedict.errors import NotFinite
from sensedict_trainer.distil.loop import train
from sensedict_trainer.distil.ranks import Ranks
from sensedict_trainer.distil.rows import manifest_key
from sensedict_trainer.distil.schedule import batches
from sensedict_trainer.distil.student import cut_student, to_save
from sensedict_trainer.distil.teacher_states import build_teacher_states, known_states
from sensedict_trainer.distil.trunk import trunk_of
from sensedict_trainer.evaluate import MEASURES, TextScores, evaluate_text
from sensedict_trainer.experiments import costs
from sensedict_trainer.experiments.cells import Cell, identity_of, key_of, layers_of
from sensedict_trainer.experiments.store import CellResult, Store
from sensedict_trainer.results import read_json, read_json_lines, write_json
from sensedict_trainer.tasks.evaluation import evaluate, write_log
from sensedict_trainer.text import text_hash

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from sensedict_trainer.distil.run_options import TrainResult
    from sensedict_trainer.distil.trunk import Trunk
    from sensedict_trainer.experiments.material import Material
    from sensedict_trainer.tasks.evaluation import Evaluation
    from sensedict_trainer.text import TokenWindow

_BATCH = 8  # windows a forward pass of an evaluation, unless fewer are asked for
_ROWS = 16  # of a pass over questions, the same
_AGAIN = 4  # questions of each task that a cell's model is asked again, one by one
_POINTS = 8  # of a curve
_LAST = 20  # steps whose losses are averaged
_COSTS = "costs.json"  # of a run, beside its student: a kept one is scored again without another of them
_NO_MEANS = ("step", "lr", "tokens", "positions", "answer_positions", "relation_positions", "sampled_positions")


@dataclass(frozen=True)
class Keyed:
    """A cell with what decides its numbers.

    Attributes:
        key: of all that decides them; run: of what decides the model alone, scored anew on other text and tasks.
    """

    cell: Cell
    identity: Mapping[str, Any]
    key: str
    run: str


def keyed(cells: Sequence[Cell], material: Material) -> list[Keyed]:
    """The cells with their keys; those of different conditions that are the same model have the same."""
    identities = [identity_of(cell, material) for cell in cells]
    return [
        Keyed(cell, identity, key_of(identity), key_of(identity["made"]))
        for cell, identity in zip(cells, identities, strict=True)
    ]


class Engine:
    """Makes cells; what they share is kept from one to the next.

    Args:
        keep_students: leave students' folders where they are.
        say: told a line when a cell is done.
    """

    def __init__(
        self, material: Material, store: Store, keep_students: bool = False, say: Callable[[str], object] = print
    ) -> None:
        self.material, self.store, self._keep, self._say = material, store, keep_students, say
        self._trunk: tuple[str, Trunk, float] | None = None

    def run(self, cells: Sequence[Keyed]) -> None:
        """Make all cells that are not finished; those that other processes make are waited for at the end.

        Raises:
            SenseDictError: as training and scoring; what was finished stays, an interrupted cell goes on next time. A
                loss that is no number ends its cell alone.
        """
        ordered = [*{entry.key: entry for entry in cells}.values()]
        # Students of one trunk together, so that the teacher reads the text once for them.
        ordered.sort(key=lambda entry: self._trunk_key(entry.cell))
        for wait in (False, True):
            for entry in ordered:
                if self._settled(entry):
                    continue
                with self.store.claim(entry.run, wait) as mine:
                    if mine and not self._done(entry.key):
                        said = self._attempt(entry)
                        done = sum(self._done(other.key) for other in ordered)
                        self._say(f"{said}; {done} of {len(ordered)} cells")
                    if mine and not self._keep:
                        self.store.drop_student(entry.run)

    def _done(self, key: str) -> bool:
        return self.store.has(key) or self.store.failure(key) is not None

    def _settled(self, entry: Keyed) -> bool:
        """Whether a cell is done, and has no student that a kill left."""
        return self._done(entry.key) and (self._keep or not self.store.has_student(entry.run))

    def _attempt(self, entry: Keyed) -> str:
        """Make a cell; gives what came out, in words."""
        try:
            return self._make(entry)
        except NotFinite as error:  # too high a learning rate: an answer too, and no reason to leave the others
            self.store.fail(entry.key, error.detail)
            return f"{entry.cell.name}: {error.detail}"

    def _make(self, entry: Keyed) -> str:
        cell, material = entry.cell, self.material
        if cell.condition.model == "teacher":
            result = self._scored(entry, material.teacher.model, range(material.teacher.layers))
        elif cell.condition.model == "untrained":
            kept = layers_of(cell, material)
            untrained = to_save(cut_student(material.teacher, kept, cell.recipe.trainable), material.teacher.dtype)
            result = self._scored(entry, untrained.to(material.teacher.device), kept)
        else:
            result = self._trained(entry)
        self.store.write(entry.key, result)
        return f"{cell.name}: CE {result.text.mean('cross_entropy'):.4f}, KL {result.text.mean('kl'):.4f}"

    def _trained(self, entry: Keyed) -> CellResult:
        cell, material = entry.cell, self.material
        states, width = self._states(cell)
        folder = self.store.run_folder(entry.run)
        known, begun = folder / _COSTS, folder.exists()
        # A kept student is scored alone: what is frozen need not run for it.
        kept = known.is_file() and self.store.has_student(entry.run)
        trunk, frozen = (None, 0.0) if kept else self._shared_trunk(cell, states)
        steps = sum(1 for _ in batches(cell.recipe, material.training))
        options = replace(
            material.options,
            name=cell.name,
            teacher_states=states,
            held_out=material.curve,
            evaluate_every=max(1, -(-steps // _POINTS)),
            keep_best=False,
            measure_every=max(material.options.measure_every, steps // 100),
        )
        source = material.source(cell.condition.variant) if cell.recipe.uses_dictionary else None
        costs.reset_peak(material.teacher.device)
        run = train(cell.recipe, material.teacher, material.training, source, folder, trunk, options)
        if not known.is_file():  # a run that is gone on with would tell the memory of its rest alone
            most = {} if begun else costs.peak(material.teacher.device)
            write_json(known, {"frozen_seconds": frozen, **most})
        spent = {
            **read_json(known),
            "training_seconds": run.seconds,
            "trained_tokens": run.tokens,
            **({} if width is None else {"state_bytes": width}),
        }
        history = read_json_lines(run.history)
        scored = self._scored(entry, _load(run, material), layers_of(cell, material))
        return replace(
            scored, costs={**scored.costs, **spent}, curve=curve_of(history, material.curve), last=summary_of(history)
        )

    def _scored(self, entry: Keyed, model: PreTrainedModel, kept: Sequence[int]) -> CellResult:
        material = self.material
        windows, questions = (min(usual, material.options.micro_batch or usual) for usual in (_BATCH, _ROWS))
        start = time.perf_counter()
        text = evaluate_text(model, material.teacher, material.held_out, windows, material.memo)
        check_finite(text)
        seconds = {"text_seconds": time.perf_counter() - start}
        found = self._asked(model, questions)
        for evaluation in found:
            name = f"evaluation_seconds/{evaluation.task.name.partition('/')[0]}"
            seconds[name] = seconds.get(name, 0.0) + evaluation.seconds
        if found:
            write_log(self.store.answers(entry.key), found)
        return CellResult(
            identity=entry.identity,
            text=text,
            tasks=tuple(evaluation.score for evaluation in found),
            checks={evaluation.task.name: evaluation.checks for evaluation in found},
            costs={**costs.sizes(material.teacher, entry.cell.recipe, kept), **seconds},
            made=made_with(material),
        )

    def _asked(self, model: PreTrainedModel, batch_size: int) -> list[Evaluation]:
        material = self.material
        if not material.tasks:
            return []
        ranks = Ranks(material.teacher.device)
        return evaluate(model, material.teacher.tokenizer, material.tasks, ranks, batch_size, _AGAIN, progress=True)

    def _shared_trunk(self, cell: Cell, states: Path | None) -> tuple[Trunk, float]:
        """The pass of what is frozen, over the whole text, and the seconds that it took."""
        name = self._trunk_key(cell)
        if self._trunk is not None and self._trunk[0] == name:
            return self._trunk[1:]
        self._trunk = None  # before another takes as much memory
        material, recipe = self.material, cell.recipe
        student = cut_student(material.teacher, layers_of(cell, material), recipe.trainable)
        known = None if states is None else known_states(recipe, material.teacher, material.training, states)
        folder, at_once = material.options.activations, material.options.micro_batch
        if folder is not None:
            folder = folder / key_of({"trunk": name})
        start = time.perf_counter()
        # A cache on disk is made by one process.
        with nullcontext() if folder is None else self.store.claim(f"trunk-{folder.name}", wait=True):
            trunk = trunk_of(
                material.teacher, student, recipe.trainable, material.training, folder, known, at_once, recipe.row
            )
        trunk.remember()
        self._trunk = (name, trunk, time.perf_counter() - start)
        return self._trunk[1:]

    def _trunk_key(self, cell: Cell) -> str:
        if cell.condition.model != "student":
            return ""
        stored = cell.condition.stored
        known = "" if stored is None else f"{stored.kind} {stored.count} {cell.condition.variant}"
        frozen = len(layers_of(cell, self.material)) - cell.recipe.trainable
        packed = "" if cell.recipe.row is None else f" rows of {cell.recipe.row}"
        return f"{layers_of(cell, self.material)[:frozen]} {known}{packed}"

    def _states(self, cell: Cell) -> tuple[Path | None, int | None]:
        """The folder of what stands for the teacher, made where it is missing, and its bytes a position."""
        stored, material = cell.condition.stored, self.material
        if stored is None:
            return None, None if cell.recipe.reads_teacher else 0
        source = material.source(cell.condition.variant) if stored.kind == "senses" else None
        of = "" if source is None else source.identity.content_hash
        folder = self.store.folder / "teacher-states" / key_of({"kind": stored.kind, "count": stored.count, "of": of})
        with self.store.claim(f"states-{folder.name}", wait=True):
            at_once = material.options.micro_batch
            build_teacher_states(
                folder, material.teacher, material.training, stored.kind, stored.count, source, at_once
            )
        return folder, int((manifest_key(folder) or {})["width"])


def check_finite(text: TextScores) -> None:
    """Let pass scores that are numbers.

    Raises:
        NotFinite: one is none: the last steps may ruin a model whose loss was still a number.
    """
    for measure in MEASURES:
        if not math.isfinite(text.mean(measure)):
            raise NotFinite(f"the {measure} on the held-out text is {text.mean(measure)}: lower the learning rate")


def curve_of(
    history: Sequence[Mapping[str, Any]], text: Sequence[TokenWindow]
) -> tuple[tuple[float, float, float], ...]:
    """(seconds of training, held-out CE, held-out KL) wherever a run's history has them.

    None where any of them is of other text than that: a curve of a part of the run would be taken for all of it.
    """
    wanted = text_hash(text)
    if any(row.get("held_out text") != wanted for row in history if "held_out" in row):
        return ()
    seconds, found = 0.0, []
    for row in history:
        seconds += row["tokens"] / row["tokens_per_second"]
        if "held_out" in row:
            found.append((seconds, float(row["held_out"]["ce"]), float(row["held_out"]["kl"])))
    return tuple(found)


def made_with(material: Material) -> dict[str, Any]:
    """Device, threads and versions."""
    device = material.teacher.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "sensedict")},
    }


def _load(run: TrainResult, material: Material) -> PreTrainedModel:
    """A student as anyone loads it."""
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        run.student, dtype=material.teacher.dtype, use_safetensors=True, trust_remote_code=False
    )
    return model.to(material.teacher.device).eval()


def summary_of(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means of a history's numbers over its last steps, of the shares of the gradient over all that have them.

    `relation_share` is that of all positions whose target has relations.
    """
    rows = history[-_LAST:]
    numbers = [name for row in rows for name, value in row.items() if isinstance(value, int | float)]
    names = [name for name in dict.fromkeys(numbers) if name not in _NO_MEANS]  # a step may have no negatives
    found = {name: fmean(row[name] for row in rows if name in row) for name in names}
    shares = [row["grad_share"] for row in history if row.get("grad_share")]
    for name in dict.fromkeys(name for share in shares for name in share):
        found[f"grad_share/{name}"] = fmean(share.get(name) or 0.0 for share in shares)
    if any("relation_positions" in row for row in history):
        related = sum(row.get("relation_positions", 0) for row in history)
        found["relation_share"] = related / sum(row["positions"] for row in history)
    return found
