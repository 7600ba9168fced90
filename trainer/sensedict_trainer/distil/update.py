"""One update of the student by a batch: its passes in every process, what is counted over all of them, one move."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sensedict.errors import NotFinite
from sensedict_trainer.distil.checkpoint import Trained
from sensedict_trainer.distil.draws import Draw
from sensedict_trainer.distil.packing import Layout, flat, passes, rows_of
from sensedict_trainer.distil.prefetch import PreparedBatch
from sensedict_trainer.distil.ranks import Ranks, whole
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.schedule import learning_rate
from sensedict_trainer.distil.selection import Selection, select
from sensedict_trainer.distil.step import BatchLosses, Denominators, Stepper, gradient_shares
from sensedict_trainer.distil.trunk import TeacherStates, Trunk
from sensedict_trainer.text import TokenWindow

_LOW, _HIGH = 0.01, 0.99  # shares of the gradient beyond which a term is as good as alone, or not there
_MEASUREMENTS = 5  # of shares, over which they are judged
_HINGES = "hinge_active"  # a share that is judged as those of the gradient are
_SMALLEST_SCALE = 1.0  # of float16's gradients: below it they do not overflow for being scaled


@dataclass
class Updater:
    """Moves the student batch by batch.

    Attributes:
        steps: of the whole run.
        micro_batch: rows a pass; None for all that a process has of a batch.
        measure_every: steps between two measurements of each term's gradient.
        selections: what was chosen for each window, by its id; filled as they come.
    """

    recipe: Recipe
    stepper: Stepper
    trunk: Trunk
    trained: Trained
    ranks: Ranks
    steps: int
    micro_batch: int | None
    measure_every: int
    selections: dict[str, Selection] = field(default_factory=dict)
    _shares: list[Mapping[str, float]] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set)

    def update(self, done: int, batch: Sequence[TokenWindow], share: PreparedBatch) -> dict[str, Any]:
        """Move the student by a batch; gives the step's record, the same in every process.

        Args:
            done: steps before it.
            batch: its windows in all processes; share: this process's, or any one where it has none.

        Raises:
            NotFinite: loss or gradient; the student is as it was before.
        """
        optimizer, scaler = self.trained.optimizer, self.trained.scaler
        rate = learning_rate(self.recipe, done, self.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        row, losses = self._gradient(done, batch, share)
        self._check(done, batch, "loss", losses.terms["loss"])
        scaler.unscale_(optimizer)
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = float(whole(torch.nn.utils.clip_grad_norm_(weights, self.recipe.clip or math.inf)))
        if not scaler.is_enabled() or scaler.get_scale() < _SMALLEST_SCALE:
            self._check(done, batch, "gradient's norm", norm)
        scaler.step(optimizer)  # where a float16 gradient is infinite, it does nothing, and the scale falls
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if shares := gradient_shares(losses):  # without any where all weights are 0 yet, or float16 overflowed
            row["grad_share"] = dict(shares)
            self._shares.append({**shares, **{name: row[name] for name in (_HINGES,) if name in row}})
            self._warn(done)
        if math.isfinite(norm):
            row["grad_norm"] = norm
        return {**row, "lr": rate, "tokens": sum(len(window.ids) for window in batch)}

    def _gradient(
        self, done: int, batch: Sequence[TokenWindow], share: PreparedBatch
    ) -> tuple[dict[str, Any], BatchLosses]:
        """Leave the gradient of a batch in the student; gives the record of it, and the losses, of all processes."""
        ranks = self.ranks
        rows = rows_of(batch, self.recipe.row)
        shares = [
            passes(flat(rows[rank :: ranks.count]), self.micro_batch, self.recipe.row) for rank in range(ranks.count)
        ]
        own = shares[ranks.index]
        draws = [share.draws[window.id] for window in flat(own) if share.draws]
        counted = [sum(len(d.positions) for d in draws), sum(d.related for d in draws), share.wanted, share.hits]
        sampled, related, wanted, hits = map(int, ranks.sums(counted))
        denominators = Denominators(
            positions=sum(len(window.ids) - 1 for window in batch),
            sampled=sampled,
            learned=sum(map(_answers, batch)) if self.recipe.loss_on == "answers" else None,
        )
        losses = BatchLosses()
        most = max(map(len, shares))  # every process makes as many passes
        for number in range(most):
            measure = number == 0 and done % self.measure_every == 0
            windows = own[number] if number < len(own) else []
            with ranks.unsynced(self.stepper.tail, last=number == most - 1):
                self._pass(windows, share, denominators, losses, done / self.steps, measure)
        if share.held is not None and self.stepper.cache is not None:
            self.stepper.cache.release(share.held)
        _add_up(losses, ranks)
        row: dict[str, Any] = {**losses.terms, "positions": denominators.positions}
        if denominators.learned is not None:
            row["answer_positions"] = denominators.learned
        if share.draws:
            row |= {"relation_positions": related, "sampled_positions": sampled}
        row |= {name: some / all_ for name, (some, all_) in losses.counts.items() if all_}
        if wanted:
            row["hit_rate"] = hits / wanted
        return row, losses

    def _pass(
        self,
        windows: Sequence[TokenWindow],
        share: PreparedBatch,
        denominators: Denominators,
        losses: BatchLosses,
        progress: float,
        measure: bool,
    ) -> None:
        """One pass of the tail; without windows it is one in which nothing counts, that other processes wait for."""
        some = windows or share.windows[:1]
        states = self.trunk.states(some)
        selections = [
            self._select(share.draws[window.id], window.id, hidden)
            for window, hidden in zip(some, states.layout.take(states.hidden), strict=True)
            if share.draws
        ]
        if not windows:
            states = _first_token(states)
            selections = [_nothing(selection) for selection in selections]
        learned = _answer_mask(some, states) if denominators.learned is not None else None
        # Where processes are several, the gradient that is left is the mean of theirs.
        scale = self._scale(states.entering.device) * self.ranks.count
        self.stepper.backward(states, selections, denominators, losses, progress, measure, learned, scale)

    def _scale(self, device: torch.device) -> float:
        """What float16's gradients are multiplied by, so that small ones are not 0; else 1."""
        scaler = self.trained.scaler
        return float(scaler.scale(torch.ones((), device=device))) if scaler.is_enabled() else 1.0

    def _select(self, drawn: Draw, window_id: str, hidden: Tensor) -> Selection:
        """The sequence's chosen senses, chosen once."""
        cache = self.stepper.cache
        if window_id not in self.selections:
            if cache is None:
                none = np.full((len(drawn.positions), 0), -1, dtype=np.int64)
                found = Selection(drawn.positions, none, none, none.astype(np.float32), none.astype(np.float32))
            else:
                found = select(drawn, hidden, cache.table, cache.rows(drawn.ids), self.recipe.nearest)
            self.selections[window_id] = found
        return self.selections[window_id]

    def _check(self, done: int, batch: Sequence[TokenWindow], what: str, value: float) -> None:
        if not math.isfinite(value):
            named = ", ".join(window.id for window in batch)
            raise NotFinite(
                f"the {what} is {value} at step {done + 1}, in the batch of {named}: lower the learning rate "
                f"(lr = {self.recipe.lr:g}), or look at that text; the last checkpoint is as it was"
            )

    def _warn(self, done: int) -> None:
        """Say once of each term that it all but decides the gradient, or has all but no part in it, step after step.

        And of hinges, that nearly all of them push, or nearly none.
        """
        if len(self._shares) < _MEASUREMENTS:
            return
        meant = {name for name, term in self.recipe.active.items() if term.weight_at(done / self.steps) > 0}
        for name in sorted({*(meant if len(meant) > 1 else ()), _HINGES} - self._warned) if self.ranks.main else ():
            found = [shares[name] for shares in self._shares if name in shares]
            share = sum(found) / max(len(found), 1)
            if found and not _LOW <= share <= _HIGH:
                self._warned.add(name)
                tqdm.write(_warning(name, share, done + 1), file=sys.stderr)
        self._shares.clear()


def _warning(name: str, share: float, step: int) -> str:
    if name == _HINGES:
        side = "negatives hardly move it; raise" if share < _LOW else "whatever is chosen pushes; lower"
        return f"{share:.1%} of negatives are nearer than the margin up to step {step}: {side} sense.margin"
    side = "hardly moves the student" if share < _LOW else "moves the student all but alone"
    return f"{name} has {share:.1%} of the gradient up to step {step}: it {side}; see {name}.weight"


def _add_up(losses: BatchLosses, ranks: Ranks) -> None:
    """Put the sums over all processes in the place of this one's values."""
    names, counts = sorted(losses.terms), sorted(losses.counts)
    values = [losses.terms[name] for name in names] + [float(n) for name in counts for n in losses.counts[name]]
    sums = ranks.sums(values)
    losses.terms = dict(zip(names, sums, strict=False))
    pairs = sums[len(names) :]
    losses.counts = {name: (int(pairs[2 * i]), int(pairs[2 * i + 1])) for i, name in enumerate(counts)}


def _answers(window: TokenWindow) -> int:
    """Tokens of a window that are an answer's and have something before them."""
    return 0 if window.answers is None else int(window.answers[1:].sum())


def _answer_mask(windows: Sequence[TokenWindow], states: TeacherStates) -> Tensor:
    """(B, T) bool: tokens that are an answer's."""
    mask = torch.zeros(states.ids.shape, dtype=torch.bool)
    for window, (row, first, end) in zip(windows, states.layout.places, strict=False):
        if window.answers is not None:
            end = min(end, first + len(window.answers), mask.shape[1])
            mask[row, first:end] = torch.from_numpy(window.answers[: end - first])
    return mask.to(states.ids.device)


def _first_token(states: TeacherStates) -> TeacherStates:
    """States of the first token of the first window, which has no target."""
    layout = states.layout
    positions = None if layout.positions is None else layout.positions[:1, :1]
    first = Layout(layout.ids[:1, :1], layout.mask[:1, :1], [(0, 0, 1)], positions)
    return replace(states, layout=first, entering=states.entering[:1, :1], hidden=states.hidden[:1, :1])


def _nothing(selection: Selection) -> Selection:
    """A selection of no position."""
    return Selection(
        selection.positions[:0],
        selection.positives[:0],
        selection.negatives[:0],
        selection.positive_distances[:0],
        selection.negative_distances[:0],
    )
