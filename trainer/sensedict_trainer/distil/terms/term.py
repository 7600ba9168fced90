"""What a term of an objective is: its settings, and the loss that it makes of logits or of hidden states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

Schedule = Literal["constant", "rise", "fall"]
NO_TARGET = -100  # in place of a next token that is not to be learned
Rule = tuple[str, bool, str]  # a setting, whether it can be used, and what it is to be


@dataclass(frozen=True)
class Term:
    """A part of an objective.

    Attributes:
        weight: λ, its factor in the sum.
        schedule: `constant`; `rise`, from 0 to the weight along the run; `fall`, from the weight to 0.
    """

    weight: float = 1.0
    schedule: Schedule = "constant"

    def rules(self) -> list[Rule]:
        """What its settings must hold."""
        return [
            ("weight", 0 <= self.weight < math.inf, "0 or more"),
            ("schedule", self.schedule in ("constant", "rise", "fall"), "constant, rise or fall"),
        ]

    def weight_at(self, share: float) -> float:
        """λ after that share of the steps, 0 to 1."""
        return self.weight * {"constant": 1.0, "rise": share, "fall": 1.0 - share}[self.schedule]


@dataclass(frozen=True)
class HeadTerm(Term):
    """A term of next-token distributions; the head is frozen, so its gradient goes to the hidden states alone."""

    needs_teacher: ClassVar[bool] = True  # whether it reads the teacher's logits
    of_text: ClassVar[bool] = False  # whether it reads the text's next tokens, and counts those that are to be learned

    @property
    def factor(self) -> float:
        """What its values are multiplied by beside λ: T² of a divergence at temperature T."""
        return 1.0

    def values(self, own: Tensor, goal: Tensor | None, targets: Tensor) -> Tensor:
        """(c,) the term's value at each position, in nats.

        Args:
            own: (c, V) the student's logits, float32 or wider.
            goal: (c, V) the teacher's; None where no term of the objective needs them.
            targets: (c,) int64, the text's next tokens; `NO_TARGET` where one is not to be learned.
        """
        raise NotImplementedError

    def add_gradient(self, own: Tensor, goal: Tensor | None, targets: Tensor, scale: float, into: Tensor) -> Tensor:
        """Add `scale` times the gradient of the values' sum at `own` to `into` (c, V), and give the values (c,).

        Worked out by autograd; a term that is used much gives it in closed form.
        """
        with torch.enable_grad():
            leaf = own.detach().requires_grad_()
            values = self.values(leaf, goal, targets)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        into.add_(gradient, alpha=scale)
        return values.detach()


@dataclass(frozen=True)
class Units:
    """The dictionary's own distances, for settings that are given in them.

    Attributes:
        spread: mean d² of a sense to the mean of all senses.
        negative: quantiles of the teacher's d² to its chosen negatives, at 0, 0.01, …, 1.
    """

    spread: float = 1.0
    negative: tuple[float, ...] = ()

    def quantile(self, share: float) -> float:
        """The distance that this share of the teacher's distances to negatives are below."""
        place = share * (len(self.negative) - 1)
        low = math.floor(place)
        high = min(low + 1, len(self.negative) - 1)
        return self.negative[low] + (place - low) * (self.negative[high] - self.negative[low])


@dataclass(frozen=True)
class Chosen:
    """The senses of one kind, P* or N*, at s positions; places beyond what there is are masked.

    Attributes:
        senses: (s, p, D) float32.
        mask: (s, p) bool.
        distances: (s, p) float32, the teacher's d² to each; infinite where masked.
    """

    senses: Tensor
    mask: Tensor
    distances: Tensor

    def at(self, rows: Tensor) -> Chosen:
        """Those of some of the positions, (r,) int64."""
        return Chosen(self.senses[rows], self.mask[rows], self.distances[rows])


@dataclass(frozen=True)
class Positions:
    """Hidden states at the positions where a term applies.

    Attributes:
        student, teacher: (s, D) float32.
        denominator: positions of the whole batch, by which sums are divided.
        positives, negatives: P* and N*; None where the objective asks for no senses.
    """

    student: Tensor
    teacher: Tensor
    denominator: int
    positives: Chosen | None = None
    negatives: Chosen | None = None
    units: Units = field(default_factory=Units)


@dataclass(frozen=True)
class StateLoss:
    """What a state term gives.

    Attributes:
        total: differentiable, before λ.
        parts: values to be logged, which add up over micro-batches.
        shares: of what is counted, how many and of how many: `hinge_active`.
    """

    total: Tensor
    parts: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class StateTerm(Term):
    """A term of hidden states, at sampled positions."""

    needs_senses: ClassVar[bool] = False

    @property
    def everywhere(self) -> bool:
        """Whether it applies at every position, and so needs no dictionary to say where."""
        return False

    def loss(self, at: Positions) -> StateLoss:
        """The sum over positions, divided by `at.denominator`."""
        raise NotImplementedError


def squared_distances(states: Tensor, senses: Tensor) -> Tensor:
    """(n, p) d² = ‖a − b‖² / D of states (n, D) to senses (n, p, D)."""
    return (states.unsqueeze(1) - senses.to(states.dtype)).square().mean(dim=-1)


def mean_per_row(values: Tensor, mask: Tensor) -> Tensor:
    """(n,) means over the places that count; 0 for a row without any."""
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
