"""The pull to the teacher's own states: the control of the sense loss that has no dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sensedict_trainer.distil.terms.term import Positions, Rule, StateLoss, StateTerm, squared_distances


@dataclass(frozen=True)
class StateDistance(StateTerm):
    """Mean of d²(h_s, h_t).

    Attributes:
        positions: `sampled`, where the sense loss would apply, which takes a dictionary; or `all`.
    """

    positions: Literal["sampled", "all"] = "sampled"

    @property
    def everywhere(self) -> bool:
        """Whether it applies at every position."""
        return self.positions == "all"

    def rules(self) -> list[Rule]:
        """Where it applies."""
        return [*super().rules(), ("positions", self.positions in ("sampled", "all"), "sampled or all")]

    def loss(self, at: Positions) -> StateLoss:
        """The mean distance."""
        near = squared_distances(at.student, at.teacher.unsqueeze(1))
        return StateLoss(near.sum() / max(at.denominator, 1))


TERM = StateDistance
