"""One step of training: the losses of a batch, whole or in micro-batches, and what there is to know of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.head import Head, HeadLosses, Weighted, head_losses
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.selection import Selection
from sensedict_trainer.distil.terms.term import NO_TARGET, Chosen, HeadTerm, Positions, StateTerm, Units
from sensedict_trainer.distil.trunk import TeacherStates
from sensedict_trainer.teacher import FrozenHead, Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class BatchLosses:
    """What the micro-batches of a batch add up to; every loss is already divided by the whole batch's positions.

    Attributes:
        terms: `loss`, the weighted sum; each term by its name, before its weight; parts of a term, `sense_positive`.
        counts: of what is counted, how many and of how many: `hinge_active`.
        gradient: norm of each weighted term's gradient at the student's hidden states; empty where it was not asked
            for.
    """

    terms: dict[str, float] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    gradient: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """Add a micro-batch's values."""
        for name, value in values.items():
            self.terms[name] = self.terms.get(name, 0.0) + value

    def count(self, shares: Mapping[str, tuple[int, int]]) -> None:
        """Add what a micro-batch counted."""
        for name, (some, all_) in shares.items():
            before = self.counts.get(name, (0, 0))
            self.counts[name] = (before[0] + some, before[1] + all_)


@dataclass(frozen=True)
class Denominators:
    """Positions of a whole batch, in all processes, that the losses are means over.

    Attributes:
        positions: with a next token; sampled: those that the draw chose.
        learned: whose next token cross-entropy counts; None for all that have one.
    """

    positions: int
    sampled: int
    learned: int | None = None

    def of(self, term: HeadTerm) -> int:
        """Positions that a term of the head counts."""
        return self.positions if self.learned is None or not term.of_text else self.learned


@dataclass(frozen=True)
class Stepper:
    """Computes losses and leaves gradients in the student's trained layers.

    Attributes:
        student, tail: the student, and its last layers as a module.
        cache: sense vectors on the device; None where no term compares with senses.
        units: the dictionary's own distances.
    """

    recipe: Recipe
    teacher: Teacher
    student: PreTrainedModel
    tail: nn.Module
    cache: SenseCache | None
    units: Units = field(default_factory=Units)

    def backward(
        self,
        states: TeacherStates,
        selections: Sequence[Selection],
        denominators: Denominators,
        losses: BatchLosses,
        share: float,
        measure: bool,
        learned: Tensor | None = None,
        scale: float = 1.0,
    ) -> None:
        """Leave the gradient of a micro-batch in the student, and its values in `losses`.

        Args:
            states: of the micro-batch, from the trunk.
            selections: of its sequences, in order; empty where no term is sampled.
            share: of the run that is done, from 0 to 1, for weights with a schedule.
            measure: also take the norm of each term's gradient, which costs further passes through the head.
            learned: (B, T) bool, tokens whose prediction cross-entropy counts; None for all.
            scale: of the gradient that is left, for float16 and for a mean over processes.
        """
        with self.teacher.mixed():
            hidden = self.tail(states.entering, states.mask, states.layout.positions)  # (B, T, D)
        with_target = states.layout.has_target
        own, goal = hidden[:, :-1][with_target], states.hidden[:, :-1][with_target]  # (n, D)
        ids = states.ids if learned is None else states.ids.masked_fill(~learned, NO_TARGET)
        head = self._head(own, goal, states.head, ids[:, 1:][with_target], denominators, share, measure, scale)
        losses.add(head.values)
        pulls: dict[str, Tensor] = {}
        sampled = self._sampled(hidden, states, selections, denominators) if selections else None
        for name, term in self.recipe.active.items():
            if isinstance(term, StateTerm):
                at = Positions(own.float(), goal.float(), denominators.positions) if term.everywhere else sampled
                assert at is not None  # a term that is sampled comes with selections
                found = term.loss(at)
                losses.add({name: float(found.total.detach())})
                losses.add({f"{name}_{part}": value for part, value in found.parts.items()})
                losses.count(found.shares)
                pulls[name] = term.weight_at(share) * found.total
        total = torch.stack([head.total.float(), *(scale * pull.float() for pull in pulls.values())]).sum()
        losses.add({"loss": float(total.detach()) / scale})
        if measure:
            of_states = {n: torch.autograd.grad(pull, hidden, retain_graph=True)[0] for n, pull in pulls.items()}
            losses.gradient = {name: float(g.float().norm()) / scale for name, g in head.gradients.items()}
            losses.gradient |= {name: float(g.norm()) for name, g in of_states.items()}
        torch.autograd.backward(total)

    def _head(
        self,
        own: Tensor,
        goal: Tensor,
        goal_head: Head,
        targets: Tensor,
        denominators: Denominators,
        share: float,
        measure: bool,
        scale: float,
    ) -> HeadLosses:
        weighted = {}
        for name, term in self.recipe.active.items():
            if isinstance(term, HeadTerm):
                positions = max(denominators.of(term), 1)
                weighted[name] = Weighted(term, scale * term.weight_at(share) * term.factor / positions, positions)
        if not weighted:
            return HeadLosses(own.new_zeros(()), {}, {})
        return head_losses(
            own,
            goal,
            targets,
            student_head=FrozenHead(self.student),
            teacher_head=goal_head,
            terms=weighted,
            measure=measure,
        )

    def _sampled(
        self, hidden: Tensor, states: TeacherStates, selections: Sequence[Selection], denominators: Denominators
    ) -> Positions:
        """The sampled positions, with their senses where some term compares with them."""
        device = hidden.device
        places = np.array([place[:2] for place in states.layout.places])  # each window's row and first column
        places = np.repeat(places, [len(chosen.positions) for chosen in selections], axis=0)
        rows, columns = places[:, 0], places[:, 1] + np.concatenate([chosen.positions for chosen in selections])
        at = (torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device))
        student, teacher = hidden[at].float(), states.hidden[at].float()  # (s, D)
        if self.cache is None:
            return Positions(student, teacher, denominators.sampled)
        positives = _chosen(self.cache, [s.positives for s in selections], [s.positive_distances for s in selections])
        negatives = _chosen(self.cache, [s.negatives for s in selections], [s.negative_distances for s in selections])
        return Positions(student, teacher, denominators.sampled, positives, negatives, self.units)


def gradient_shares(losses: BatchLosses) -> Mapping[str, float]:
    """Each term's part of the sum of the norms of all terms' gradients; empty where that is 0 or no number."""
    whole = sum(losses.gradient.values())
    return {name: norm / whole for name, norm in losses.gradient.items()} if 0 < whole < math.inf else {}


def _chosen(cache: SenseCache, ids: Sequence[NDArray[np.int64]], distances: Sequence[NDArray[np.float32]]) -> Chosen:
    """Chosen sense ids, −1 for an empty place, with their vectors."""
    joined = np.concatenate(ids)
    device = cache.table.device
    rows = torch.from_numpy(cache.rows(joined)).to(device)
    return Chosen(
        senses=F.embedding(rows, cache.table).float(),  # quicker than an index
        mask=torch.from_numpy(joined >= 0).to(device),
        distances=torch.from_numpy(np.concatenate(distances)).to(device),
    )
