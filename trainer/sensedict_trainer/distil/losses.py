"""The losses of DSKD §4, as functions of hidden states; each is a sum over positions divided by `denominator`.

The denominator is a whole batch's: a batch cut into micro-batches, or padded, then gives the same loss and gradient.
Without any position a loss is 0, and so is its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Distillation:
    """L_KD and its parts (DSKD §4.1).

    Attributes:
        total: CE + α · T² · KL, differentiable.
        cross_entropy: nats, of the text's next token.
        kl: nats, KL(teacher ‖ student) at temperature T, before the factor α · T².
    """

    total: Tensor
    cross_entropy: Tensor
    kl: Tensor


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    student_head: Head,
    teacher_head: Head,
    alpha: float,
    temperature: float,
    denominator: int,
    rows: int,
) -> Distillation:
    """CE(y, p_s) + α · T² · KL(p_t(T) ‖ p_s(T)), from hidden states, never holding more than `rows` × V logits.

    The heads are frozen: they get no gradient. The gradient of the hidden states is worked out chunk by chunk in the
    forward pass, so nothing of the size of the logits is kept for the backward pass.

    Args:
        student: (n, D) hidden states that the student's head reads.
        teacher: (n, D), the teacher's.
        targets: (n,) int64, next tokens.
        student_head, teacher_head: (c, D) to (c, V).
        alpha: weight of the KL; with 0 the teacher's logits are not computed.
        temperature: T.
        denominator: positions of the whole batch.
        rows: positions whose logits are held at once.
    """
    total, cross_entropy, kl = _Distillation.apply(  # type: ignore[no-untyped-call]
        student, teacher, targets, student_head, teacher_head, alpha, temperature, max(denominator, 1), rows
    )
    return Distillation(total, cross_entropy, kl)


class _Distillation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        targets: Tensor,
        student_head: Head,
        teacher_head: Head,
        alpha: float,
        temperature: float,
        denominator: int,
        rows: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradient = torch.zeros_like(student)
        wide = torch.float64 if student.dtype == torch.float64 else torch.float32
        cross_entropy = torch.zeros((), dtype=wide, device=student.device)
        kl = torch.zeros_like(cross_entropy)
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            with torch.enable_grad():
                states = student[part].detach().requires_grad_()
                logits = student_head(states).to(wide)
                part_ce = F.cross_entropy(logits, targets[part], reduction="sum")
                part_kl = torch.zeros_like(part_ce)
                if alpha:
                    with torch.no_grad():
                        goal = F.log_softmax(teacher_head(teacher[part]).to(wide) / temperature, dim=-1)
                    own = F.log_softmax(logits / temperature, dim=-1)
                    part_kl = F.kl_div(own, goal, reduction="sum", log_target=True)
                combined = part_ce + alpha * temperature**2 * part_kl
                (gradient[part],) = torch.autograd.grad(combined, states)
            cross_entropy += part_ce.detach()
            kl += part_kl.detach()
        ctx.save_for_backward(gradient / denominator)
        cross_entropy, kl = cross_entropy / denominator, kl / denominator
        ctx.mark_non_differentiable(cross_entropy, kl)
        return cross_entropy + alpha * temperature**2 * kl, cross_entropy, kl

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (saved,) = ctx.saved_tensors
        return (gradients[0].to(saved.dtype) * saved, *([None] * 8))


@dataclass(frozen=True)
class SenseLoss:
    """The sense loss and its parts (DSKD §4.2).

    Attributes:
        total: λ⁺ · positive + λ⁻ · negative, differentiable.
        positive: mean over positions of the mean d² to the positives.
        negative: mean over positions of the mean hinge of the negatives.
        active: negatives nearer than the margin; negatives: all of them.
    """

    total: Tensor
    positive: Tensor
    negative: Tensor
    active: int
    negatives: int


def sense_loss(
    student: Tensor,
    positives: Tensor,
    positive_mask: Tensor,
    negatives: Tensor,
    negative_mask: Tensor,
    lambda_positive: float,
    lambda_negative: float,
    margin: float,
    denominator: int,
) -> SenseLoss:
    """λ⁺ · mean over P* of d²(h_s, c) + λ⁻ · mean over N* of max(0, m − d²(h_s, c)); d²(a, b) = ‖a − b‖² / D.

    The hinge is taken per negative, before the mean; a position without positives, or without negatives, gets 0 for
    that part.

    Args:
        student: (n, D) hidden states at sampled positions.
        positives: (n, p, D) senses P*; positive_mask: (n, p) bool, False where a place is empty.
        negatives: (n, p, D) senses N*; negative_mask: (n, p) bool.
        margin: m, in units of d².
        denominator: sampled positions of the whole batch.
    """
    near = _squared_distances(student, positives)  # (n, p)
    far = _squared_distances(student, negatives)
    hinge = F.relu(margin - far)
    positive = _mean_per_row(near, positive_mask).sum() / max(denominator, 1)
    negative = _mean_per_row(hinge, negative_mask).sum() / max(denominator, 1)
    return SenseLoss(
        total=lambda_positive * positive + lambda_negative * negative,
        positive=positive.detach(),
        negative=negative.detach(),
        active=int(((far < margin) & negative_mask).sum()),
        negatives=int(negative_mask.sum()),
    )


def state_loss(student: Tensor, teacher: Tensor, denominator: int) -> Tensor:
    """Mean of d²(h_s, h_t) over sampled positions: the control that has no dictionary.

    Args:
        student, teacher: (n, D) hidden states at the same sampled positions.
        denominator: sampled positions of the whole batch.
    """
    return _squared_distances(student, teacher.unsqueeze(1)).sum() / max(denominator, 1)


def _squared_distances(states: Tensor, senses: Tensor) -> Tensor:
    """(n, p) d² of states (n, D) to senses (n, p, D)."""
    return (states.unsqueeze(1) - senses.to(states.dtype)).square().mean(dim=-1)


def _mean_per_row(values: Tensor, mask: Tensor) -> Tensor:
    """(n,) means over the places that count; 0 for a row without any."""
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
