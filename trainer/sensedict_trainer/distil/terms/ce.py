"""Cross-entropy of the text's own next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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


TERM = CrossEntropy
