"""The steps of a training run, from the last checkpoint to the end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from sensedict.errors import NotFinite, SenseDictError
from sensedict.source import SenseSource
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.card import describe_run, last_losses
from sensedict_trainer.distil.checkpoint import BEST, NOTE, STUDENT, Checkpoints, Trained, save_student
from sensedict_trainer.distil.held_out import HeldOut, best_so_far
from sensedict_trainer.distil.history import History
from sensedict_trainer.distil.interrupts import Interrupts
from sensedict_trainer.distil.packing import flat, passes, rows_of
from sensedict_trainer.distil.prefetch import Prefetcher, PreparedBatch
from sensedict_trainer.distil.progress import Progress
from sensedict_trainer.distil.ranks import Ranks
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.run_options import HISTORY, TrainOptions, TrainResult
from sensedict_trainer.distil.schedule import batches
from sensedict_trainer.distil.step import Stepper
from sensedict_trainer.distil.student import Tail, cut_student, decoder_layers
from sensedict_trainer.distil.teacher_states import known_states
from sensedict_trainer.distil.terms.term import Units
from sensedict_trainer.distil.trunk import Trunk, trunk_of
from sensedict_trainer.distil.units import measure_units
from sensedict_trainer.distil.update import Updater
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Run:
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
        identity: dict[str, Any],
        ranks: Ranks,
    ) -> None:
        self.recipe, self.teacher, self.windows, self.source = recipe, teacher, windows, source
        self.out, self.options, self.kept, self.identity, self.ranks = out, options, kept, identity, ranks
        self.batches = list(batches(recipe, windows))
        self.checkpoints = Checkpoints(out, identity, options.keep, ranks)
        self.seconds = 0.0
        self.held_out: HeldOut | None = None
        self._trunk = trunk
        self._described = describe_run(teacher, windows, source, options.text_sources) if ranks.main else {}

    def result(self) -> TrainResult:
        """What there is when the run is over."""
        note = json.loads((self.out / STUDENT / NOTE).read_text())
        return TrainResult(self.out / STUDENT, self.out / HISTORY, self._tokens(), float(note["seconds"]))

    def save(self, name: str, step: int, losses: Mapping[str, float], **more: Any) -> None:
        """Write the student as a plain model folder; the last one ends the run."""
        made = {"seconds": self.seconds, "step": step, "losses": losses, "run": self._described}
        note = {**self.identity, **made, **more}
        save_student(self.out / name, self.student, self.teacher, note, self.ranks)
        if name == STUDENT and self.ranks.main:
            self.checkpoints.drop()

    def go(self) -> None:
        """Train to the end, from the last checkpoint where there is one."""
        recipe, teacher, ranks = self.recipe, self.teacher, self.ranks
        self.student: PreTrainedModel = cut_student(teacher, self.kept, recipe.trainable)
        self.tail = Tail(self.student, recipe.trainable)
        self.trunk = self._trunk or self._own_trunk()
        self.trunk.check(self.student, self.tail, passes(self.batches[0], self.options.micro_batch, recipe.row)[0])
        cache, units = self._cache(), Units()
        if self.source is not None and recipe.needs_units:
            units = measure_units(self.source, self.trunk, self.windows, recipe)
        if self.options.held_out:
            self.held_out = self._held_out()
        prepared = ranks.prepare(self.tail, *self._layers())
        parameters = [weight for weight in self.student.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        scaler = GradScaler(teacher.device.type, enabled=teacher.dtype == torch.float16)
        trained = Trained(self.student, optimizer, scaler)
        start, self.seconds = self.checkpoints.restore(trained)
        self.best = math.inf if self.held_out is None else best_so_far(self.out, start, self.held_out.text)
        stepper = Stepper(recipe, teacher, self.student, prepared, cache, units)
        options = self.options
        updater = Updater(
            recipe, stepper, self.trunk, trained, ranks, len(self.batches), options.micro_batch, options.measure_every
        )
        with ExitStack() as stack:
            left = [(self._share(batch) or batch[:1]) for batch in self.batches[start:]]
            shares: Iterable[PreparedBatch] = map(PreparedBatch, left)
            if self.source is not None:
                shares = stack.enter_context(Prefetcher(left, self.source, cache, recipe.sampling, updater.selections))
            self._steps(start, shares, updater, stack)
        last = last_losses(read_json_lines(self.out / HISTORY)) if ranks.main else {}
        self.save(STUDENT, len(self.batches), last)

    def _layers(self) -> tuple[nn.ModuleList, nn.ModuleList]:
        """The teacher's layers, and those that are trained; the student's others make room where layers are split."""
        layers = decoder_layers(self.student)
        first = len(layers) - self.recipe.trainable
        if self.ranks.sharded and self.trunk.student is None:
            layers[:first].to("cpu")
        return decoder_layers(self.teacher.model), layers[first:]

    def _own_trunk(self) -> Trunk:
        """A trunk for this run alone; where nothing reads the teacher's last states, it does not run to its end."""
        known = known_states(self.recipe, self.teacher, self.windows, self.options.teacher_states)
        folder, at_once = self.options.activations, self.options.micro_batch
        windows = self.windows if folder is not None else self._own_windows()

        def make() -> None:
            self._trunk = trunk_of(
                self.teacher, self.student, self.recipe.trainable, windows, folder, known, at_once, self.recipe.row
            )

        self.ranks.first(make)  # where a cache is missing it is built once
        if self._trunk is None:
            make()
        assert self._trunk is not None
        return self._trunk

    def _held_out(self) -> HeldOut:
        windows = self.options.held_out
        kept = () if self.ranks.sharded else self.ranks.share(windows)
        at_once = self.options.micro_batch
        trunk = trunk_of(self.teacher, self.student, self.recipe.trainable, kept, at_once=at_once, row=self.recipe.row)
        return HeldOut(windows, trunk, self.student, self.ranks, at_once)

    def _own_windows(self) -> Sequence[TokenWindow]:
        """Windows whose states are worth remembering in this process."""
        if self.ranks.count == 1:
            return self.windows
        if self.ranks.sharded:  # each pass takes every process, so that none may have it from memory
            return ()
        return [*{window.id: window for batch in self.batches for window in self._share(batch)}.values()]

    def _share(self, batch: Sequence[TokenWindow]) -> list[TokenWindow]:
        """The windows of a batch that this process has: every so many-th row."""
        return flat(self.ranks.share(rows_of(batch, self.recipe.row)))

    def _steps(self, start: int, shares: Iterable[PreparedBatch], updater: Updater, stack: ExitStack) -> None:
        """Every step that is left; whatever stops them, what was done so far is saved."""
        ranks, done, steps = self.ranks, start, len(self.batches)
        history, progress = self._records(start, stack) if ranks.main else (None, None)
        clock, waited = time.perf_counter(), 0.0
        try:
            with Interrupts(together=ranks.count > 1) as interrupts:
                for share in shares:
                    with interrupts.step():
                        row = updater.update(done, self.batches[done], share)
                        done += 1
                        seconds = time.perf_counter() - clock
                        self.seconds += seconds
                        if isinstance(shares, Prefetcher):
                            row["wait_share"] = (shares.waited - waited) / seconds
                            waited = shares.waited
                        row |= {"step": done, "tokens_per_second": row["tokens"] / seconds}
                        row |= self._evaluate(done, row)
                        clock = time.perf_counter()
                        if history is not None and progress is not None:
                            history.add(row)
                            progress.step(row)
                        if done % self.options.checkpoint_every == 0 and done < steps:
                            self.checkpoints.save(done, self.seconds, updater.trained)
                        if ranks.count > 1 and ranks.sums([float(interrupts.asked)])[0]:
                            raise KeyboardInterrupt
        except (SenseDictError, KeyboardInterrupt, BrokenPipeError) as error:  # the last: who read the progress is gone
            # What is raised here may be this process's alone, and it is the first that saves; layers in parts are saved
            # by all or not at all.
            alone = (ranks.sharded or not ranks.main) and not isinstance(error, KeyboardInterrupt)
            if isinstance(error, NotFinite) or done == start or alone:
                raise
            self.checkpoints.save(done, self.seconds, updater.trained)
            where = f"stopped after step {done} of {steps}; the checkpoint is saved"
            if isinstance(error, SenseDictError):
                raise type(error)(f"{error.detail}; {where}, run it again to go on") from error
            if progress is not None:
                progress.write(where)
            raise

    def _records(self, start: int, stack: ExitStack) -> tuple[History, Progress]:
        history = stack.enter_context(History(self.out / HISTORY, start, self.options.tensorboard))
        before = (start, self._tokens(start))
        return history, stack.enter_context(Progress(self.options.name, len(self.batches), self._tokens(), before))

    def _evaluate(self, done: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """The held-out losses, when it is time for them; the student is kept where it was never better."""
        due = done % self.options.evaluate_every == 0 or done == len(self.batches)
        if self.held_out is None or not due:
            return {}
        losses = self.held_out.losses(self.tail)
        found = {"held_out": losses, "held_out text": self.held_out.text}
        if self.options.keep_best and losses["ce"] < self.best:
            self.best = losses["ce"]
            self.save(BEST, done, {"loss": row["loss"]}, **found)
        return found

    def _cache(self) -> SenseCache | None:
        if self.source is None or not self.recipe.uses_senses:
            return None
        identity = self.source.identity
        capacity = self.options.cache_bytes // (2 * identity.dim)
        return SenseCache(identity.senses, identity.dim, capacity, self.teacher.device)

    def _tokens(self, batches: int | None = None) -> int:
        return sum(len(window.ids) for batch in self.batches[:batches] for window in batch)
