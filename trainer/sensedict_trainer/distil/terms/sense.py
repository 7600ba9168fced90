"""The sense loss (DSKD §4.2), and forms of it that go past the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.terms.term import (
    Chosen,
    Positions,
    Rule,
    StateLoss,
    StateTerm,
    Units,
    mean_per_row,
    squared_distances,
)


@dataclass(frozen=True)
class SenseLoss(StateTerm):
    """λ⁺ · mean over P* of d²(h_s, c) + λ⁻ · mean over N* of max(0, m − d²(h_s, c)); d²(a, b) = ‖a − b‖² / D.

    The hinge is taken per negative, before the mean; a position without positives, or without negatives, gets 0 for
    that part. The defaults are the paper's for Llama-3.

    Attributes:
        positive, negative: λ⁺ and λ⁻.
        margin: m, see `margin_of`.
        margin_of: what the margin is: `fixed`, a distance; `teacher`, of each negative so many times the teacher's own
            distance to it; `quantile`, the distance that this share of the teacher's distances to negatives are below.
        positives: `uniform`, a mean over P*; `weighted`, by softmax(−d²(h_t, c) / sharpness), the teacher's distances.
        sharpness: in units of d².
        distance: `plain`, d²; `spread`, d² by the mean d² of a sense to the mean of all: margins and sharpness then
            carry over between teachers.
    """

    needs_senses: ClassVar[bool] = True

    positive: float = 1.0
    negative: float = 1.0
    margin: float = 1.0
    margin_of: Literal["fixed", "teacher", "quantile"] = "fixed"
    positives: Literal["uniform", "weighted"] = "uniform"
    sharpness: float = 0.3
    distance: Literal["plain", "spread"] = "plain"

    def rules(self) -> list[Rule]:
        """Weights of 0 or more; a quantile from 0 to 1."""
        most = 1.0 if self.margin_of == "quantile" else math.inf
        margin = "from 0 to 1, a share" if self.margin_of == "quantile" else "0 or more"
        return [
            *super().rules(),
            ("positive", 0 <= self.positive < math.inf, "0 or more"),
            ("negative", 0 <= self.negative < math.inf, "0 or more"),
            ("margin", 0 <= self.margin <= most, margin),
            ("margin_of", self.margin_of in ("fixed", "teacher", "quantile"), "fixed, teacher or quantile"),
            ("positives", self.positives in ("uniform", "weighted"), "uniform or weighted"),
            ("sharpness", 0 < self.sharpness < math.inf, "above 0"),
            ("distance", self.distance in ("plain", "spread"), "plain or spread"),
        ]

    @property
    def needs_units(self) -> bool:
        """Whether distances of the dictionary must be measured first."""
        return self.margin_of == "quantile" or self.distance == "spread"

    def loss(self, at: Positions) -> StateLoss:
        """The loss, its two parts, and how many hinges push."""
        assert at.positives is not None and at.negatives is not None  # noqa: PT018 # needs_senses
        unit = at.units.spread if self.distance == "spread" else 1.0
        pulls = self._mean_of_positives(at.student, at.positives, unit)
        some = at.negatives.mask.any(dim=1).nonzero().squeeze(1)  # most positions have no antonyms
        negatives = at.negatives.at(some)
        far = squared_distances(at.student[some], negatives.senses) / unit  # (r, p)
        margin = self._margin(negatives, at.units, unit)
        pushes = mean_per_row(F.relu(margin - far), negatives.mask)
        positive, negative = (values.sum() / max(at.denominator, 1) for values in (pulls, pushes))
        active = int(((far < margin) & negatives.mask).sum())
        return StateLoss(
            total=self.positive * positive + self.negative * negative,
            parts={"positive": float(positive.detach()), "negative": float(negative.detach())},
            shares={"hinge_active": (active, int(negatives.mask.sum()))},
        )

    def _margin(self, negatives: Chosen, units: Units, unit: float) -> Tensor:
        """(r, p) or a number: m of each negative."""
        if self.margin_of == "teacher":
            return self.margin * negatives.distances.masked_fill(~negatives.mask, 0.0) / unit
        m = units.quantile(self.margin) / unit if self.margin_of == "quantile" else self.margin
        return negatives.distances.new_tensor(m)

    def _mean_of_positives(self, student: Tensor, positives: Chosen, unit: float) -> Tensor:
        """(s,) means of d²(h_s, c) with weights that add up to 1; 0 for a row without positives.

        A mean of squared distances is the squared distance to the mean and the spread about it, which is the teacher's
        alone: what is differentiated is (s, D), not (s, p, D).
        """
        with torch.no_grad():
            weights = self._weights(positives, unit).to(student.dtype)  # (s, p)
            senses = positives.senses.to(student.dtype)
            mean = (weights.unsqueeze(1) @ senses).squeeze(1)  # (s, D)
            # From squared lengths, which needs no second (s, p, D): it loses digits, but only of a constant.
            lengths = (weights * torch.linalg.vecdot(senses, senses)).sum(dim=1)
            spread = ((lengths - torch.linalg.vecdot(mean, mean)) / senses.shape[-1]).clamp(min=0)
        distances = ((student - mean).square().mean(dim=-1) + spread) / unit
        return torch.where(positives.mask.any(dim=1), distances, torch.zeros_like(distances))

    def _weights(self, positives: Chosen, unit: float) -> Tensor:
        """(s, p) shares of P*; 0 where masked."""
        if self.positives == "uniform":
            return positives.mask / positives.mask.sum(dim=1, keepdim=True).clamp(min=1)
        scores = (-positives.distances / unit / self.sharpness).masked_fill(~positives.mask, -torch.inf)
        return torch.softmax(scores, dim=1).nan_to_num(0.0)  # a row without positives is all −∞


TERM = SenseLoss
