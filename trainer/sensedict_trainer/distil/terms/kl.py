"""The Kullback–Leibler divergence from the teacher: what KD is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.terms.term import HeadTerm, Rule


@dataclass(frozen=True)
class Divergence(HeadTerm):
    """A divergence of next-token distributions, both softened.

    Attributes:
        temperature: T; the term counts T² times, so that its gradient's size does not depend on T (Hinton et al. 2015).
    """

    temperature: float = 2.0

    @property
    def factor(self) -> float:
        """T²."""
        return self.temperature**2

    def rules(self) -> list[Rule]:
        """T above 0."""
        return [*super().rules(), ("temperature", 0 < self.temperature < math.inf, "above 0")]

    def logs(self, own: Tensor, goal: Tensor | None) -> tuple[Tensor, Tensor]:
        """(c, V) log p_s and log p_t at temperature T."""
        assert goal is not None  # the objective has a term that needs it: this one
        if self.temperature != 1.0:
            own, goal = own / self.temperature, goal / self.temperature
        return F.log_softmax(own, dim=-1), F.log_softmax(goal, dim=-1)


@dataclass(frozen=True)
class ForwardKL(Divergence):
    """KL(p_t(T) ‖ p_s(T)); its weight is the paper's α (DSKD §4.1)."""

    def values(self, own: Tensor, goal: Tensor | None, targets: Tensor) -> Tensor:
        """The divergence."""
        student, teacher = self.logs(own, goal)
        return F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)

    def add_gradient(self, own: Tensor, goal: Tensor | None, targets: Tensor, scale: float, into: Tensor) -> Tensor:
        """(p_s − p_t) / T."""
        student, teacher = self.logs(own, goal)
        likely = teacher.exp()
        values: Tensor = torch.linalg.vecdot(likely, teacher.sub_(student))
        into.add_(student.exp_().sub_(likely), alpha=scale / self.temperature)
        return values


TERM = ForwardKL
