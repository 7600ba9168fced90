"""Losses of next-token distributions, from hidden states, through frozen heads and a few rows of logits at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensedict_trainer.distil.terms.term import HeadTerm

Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Weighted:
    """A term, and what its sum over positions is multiplied by: λ · factor / positions of the whole batch."""

    term: HeadTerm
    scale: float
    denominator: int


@dataclass(frozen=True)
class HeadLosses:
    """What the terms come to.

    Attributes:
        total: their sum with their weights, differentiable.
        values: mean of each over its positions, before weight and factor.
        gradients: (n, D) of each weighted term at the student's states; empty where it was not asked for.
    """

    total: Tensor
    values: Mapping[str, float]
    gradients: Mapping[str, Tensor]


def head_losses(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    student_head: Head,
    teacher_head: Head,
    terms: Mapping[str, Weighted],
    rows: int,
    measure: bool = False,
) -> HeadLosses:
    """The weighted sum of some terms, never holding more than `rows` × V logits of a head.

    The heads are frozen: they get no gradient. The gradient of the hidden states is worked out chunk by chunk in the
    forward pass, so nothing of the size of the logits is kept for the backward pass.

    Args:
        student: (n, D) hidden states that the student's head reads.
        teacher: (n, D), the teacher's.
        targets: (n,) int64, next tokens.
        student_head, teacher_head: (c, D) to (c, V).
        rows: positions whose logits are held at once.
        measure: also give each term's own gradient, which costs a pass through the head a term.
    """
    work = _Work(targets, student_head, teacher_head, terms, rows, measure)
    total: Tensor = _Head.apply(student, teacher, work)  # type: ignore[no-untyped-call]
    values = {name: float(work.sums[name]) / max(w.denominator, 1) for name, w in terms.items()}
    return HeadLosses(total, values, work.gradients)


@dataclass
class _Work:
    """What one call needs, and what it leaves beside the total."""

    targets: Tensor
    student_head: Head
    teacher_head: Head
    terms: Mapping[str, Weighted]
    rows: int
    measure: bool

    def __post_init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, work: _Work) -> Tensor:
        gradient = torch.zeros_like(student)
        wide = torch.float64 if student.dtype == torch.float64 else torch.float32
        sums = {name: torch.zeros((), dtype=wide, device=student.device) for name in work.terms}
        own = {name: torch.zeros_like(student) for name in work.terms} if work.measure else {}
        for start in range(0, len(work.targets), work.rows):
            part = slice(start, start + work.rows)
            with torch.enable_grad():
                states = student[part].detach().requires_grad_()
                values = _values(states, teacher[part], work.targets[part], work, wide)
                scaled = {name: value * work.terms[name].scale for name, value in values.items()}
                for name in own:
                    (own[name][part],) = torch.autograd.grad(scaled[name], states, retain_graph=True)
                (gradient[part],) = torch.autograd.grad(torch.stack([*scaled.values()]).sum(), states)
            for name, value in values.items():
                sums[name] += value.detach()
        ctx.save_for_backward(gradient)
        work.sums, work.gradients = sums, own
        return torch.stack([sums[name] * weighted.scale for name, weighted in work.terms.items()]).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (saved,) = ctx.saved_tensors
        return (gradients[0].to(saved.dtype) * saved, None, None)


def _values(states: Tensor, teacher: Tensor, targets: Tensor, work: _Work, wide: torch.dtype) -> dict[str, Tensor]:
    """The sum of each term over the positions of a chunk."""
    logits = work.student_head(states).to(wide)
    goal = None
    if any(weighted.term.needs_teacher for weighted in work.terms.values()):
        with torch.no_grad():
            goal = work.teacher_head(teacher).to(wide)
    return {name: weighted.term.values(logits, goal, targets).sum() for name, weighted in work.terms.items()}
