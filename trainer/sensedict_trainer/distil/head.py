"""Losses of next-token distributions, from hidden states, through frozen heads and a few rows of logits at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sensedict_trainer.distil.terms.term import HeadTerm

# Numbers of logits held at once, 32 MiB in float32: for each head one product that is large enough to be quick …
_PRODUCT = 1 << 23
# … and for the softmaxes, which need several copies, a row or a few of it, 1 MiB, that stay in a CPU's cache.
_SOFTMAX = 1 << 18


class Head(Protocol):
    """A frozen output head in two steps: a product with the vocabulary's weights, and what is done to its numbers."""

    @property
    def vocabulary_size(self) -> int:
        """V."""
        ...

    @property
    def plain(self) -> bool:
        """Whether nothing is done to the product: it is the logits."""
        ...

    def product(self, hidden: Tensor) -> Tensor:
        """(c, V) of hidden states (c, D)."""
        ...

    def shape(self, product: Tensor) -> Tensor:
        """(c, V) logits: scaled, capped."""
        ...


@dataclass(frozen=True)
class Weighted:
    """A term, and what its sum over positions is multiplied by: λ · factor / positions of the whole batch."""

    term: HeadTerm
    scale: float
    denominator: int


Terms = Mapping[str, Weighted]


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
    terms: Terms,
    measure: bool = False,
    product: int = _PRODUCT,
    softmax: int = _SOFTMAX,
) -> HeadLosses:
    """The weighted sum of some terms, never holding the logits of all positions.

    The heads are frozen: they get no gradient. The gradient of the hidden states is worked out chunk by chunk with the
    loss, so nothing of the size of the logits is kept for the backward pass.

    Args:
        student: (n, D) hidden states that the student's head reads.
        teacher: (n, D), the teacher's.
        targets: (n,) int64, next tokens.
        measure: also give each term's own gradient, which costs a product with the head for each term but one.
        product, softmax: numbers of logits held at once, in a product and in a softmax.
    """
    work = _Work(student.detach(), teacher, targets, student_head, teacher_head, product, softmax)
    sums = {name: work.zero() for name in terms}
    if measure:
        gradients = {name: torch.zeros_like(work.student) for name in terms}
        work.run([{name: weighted} for name, weighted in terms.items()], [*gradients.values()], sums)
        gradient = torch.stack([*gradients.values()]).sum(dim=0)
    else:
        gradients = {}
        gradient = torch.zeros_like(work.student)
        work.run([terms], [gradient], sums)
    value = torch.stack([sums[name] * weighted.scale for name, weighted in terms.items()]).sum()
    total: Tensor = _Known.apply(student, gradient, value)  # type: ignore[no-untyped-call]
    values = {name: float(sums[name]) / max(weighted.denominator, 1) for name, weighted in terms.items()}
    return HeadLosses(total, values, gradients)


class _Known(torch.autograd.Function):
    """A value whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (saved,) = ctx.saved_tensors
        return (gradients[0].to(saved.dtype) * saved, None, None)


@dataclass(frozen=True)
class _Work:
    student: Tensor
    teacher: Tensor
    targets: Tensor
    student_head: Head
    teacher_head: Head
    product: int
    softmax: int

    @property
    def wide(self) -> torch.dtype:
        """Of softmaxes and sums."""
        return torch.float64 if self.student.dtype == torch.float64 else torch.float32

    def zero(self) -> Tensor:
        """A sum of nothing yet."""
        return torch.zeros((), dtype=self.wide, device=self.student.device)

    def run(self, apart: Sequence[Terms], gradients: Sequence[Tensor], sums: dict[str, Tensor]) -> None:
        """Put each set's gradient at the student's states into its (n, D) tensor; add terms' values to their sums."""
        rows = max(1, self.product // self.student_head.vocabulary_size)
        for start in range(0, len(self.targets), rows):
            self._chunk(slice(start, start + rows), apart, gradients, sums)

    def _chunk(self, part: slice, apart: Sequence[Terms], gradients: Sequence[Tensor], sums: dict[str, Tensor]) -> None:
        """A chunk of `run`; its logits are gone when it returns, before the next ones are made."""
        states = self.student[part].requires_grad_()
        with torch.enable_grad():
            logits = self.student_head.product(states)  # (c, V)
        needs_teacher = any(weighted.term.needs_teacher for terms in apart for weighted in terms.values())
        with torch.no_grad():
            goals = self.teacher_head.product(self.teacher[part]) if needs_teacher else None
        for terms, gradient in zip(apart, gradients, strict=True):
            last = terms is apart[-1]
            place = logits.detach() if last else logits.detach().clone()
            self._to_gradient(place, goals, part, terms, sums)
            (gradient[part],) = torch.autograd.grad(logits, states, place, retain_graph=not last)

    @torch.no_grad()
    def _to_gradient(
        self, logits: Tensor, goals: Tensor | None, part: slice, terms: Terms, sums: dict[str, Tensor]
    ) -> None:
        """Put the gradient of the weighted terms in the place of the student's logits (c, V), and add up values."""
        targets = self.targets[part]
        rows = max(1, self.softmax // logits.shape[1])
        for start in range(0, len(logits), rows):
            block = slice(start, start + rows)
            raw = logits[block].to(self.wide)
            own = raw
            if not self.student_head.plain:
                with torch.enable_grad():
                    raw = raw.detach().clone().requires_grad_()
                    own = self.student_head.shape(raw)
            goal = None if goals is None else self.teacher_head.shape(goals[block].to(self.wide))
            into = torch.zeros_like(own)
            for name, weighted in terms.items():
                values = weighted.term.add_gradient(own.detach(), goal, targets[block], weighted.scale, into)
                sums[name] += values.sum()
            if not self.student_head.plain:
                (into,) = torch.autograd.grad(own, raw, into)
            logits[block] = into
