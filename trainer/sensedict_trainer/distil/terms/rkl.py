"""The divergence taken the other way: a student is free to leave out what the teacher finds unlikely."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.terms.kl import Divergence


@dataclass(frozen=True)
class ReverseKL(Divergence):
    """KL(p_s(T) ‖ p_t(T)), as MiniLLM has it (Gu et al. 2024)."""

    def values(self, own: Tensor, goal: Tensor | None, targets: Tensor) -> Tensor:
        """The divergence."""
        student, teacher = self.logs(own, goal)
        return F.kl_div(teacher, student, reduction="none", log_target=True).sum(dim=-1)


TERM = ReverseKL
