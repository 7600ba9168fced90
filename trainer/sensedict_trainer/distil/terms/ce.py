"""Cross-entropy of the text's own next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.terms.term import HeadTerm


@dataclass(frozen=True)
class CrossEntropy(HeadTerm):
    """CE(y, p_s) (DSKD §4.1)."""

    needs_teacher: ClassVar[bool] = False

    def values(self, own: Tensor, goal: Tensor | None, targets: Tensor) -> Tensor:
        """−log p_s(y)."""
        return F.cross_entropy(own, targets, reduction="none")

    def add_gradient(self, own: Tensor, goal: Tensor | None, targets: Tensor, scale: float, into: Tensor) -> Tensor:
        """p_s − 1 at the target."""
        logs = torch.log_softmax(own, dim=-1)
        at = targets.unsqueeze(-1)
        values = -logs.gather(1, at).squeeze(-1)
        into.add_(logs.exp_(), alpha=scale)
        into.scatter_add_(1, at, into.new_full(at.shape, -scale))
        return values


TERM = CrossEntropy
