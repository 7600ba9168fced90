"""One step of training: the losses of a batch, whole or in micro-batches, and what there is to know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.losses import Distillation, distillation_loss, sense_loss, state_loss
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.selection import Selection
from sensedict_trainer.distil.student import Tail
from sensedict_trainer.distil.trunk import TeacherStates
from sensedict_trainer.teacher import Teacher, head_logits, logit_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class BatchLosses:
    """What the micro-batches of a batch add up to; every loss is already divided by the whole batch's positions.

    Attributes:
        terms: `loss`, `ce`, `kl`, and with a dictionary `sense`, `sense_positive`, `sense_negative` or `mse`.
        active, negatives: hinges that push, and all of them.
        gradient: norm of each term's gradient at the student's hidden states; empty where it was not asked for.
    """

    terms: dict[str, float] = field(default_factory=dict)
    active: int = 0
    negatives: int = 0
    gradient: dict[str, float] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        """Add a micro-batch's values."""
        for name, value in values.items():
            self.terms[name] = self.terms.get(name, 0.0) + value


@dataclass(frozen=True)
class Denominators:
    """Positions of a whole batch that the losses are means over."""

    positions: int
    sampled: int


@dataclass(frozen=True)
class Stepper:
    """Computes losses and leaves gradients in the student's trained layers.

    Attributes:
        student, tail: the student, and its last layers as a module.
        cache: sense vectors on the device; None where the objective has no sense loss.
    """

    recipe: Recipe
    teacher: Teacher
    student: PreTrainedModel
    tail: Tail
    cache: SenseCache | None

    def backward(
        self,
        states: TeacherStates,
        selections: Sequence[Selection],
        denominators: Denominators,
        losses: BatchLosses,
        measure: bool = False,
    ) -> None:
        """Add the gradient of a micro-batch, and its losses to `losses`.

        Args:
            selections: of each window; empty for an objective without a dictionary.
            measure: also take the norm of each term's gradient, which costs a second pass through the head.
        """
        with torch.autocast(self.teacher.device.type, self.teacher.dtype, enabled=self.teacher.dtype != torch.float32):
            hidden = self.tail(states.entering, states.mask)  # (B, T, D)
        with_target = states.mask[:, 1:].bool()  # position i has a target when token i + 1 is real
        own, goal = hidden[:, :-1][with_target], states.hidden[:, :-1][with_target]  # (n, D)
        parts: dict[str, Tensor] = {}
        kd = self._distillation(own, goal, states.ids[:, 1:][with_target], denominators, self.recipe.alpha)
        losses.add(ce=float(kd.cross_entropy), kl=float(kd.kl))
        if self.recipe.uses_dictionary:
            parts = self._at_sampled(hidden, states, selections, denominators, losses)
        total = kd.total + sum(parts.values())
        losses.add(loss=float(total.detach()))
        if measure:
            ce = self._distillation(own, goal, states.ids[:, 1:][with_target], denominators, alpha=0.0)
            losses.gradient = _gradient_norms(hidden, ce.total, kd.total, parts)
        torch.autograd.backward(total)

    def _distillation(
        self, own: Tensor, goal: Tensor, targets: Tensor, denominators: Denominators, alpha: float
    ) -> Distillation:
        dtype = self.teacher.dtype
        return distillation_loss(
            own,
            goal,
            targets,
            student_head=lambda states: head_logits(self.student, states.to(dtype)),
            teacher_head=self.teacher.head,
            alpha=alpha,
            temperature=self.recipe.temperature,
            denominator=denominators.positions,
            rows=logit_rows(self.teacher.vocabulary_size),
        )

    def _at_sampled(
        self,
        hidden: Tensor,
        states: TeacherStates,
        selections: Sequence[Selection],
        denominators: Denominators,
        losses: BatchLosses,
    ) -> dict[str, Tensor]:
        """The term of the objective that applies at sampled positions, under its name."""
        device = hidden.device
        rows = np.repeat(np.arange(len(selections)), [len(chosen.positions) for chosen in selections])
        columns = np.concatenate([chosen.positions for chosen in selections])
        at = (torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device))
        student = hidden[at].float()  # (s, D)
        if self.cache is None:
            mse = state_loss(student, states.hidden[at].float(), denominators.sampled)
            losses.add(mse=float(mse.detach()))
            return {"mse": self.recipe.lambda_positive * mse}
        positives, positive_mask = _senses(self.cache, [chosen.positives for chosen in selections])
        negatives, negative_mask = _senses(self.cache, [chosen.negatives for chosen in selections])
        sense = sense_loss(
            student,
            positives,
            positive_mask,
            negatives,
            negative_mask,
            self.recipe.lambda_positive,
            self.recipe.lambda_negative,
            self.recipe.margin,
            denominators.sampled,
        )
        losses.active += sense.active
        losses.negatives += sense.negatives
        losses.add(
            sense=float(sense.total.detach()),
            sense_positive=float(sense.positive),
            sense_negative=float(sense.negative),
        )
        return {"sense": sense.total}


def gradient_shares(losses: BatchLosses) -> Mapping[str, float]:
    """Each term's part of the sum of the norms of all terms' gradients."""
    whole = sum(losses.gradient.values())
    return {name: norm / whole for name, norm in losses.gradient.items()} if whole > 0 else {}


def _senses(cache: SenseCache, ids: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """(s, p, D) float32 vectors and (s, p) mask of chosen sense ids, −1 for an empty place."""
    joined = np.concatenate(ids)
    rows = torch.from_numpy(cache.rows(joined)).to(cache.table.device)
    return cache.table[rows].float(), torch.from_numpy(joined >= 0).to(cache.table.device)


def _gradient_norms(hidden: Tensor, ce: Tensor, kd: Tensor, parts: Mapping[str, Tensor]) -> dict[str, float]:
    gradients = {name: torch.autograd.grad(loss, hidden, retain_graph=True)[0] for name, loss in parts.items()}
    of_ce = torch.autograd.grad(ce, hidden, retain_graph=True)[0]
    of_kl = torch.autograd.grad(kd, hidden, retain_graph=True)[0] - of_ce
    return {name: float(gradient.norm()) for name, gradient in {"ce": of_ce, "kl": of_kl, **gradients}.items()}
