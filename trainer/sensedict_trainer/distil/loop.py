"""A training run: text, a teacher, a dictionary, and at the end a student (DSKD §4)."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from sensedict.errors import ConfigurationError, NotFinite, SenseDictError
from sensedict.source import SenseSource
from sensedict_trainer.distil.activations import FORMAT
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.card import describe_run, last_losses
from sensedict_trainer.distil.checkpoint import STUDENT, restore_checkpoint, save_checkpoint, save_student
from sensedict_trainer.distil.draws import Draw
from sensedict_trainer.distil.history import History
from sensedict_trainer.distil.interrupts import Interrupts
from sensedict_trainer.distil.layers import choose_layers
from sensedict_trainer.distil.prefetch import Prefetcher, PreparedBatch
from sensedict_trainer.distil.progress import Progress
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.rows import manifest_key
from sensedict_trainer.distil.schedule import batches, learning_rate
from sensedict_trainer.distil.selection import Selection, select
from sensedict_trainer.distil.step import BatchLosses, Denominators, Stepper, gradient_shares
from sensedict_trainer.distil.student import Tail, cut_student
from sensedict_trainer.distil.teacher_states import StoredStates, open_teacher_states
from sensedict_trainer.distil.terms.term import StateTerm, Units
from sensedict_trainer.distil.trunk import NoTeacher, Trunk, trunk_of
from sensedict_trainer.distil.units import measure_units
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher, check_identity
from sensedict_trainer.text import TokenWindow, text_hash
from sensedict_trainer.work import WorkFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """How a run goes about its work; but for its last two, none of it decides the student.

    Attributes:
        cache_bytes: of sense vectors on the device.
        micro_batch: windows a forward pass; None for the whole batch.
        checkpoint_every: steps.
        measure_every: steps between two measurements of each term's gradient, which cost a pass through the head.
        fresh: throw away what an earlier run left in the folder.
        name: shown by the progress bar.
        tensorboard: also write the history as event files for TensorBoard, into `out/tensorboard`.
        text_sources: name and sha256 of each source of the text, for the model card.
        activations: folder of a cache on disk of the frozen activations, see `activations`; None for memory alone. Its
            rounding moves losses by some 1e-4.
        teacher_states: folder with what stands for the teacher's states, see `teacher_states`; it then does not run.
    """

    cache_bytes: int = 256 * 2**20
    micro_batch: int | None = None
    checkpoint_every: int = 100
    measure_every: int = 5
    fresh: bool = False
    name: str = "train"
    tensorboard: bool = False
    text_sources: tuple[tuple[str, str], ...] = ()
    activations: Path | None = None
    teacher_states: Path | None = None


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        student: a folder that `transformers` loads.
        history: one JSON object a step.
        tokens: that passed through training, epochs counted.
        seconds: of training, over all its starts.
    """

    student: Path
    history: Path
    tokens: int
    seconds: float


def train(
    recipe: Recipe,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    source: SenseSource | None,
    out: Path,
    trunk: Trunk | None = None,
    options: TrainOptions | None = None,
) -> TrainResult:
    """Train a student and write it to `out/student`; a run that was stopped goes on from its last checkpoint.

    Args:
        windows: text; the same windows in the same order for runs that are compared.
        source: the dictionary; None for an objective without one.
        trunk: shared by runs over the same text, so that the teacher reads it once.

    Raises:
        Mismatch: the dictionary was built from another teacher; both values are named, nothing was trained.
        ConfigurationError: no dictionary for an objective that needs one, or `out` holds another run.
        Unavailable: the dictionary's service stayed away longer than its client is patient; a checkpoint was saved.
        NotFinite: the loss is no number; the last checkpoint is as it was.
    """
    options = options or TrainOptions()
    if recipe.uses_dictionary:
        if source is None:
            raise ConfigurationError(f"the objective {recipe.objective} needs a dictionary: give --dictionary")
        check_identity(teacher, source.identity)
        if recipe.uses_senses and recipe.nearest >= source.identity.k:
            tqdm.write(
                f"p = {recipe.nearest} senses are chosen and a token has at most k = {source.identity.k}: where a "
                "target's own senses are the only candidates, nothing is selected",
                file=sys.stderr,
            )
    else:
        source = None
    kept = choose_layers(recipe.choice, recipe.student_layers(teacher.layers), teacher, windows)
    identity = _identity(recipe, teacher, windows, source, kept) | _stored(options)
    with WorkFolder(out, identity, options.fresh):
        run = _Run(recipe, teacher, windows, source, out, trunk, options, kept)
        if not (out / STUDENT).is_dir():
            described = describe_run(teacher, windows, source, options.text_sources)
            run.go()
            losses = last_losses(read_json_lines(out / HISTORY))
            note = {**identity, "seconds": run.seconds, "losses": losses, "run": described}
            save_student(out, run.student, teacher, note)
        return run.result()


class _Run:
    """A run's parts, put together once; `go` does the steps that are left."""

    def __init__(
        self,
        recipe: Recipe,
        teacher: Teacher,
        windows: Sequence[TokenWindow],
        source: SenseSource | None,
        out: Path,
        trunk: Trunk | None,
        options: TrainOptions,
        kept: Sequence[int],
    ) -> None:
        self.recipe, self.teacher, self.windows, self.source = recipe, teacher, windows, source
        self.out, self.options, self.kept = out, options, kept
        self.batches = list(batches(recipe, windows))
        self.seconds = 0.0
        self._trunk = trunk
        self._selections: dict[str, Selection] = {}

    def result(self) -> TrainResult:
        """What there is when the run is over."""
        note = json.loads((self.out / STUDENT / "sensedict-run.json").read_text())
        return TrainResult(self.out / STUDENT, self.out / HISTORY, self._tokens(), float(note["seconds"]))

    def go(self) -> None:
        """Train to the end, from the last checkpoint where there is one."""
        recipe, teacher = self.recipe, self.teacher
        self.student: PreTrainedModel = cut_student(teacher, self.kept, recipe.trainable)
        tail = Tail(self.student, recipe.trainable)
        self.trunk = self._trunk or self._own_trunk()
        self.trunk.check(self.student, tail, self.batches[0])
        parameters = [weight for weight in self.student.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
        start, self.seconds = restore_checkpoint(self.out, self.student, optimizer)
        cache = self._cache()
        units = Units()
        if self.source is not None and recipe.needs_units:
            units = measure_units(self.source, self.trunk, self.windows, recipe)
        stepper = Stepper(recipe, teacher, self.student, tail, cache, units)
        history = History(self.out / HISTORY, start, self.options.tensorboard)
        with ExitStack() as stack:
            prepared: Iterator[PreparedBatch] | Prefetcher = map(PreparedBatch, self.batches[start:])
            if self.source is not None:
                prepared = stack.enter_context(
                    Prefetcher(self.batches[start:], self.source, cache, recipe.sampling, self._selections)
                )
            stack.enter_context(history)
            progress = stack.enter_context(
                Progress(self.options.name, len(self.batches), self._tokens(), (start, self._tokens(start)))
            )
            self._steps(start, prepared, stepper, optimizer, history, progress)

    def _own_trunk(self) -> Trunk:
        """A trunk for this run alone; where nothing reads the teacher's last states, it does not run to its end."""
        known: StoredStates | NoTeacher | None = None
        if self.options.teacher_states is not None:
            known = open_teacher_states(self.options.teacher_states, self.teacher, self.windows)
            if known.kind == "logits" and any(isinstance(term, StateTerm) for term in self.recipe.active.values()):
                raise ConfigurationError(
                    f"{self.options.teacher_states} holds logits, and {self.recipe.objective} compares hidden states: "
                    "use states of the kind senses or exact, or an objective of ce and kl"
                )
        elif not self.recipe.reads_teacher:
            known = NoTeacher(self.teacher)
        folder = self.options.activations
        return trunk_of(self.teacher, self.student, self.recipe.trainable, self.windows, folder, known)

    def _steps(
        self,
        start: int,
        prepared: Iterator[PreparedBatch] | Prefetcher,
        stepper: Stepper,
        optimizer: torch.optim.Optimizer,
        history: History,
        progress: Progress,
    ) -> None:
        """Every step that is left; whatever stops them, what was done so far is saved."""
        done, steps = start, len(self.batches)
        clock, waited = time.perf_counter(), 0.0
        try:
            with Interrupts() as interrupts:
                for batch in prepared:
                    with interrupts.step():
                        row = self._update(done, batch, stepper, optimizer)
                        done += 1
                        now = time.perf_counter()
                        seconds, clock = now - clock, now
                        self.seconds += seconds
                        if isinstance(prepared, Prefetcher):
                            row["wait_share"] = (prepared.waited - waited) / seconds
                            waited = prepared.waited
                        row |= {"step": done, "tokens_per_second": row["tokens"] / seconds}
                        history.add(row)
                        progress.step(row)
                        if done % self.options.checkpoint_every == 0 and done < steps:
                            save_checkpoint(self.out, done, self.seconds, self.student, optimizer)
        except (SenseDictError, KeyboardInterrupt) as error:
            if isinstance(error, NotFinite) or done == start:
                raise
            save_checkpoint(self.out, done, self.seconds, self.student, optimizer)
            where = f"stopped after step {done} of {steps}; the checkpoint is saved, run it again to go on"
            if isinstance(error, SenseDictError):
                raise type(error)(f"{error.detail}; {where}") from error
            progress.write(where)
            raise

    def _update(
        self, done: int, batch: PreparedBatch, stepper: Stepper, optimizer: torch.optim.Optimizer
    ) -> dict[str, Any]:
        """Move the student by one batch; gives the step's record."""
        rate = learning_rate(self.recipe, done, len(self.batches))
        for group in optimizer.param_groups:
            group["lr"] = rate
        row = self._step(done, batch, stepper)
        if self.recipe.clip:
            parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {**row, "lr": rate, "tokens": sum(len(window.ids) for window in batch.windows)}

    def _step(self, done: int, batch: PreparedBatch, stepper: Stepper) -> dict[str, Any]:
        """Leave the gradient of a batch in the student; gives the step's record."""
        losses = BatchLosses()
        denominators = Denominators(
            positions=sum(len(window.ids) - 1 for window in batch.windows),
            sampled=sum(len(found.positions) for found in batch.draws.values()),
        )
        size = self.options.micro_batch or len(batch.windows)
        for first in range(0, len(batch.windows), size):
            windows = batch.windows[first : first + size]
            states = self.trunk.states(windows)
            selections = [
                self._select(batch.draws[window.id], window.id, states.hidden[row], stepper.cache)
                for row, window in enumerate(windows)
                if batch.draws
            ]
            measure = first == 0 and done % self.options.measure_every == 0
            stepper.backward(states, selections, denominators, losses, done / len(self.batches), measure)
        if batch.held is not None and stepper.cache is not None:
            stepper.cache.release(batch.held)
        if not math.isfinite(losses.terms["loss"]):
            raise NotFinite(f"the loss is {losses.terms['loss']} at step {done + 1}: lower the learning rate")
        row: dict[str, Any] = {**losses.terms, "positions": denominators.positions}
        if batch.draws:
            row["relation_positions"] = sum(found.related for found in batch.draws.values())
            row["sampled_positions"] = denominators.sampled
        row |= {name: some / all_ for name, (some, all_) in losses.counts.items() if all_}
        if batch.wanted:
            row["hit_rate"] = batch.hits / batch.wanted
        if losses.gradient:
            row["grad_share"] = dict(gradient_shares(losses))
        return row

    def _select(self, drawn: Draw, window_id: str, hidden: torch.Tensor, cache: SenseCache | None) -> Selection:
        """The sequence's chosen senses, chosen once."""
        if window_id not in self._selections:
            if cache is None:
                none = np.full((len(drawn.positions), 0), -1, dtype=np.int64)
                found = Selection(drawn.positions, none, none, none.astype(np.float32), none.astype(np.float32))
            else:
                found = select(drawn, hidden, cache.table, cache.rows(drawn.ids), self.recipe.nearest)
            self._selections[window_id] = found
        return self._selections[window_id]

    def _cache(self) -> SenseCache | None:
        if self.source is None or not self.recipe.uses_senses:
            return None
        identity = self.source.identity
        capacity = self.options.cache_bytes // (2 * identity.dim)
        return SenseCache(identity.senses, identity.dim, capacity, self.teacher.device)

    def _tokens(self, batches: int | None = None) -> int:
        return sum(len(window.ids) for batch in self.batches[:batches] for window in batch)


def _identity(
    recipe: Recipe,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    source: SenseSource | None,
    kept: Sequence[int],
) -> dict[str, Any]:
    """What decides the student, as JSON."""
    return {
        "recipe": recipe.to_json(),
        "layers": list(kept),
        "teacher": teacher.fingerprint,
        "dtype": teacher.dtype_name,
        "text": text_hash(windows),
        "dictionary": None if source is None else source.identity.content_hash,
    }


def _stored(options: TrainOptions) -> dict[str, Any]:
    """What the student owes to states that are not the teacher's own to the last bit; empty where there are none."""
    named: dict[str, Any] = {}
    if options.activations is not None:
        named["activations"] = FORMAT
    if options.teacher_states is not None:
        named["teacher states"] = manifest_key(options.teacher_states)
    return named
