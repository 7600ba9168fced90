"""The generalised Jensen–Shannon divergence, between forward and reverse KL."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.terms.kl import Divergence
from sensedict_trainer.distil.terms.term import Rule


@dataclass(frozen=True)
class JensenShannon(Divergence):
    """β · KL(p_t ‖ m) + (1 − β) · KL(p_s ‖ m) with m = β · p_t + (1 − β) · p_s, as GKD has it (Agarwal et al. 2024).

    Attributes:
        beta: β, the teacher's part in the mixture, between 0 and 1.
    """

    beta: float = 0.5

    def rules(self) -> list[Rule]:
        """β between 0 and 1."""
        return [*super().rules(), ("beta", 0 < self.beta < 1, "between 0 and 1; for the ends there are kl and rkl")]

    def values(self, own: Tensor, goal: Tensor | None, targets: Tensor) -> Tensor:
        """The divergence."""
        student, teacher = self.logs(own, goal)
        mixed = torch.logaddexp(teacher + math.log(self.beta), student + math.log1p(-self.beta))
        of_teacher = F.kl_div(mixed, teacher, reduction="none", log_target=True).sum(dim=-1)
        of_student = F.kl_div(mixed, student, reduction="none", log_target=True).sum(dim=-1)
        return self.beta * of_teacher + (1 - self.beta) * of_student


TERM = JensenShannon
