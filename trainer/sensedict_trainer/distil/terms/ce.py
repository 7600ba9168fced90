"""Cross-entropy of the text's own next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.terms.term import NO_TARGET, HeadTerm


@dataclass(frozen=True)
class CrossEntropy(HeadTerm):
    """CE(y, p_s) (DSKD §4.1); 0 where the target is `NO_TARGET`."""

    needs_teacher: ClassVar[bool] = False
    of_text: ClassVar[bool] = True

    def values(self, own: Tensor, goal: Tensor | None, targets: Tensor) -> Tensor:
        """−log p_s(y)."""
        return F.cross_entropy(own, targets, reduction="none", ignore_index=NO_TARGET)

    def add_gradient(self, own: Tensor, goal: Tensor | None, targets: Tensor, scale: float, into: Tensor) -> Tensor:
        """p_s − 1 at the target."""
        logs = torch.log_softmax(own, dim=-1)
        counts = (targets != NO_TARGET).unsqueeze(-1)  # (c, 1)
        at = targets.unsqueeze(-1).clamp(min=0)
        values = -(logs.gather(1, at) * counts).squeeze(-1)
        into.addcmul_(logs.exp_(), counts.to(into.dtype), value=scale)
        into.scatter_add_(1, at, -scale * counts.to(into.dtype))
        return values


TERM = CrossEntropy
