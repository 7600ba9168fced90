"""A form of the sense loss without a margin: the student is to stand among the senses as the teacher does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sensedict_trainer.distil.terms.term import Positions, Rule, StateLoss, StateTerm, squared_distances


@dataclass(frozen=True)
class Assignment(StateTerm):
    """τ · KL(q_t ‖ q_s) of soft assignments to the chosen senses, q(c) ∝ exp(−d²(h, c) / τ) over c in P* ∪ N*.

    It asks for the distances' differences alone, so that it says nothing of how far all senses are. As a sum over
    senses it pulls to a positive that the teacher is nearer to, and pushes from one that it is farther from. Times τ,
    its gradient at a distance is q_t − q_s.

    Attributes:
        sharpness: τ, in units of d².
    """

    needs_senses: ClassVar[bool] = True

    sharpness: float = 0.3

    def rules(self) -> list[Rule]:
        """τ above 0."""
        return [*super().rules(), ("sharpness", 0 < self.sharpness < math.inf, "above 0")]

    def loss(self, at: Positions) -> StateLoss:
        """The divergence; 0 at a position without senses."""
        assert at.positives is not None and at.negatives is not None  # noqa: PT018 # needs_senses
        chosen = (at.positives, at.negatives)
        mask = torch.cat([one.mask for one in chosen], dim=1)  # (s, 2p)
        own = torch.cat([squared_distances(at.student, one.senses) for one in chosen], dim=1)
        goal = torch.cat([one.distances for one in chosen], dim=1)
        student, teacher = self._logs(own, mask), self._logs(goal, mask)
        values = (teacher.exp() * (teacher - student)).masked_fill(~mask, 0.0).sum(dim=1)
        return StateLoss(self.sharpness * values.sum() / max(at.denominator, 1))

    def _logs(self, distances: Tensor, mask: Tensor) -> Tensor:
        """(s, 2p) log q; what is masked has next to no part in it, and a row without senses stays finite."""
        lowest = torch.finfo(distances.dtype).min
        scores = (distances / -self.sharpness).masked_fill(~mask, lowest)
        return torch.log_softmax(scores, dim=1)


TERM = Assignment
