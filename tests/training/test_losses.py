"""The losses against plain loops in float64, values and gradients; cut into micro-batches; without any position."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.head import HeadLosses, Weighted, head_losses
from sensedict_trainer.distil.objective import kinds, term_names
from sensedict_trainer.distil.terms.assignment import Assignment
from sensedict_trainer.distil.terms.ce import CrossEntropy
from sensedict_trainer.distil.terms.jsd import JensenShannon
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.terms.mse import StateDistance
from sensedict_trainer.distil.terms.rkl import ReverseKL
from sensedict_trainer.distil.terms.sense import SenseLoss
from sensedict_trainer.distil.terms.term import Chosen, HeadTerm, Positions, StateLoss, Term, Units

N, D, V = 7, 6, 11


@pytest.fixture
def case() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {
        "student": torch.randn(N, D, dtype=torch.float64),
        "teacher": torch.randn(N, D, dtype=torch.float64),
        "weight": torch.randn(V, D, dtype=torch.float64),
        "teacher_weight": torch.randn(V, D, dtype=torch.float64),
        "targets": torch.randint(V, (N,)),
        "positives": torch.randn(N, 3, D, dtype=torch.float64),
        "positive_mask": torch.tensor([[1, 1, 1]] * 4 + [[1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool),
        "negatives": torch.randn(N, 3, D, dtype=torch.float64) * 0.7,
        "negative_mask": torch.tensor([[1, 1, 1], [0, 0, 0]] * 3 + [[1, 0, 0]], dtype=torch.bool),
    }


def loop_of_distillation(case: dict[str, Tensor], states: Tensor, alpha: float, temperature: float) -> Tensor:
    """CE + α · T² · KL written out, position by position and token by token."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        logits = [(case["weight"][v] * states[i]).sum() for v in range(V)]
        goal = [float((case["teacher_weight"][v] * case["teacher"][i]).sum()) for v in range(V)]
        log_norm = torch.log(sum(torch.exp(x) for x in logits))
        total = total - (logits[int(case["targets"][i])] - log_norm)
        own_norm = torch.log(sum(torch.exp(x / temperature) for x in logits))
        goal_norm = math.log(sum(math.exp(x / temperature) for x in goal))
        for v in range(V):
            log_goal = goal[v] / temperature - goal_norm
            log_own = logits[v] / temperature - own_norm
            total = total + alpha * temperature**2 * math.exp(log_goal) * (log_goal - log_own)
    return total / N


@dataclass(frozen=True)
class MadeHead:
    """A head that may cap its logits."""

    weight: Tensor
    cap: float | None = None
    vocabulary_size: int = V

    @property
    def plain(self) -> bool:
        return self.cap is None

    def product(self, hidden: Tensor) -> Tensor:
        return hidden @ self.weight.T

    def shape(self, product: Tensor) -> Tensor:
        return product if self.cap is None else torch.tanh(product / self.cap) * self.cap


def heads(case: dict[str, Tensor]) -> tuple[MadeHead, MadeHead]:
    return MadeHead(case["weight"]), MadeHead(case["teacher_weight"])


def distil(
    case: dict[str, Tensor], states: Tensor, alpha: float, temperature: float, rows: int, part: slice = slice(None)
) -> HeadLosses:
    kl = ForwardKL(weight=alpha, temperature=temperature)
    return head_losses(
        states[part],
        case["teacher"][part],
        case["targets"][part],
        *heads(case),
        {"ce": Weighted(CrossEntropy(), 1 / N, N), "kl": Weighted(kl, alpha * kl.factor / N, N)},
        product=rows * V,
        softmax=2 * V,
    )


@pytest.mark.parametrize(("alpha", "temperature"), [(1.0, 1.0), (1.0, 2.0), (0.5, 3.0), (0.0, 1.0)])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_distillation_is_the_written_out_loop(
    case: dict[str, Tensor], alpha: float, temperature: float, rows: int
) -> None:
    states = case["student"].clone().requires_grad_()
    loss = distil(case, states, alpha, temperature, rows)
    loss.total.backward()
    reference = case["student"].clone().requires_grad_()
    expected = loop_of_distillation(case, reference, alpha, temperature)
    expected.backward()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(states.grad, reference.grad)
    total = loss.values["ce"] + alpha * temperature**2 * loss.values["kl"]
    assert float(loss.total.detach()) == pytest.approx(total)
    if alpha:
        own = F.log_softmax(case["student"] @ case["weight"].T / temperature, dim=-1)
        goal = F.log_softmax(case["teacher"] @ case["teacher_weight"].T / temperature, dim=-1)
        kl = F.kl_div(own, goal, log_target=True, reduction="batchmean")
        assert loss.values["kl"] == pytest.approx(float(kl))


def loop_of_senses(case: dict[str, Tensor], states: Tensor, lambdas: tuple[float, float], margin: float) -> Tensor:
    """The sense loss written out, sense by sense and dimension by dimension."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        for name, weight in (("positive", lambdas[0]), ("negative", lambdas[1])):
            terms = []
            for j in range(3):
                if case[f"{name}_mask"][i, j]:
                    d2 = sum((states[i, d] - case[f"{name}s"][i, j, d]) ** 2 for d in range(D)) / D
                    terms.append(d2 if name == "positive" else torch.clamp(margin - d2, min=0))
            if terms:
                total = total + weight * sum(terms) / len(terms)
    return total / N


def chosen(senses: Tensor, mask: Tensor, teacher: Tensor) -> Chosen:
    distances = (teacher.unsqueeze(1) - senses).square().mean(dim=-1).masked_fill(~mask, math.inf)
    return Chosen(senses, mask, distances)


def positions(case: dict[str, Tensor], states: Tensor, part: slice = slice(None)) -> Positions:
    teacher = case["teacher"][part]
    kinds = [chosen(case[f"{n}s"][part], case[f"{n}_mask"][part], teacher) for n in ("positive", "negative")]
    return Positions(states[part], teacher, N, *kinds)


def sense(case: dict[str, Tensor], states: Tensor, part: slice = slice(None), margin: float = 1.2) -> StateLoss:
    return SenseLoss(positive=1.0, negative=1.5, margin=margin).loss(positions(case, states, part))


def state_loss(student: Tensor, teacher: Tensor, denominator: int) -> Tensor:
    return StateDistance().loss(Positions(student, teacher, denominator)).total


def test_sense_loss_is_the_written_out_loop(case: dict[str, Tensor]) -> None:
    states = case["student"].clone().requires_grad_()
    loss = sense(case, states)
    loss.total.backward()
    reference = case["student"].clone().requires_grad_()
    expected = loop_of_senses(case, reference, (1.0, 1.5), 1.2)
    expected.backward()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(states.grad, reference.grad)
    active, negatives = loss.shares["hinge_active"]
    assert negatives == int(case["negative_mask"].sum())
    assert 0 < active < negatives  # else the hinge is not tried on both sides


def test_the_hinge_is_per_negative_before_the_mean() -> None:
    states = torch.zeros(1, 2, dtype=torch.float64)
    negatives = torch.tensor([[[0.0, 0.0], [4.0, 0.0]]], dtype=torch.float64)  # d² 0 and 8: mean 4 is beyond the margin
    both = torch.ones(1, 2, dtype=torch.bool)
    kinds = chosen(negatives, ~both, states), chosen(negatives, both, states)
    loss = SenseLoss().loss(Positions(states, states, 1, *kinds))
    assert loss.parts["negative"] == 0.5
    assert loss.shares["hinge_active"] == (1, 2)


def test_micro_batches_and_padding_change_nothing(case: dict[str, Tensor]) -> None:
    whole = case["student"].clone().requires_grad_()
    together = distil(case, whole, 1.0, 2.0, 3).total + sense(case, whole).total
    together = together + state_loss(whole, case["teacher"], N)
    together.backward()
    cut = case["student"].clone().requires_grad_()
    total = 0.0
    for part in (slice(0, 1), slice(1, 5), slice(5, 5), slice(5, 7)):
        loss = distil(case, cut, 1.0, 2.0, 3, part).total + sense(case, cut, part).total
        loss = loss + state_loss(cut[part], case["teacher"][part], N)
        loss.backward()
        total += float(loss.detach())
    torch.testing.assert_close(cut.grad, whole.grad)
    assert total == pytest.approx(float(together.detach()), rel=1e-12)
    padded = dict(case)
    for name in ("positives", "negatives"):  # what stands in an empty place is of no matter
        padded[name] = torch.where(
            case[f"{name[:-1]}_mask"].unsqueeze(-1), case[name], torch.full_like(case[name], 1e4)
        )
    torch.testing.assert_close(sense(padded, case["student"]).total, sense(case, case["student"]).total)


def test_no_position_gives_zero_and_no_gradient(case: dict[str, Tensor]) -> None:
    states = case["student"].clone().requires_grad_()
    nothing = slice(0, 0)
    loss = distil(case, states, 1.0, 2.0, 3, nothing).total + sense(case, states, nothing).total
    loss = loss + state_loss(states[nothing], case["teacher"][nothing], 0)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert states.grad is not None
    assert not states.grad.any()


def test_all_masked_gives_zero_and_no_gradient(case: dict[str, Tensor]) -> None:
    states = case["student"].clone().requires_grad_()
    empty = torch.zeros(N, 3, dtype=torch.bool)
    kinds = [chosen(case[name], empty, case["teacher"]) for name in ("positives", "negatives")]
    loss = SenseLoss().loss(Positions(states, case["teacher"], N, *kinds))
    loss.total.backward()
    assert float(loss.total.detach()) == 0.0
    assert states.grad is not None
    assert not states.grad.any()


def test_the_state_loss_is_d_squared(case: dict[str, Tensor]) -> None:
    expected = np.mean(
        [np.sum((s - t) ** 2) / D for s, t in zip(*(case[n].numpy() for n in ("student", "teacher")), strict=True)]
    )
    assert float(state_loss(case["student"], case["teacher"], N)) == pytest.approx(expected, rel=1e-12)


def test_large_distances_do_not_overflow() -> None:
    states = torch.full((1, 4), 3e4)
    mask = torch.ones(1, 1, dtype=torch.bool)
    senses = torch.full((1, 1, 4), -3e4, dtype=torch.float16)
    both = chosen(senses, mask, states)
    loss = SenseLoss().loss(Positions(states, states, 1, both, both))
    assert math.isfinite(float(loss.total))


@pytest.mark.parametrize("term", [ReverseKL(temperature=2.0), JensenShannon(temperature=1.5, beta=0.3)])
def test_other_divergences_are_their_definitions(case: dict[str, Tensor], term: HeadTerm) -> None:
    own, goal = case["student"] @ case["weight"].T, case["teacher"] @ case["teacher_weight"].T
    t = math.sqrt(term.factor)
    p, q = torch.softmax(goal / t, dim=-1), torch.softmax(own / t, dim=-1)
    if isinstance(term, JensenShannon):
        m = term.beta * p + (1 - term.beta) * q
        expected = (term.beta * p * (p / m).log() + (1 - term.beta) * q * (q / m).log()).sum(-1)
    else:
        expected = (q * (q / p).log()).sum(-1)
    torch.testing.assert_close(term.values(own, goal, case["targets"]), expected)


def test_gradients_by_term_add_up(case: dict[str, Tensor]) -> None:
    states = case["student"].clone().requires_grad_()
    terms = {"ce": Weighted(CrossEntropy(), 1 / N, N), "kl": Weighted(ForwardKL(), 4 / N, N)}
    loss = head_losses(states, case["teacher"], case["targets"], *heads(case), terms, measure=True, product=3 * V)
    loss.total.backward()
    torch.testing.assert_close(states.grad, loss.gradients["ce"] + loss.gradients["kl"])


def test_the_teachers_margin_is_its_distance_to_each_negative(case: dict[str, Tensor]) -> None:
    term = SenseLoss(positive=0.0, margin_of="teacher", margin=1.0)
    at_teacher = term.loss(positions(case, case["teacher"]))
    assert float(at_teacher.total) == pytest.approx(0.0, abs=1e-12)  # a student at the teacher's place is not pushed
    found = term.loss(positions(case, case["student"]))
    far = [(case[name].unsqueeze(1) - case["negatives"]).square().mean(-1) for name in ("teacher", "student")]
    hinge = torch.relu(far[0] - far[1]) * case["negative_mask"]
    expected = (hinge.sum(1) / case["negative_mask"].sum(1).clamp(min=1)).sum() / N
    torch.testing.assert_close(found.total, expected)


def test_a_quantile_is_a_fixed_margin_and_spread_a_unit(case: dict[str, Tensor]) -> None:
    units = Units(spread=2.0, negative=tuple(i / 50 for i in range(101)))  # 0 to 2
    at = replace(positions(case, case["student"]), units=units)
    fixed = SenseLoss(margin=1.2).loss(at).total
    torch.testing.assert_close(SenseLoss(margin_of="quantile", margin=0.6).loss(at).total, fixed)
    halved = SenseLoss(distance="spread", margin=0.6).loss(at).total
    torch.testing.assert_close(halved, fixed / 2)


def test_weighted_positives_follow_the_teacher(case: dict[str, Tensor]) -> None:
    at = positions(case, case["student"])
    found = SenseLoss(negative=0.0, positives="weighted", sharpness=0.5).loss(at).total
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        mask = case["positive_mask"][i]
        if mask.any():
            senses = case["positives"][i][mask]
            weights = torch.softmax(-(case["teacher"][i] - senses).square().mean(-1) / 0.5, dim=0)
            expected += (weights * (case["student"][i] - senses).square().mean(-1)).sum()
    torch.testing.assert_close(found, expected / N)
    flat = SenseLoss(negative=0.0, positives="weighted", sharpness=1e9).loss(at).total
    torch.testing.assert_close(flat, SenseLoss(negative=0.0).loss(at).total)


def test_assignment_is_the_written_out_divergence(case: dict[str, Tensor]) -> None:
    states = case["student"].clone().requires_grad_()
    found = Assignment(sharpness=0.5).loss(positions(case, states)).total
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        chosen = [case[kind][i][case[f"{kind[:-1]}_mask"][i]] for kind in ("positives", "negatives")]
        senses = torch.cat(chosen)
        if len(senses):
            near, own = ((h[i] - senses).square().mean(-1) for h in (case["teacher"], case["student"]))
            goal, ours = torch.softmax(-near / 0.5, 0), torch.softmax(-own / 0.5, 0)
            expected += 0.5 * (goal * (goal / ours).log()).sum()
    torch.testing.assert_close(found, expected / N)
    found.backward()
    assert states.grad is not None
    assert states.grad.isfinite().all()
    assert not states.grad[5].any()  # a position without senses
    at_teacher = Assignment().loss(positions(case, case["teacher"])).total
    assert float(at_teacher) == pytest.approx(0.0, abs=1e-12)


def test_weights_have_schedules() -> None:
    assert [Term(2.0, "constant").weight_at(s) for s in (0.0, 0.5, 1.0)] == [2.0, 2.0, 2.0]
    assert [Term(2.0, "rise").weight_at(s) for s in (0.0, 0.5, 1.0)] == [0.0, 1.0, 2.0]
    assert [Term(2.0, "fall").weight_at(s) for s in (0.0, 0.5, 1.0)] == [2.0, 1.0, 0.0]


def test_every_file_of_terms_is_a_term() -> None:
    assert sorted(kinds()) == ["assignment", "ce", "jsd", "kl", "mse", "rkl", "sense"]
    assert term_names("ce+rkl + sense") == ("ce", "rkl", "sense")


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("name", ["ce", "kl", "rkl", "jsd"])
def test_every_divergence_has_the_gradient_of_its_plain_form(case: dict[str, Tensor], name: str, cap: float) -> None:
    term = kinds()[name]()
    assert isinstance(term, HeadTerm)
    student, teacher = (MadeHead(case[weight], cap) for weight in ("weight", "teacher_weight"))
    states, plain = (case["student"].clone().requires_grad_() for _ in range(2))
    scale = {name: Weighted(term, 0.7 * term.factor / N, N)}
    inputs = (case["teacher"], case["targets"], student, teacher)
    loss = head_losses(states, *inputs, scale, product=3 * V, softmax=V)
    loss.total.backward()
    goal = teacher.shape(teacher.product(case["teacher"]))
    whole = term.values(student.shape(student.product(plain)), goal, case["targets"]).sum() * scale[name].scale
    whole.backward()
    torch.testing.assert_close(loss.total, whole)
    torch.testing.assert_close(states.grad, plain.grad)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("measure", [False, True])
def test_in_the_precision_of_training_it_is_the_plain_form(
    dtype: torch.dtype, off: float, temperature: float, measure: bool
) -> None:
    """The plain form has the same rounded numbers and is in float32; bfloat16's own share is the product's rounding."""
    n, dim, vocabulary = 48, 32, 1000
    torch.manual_seed(1)
    student, teacher = torch.randn(n, dim).to(dtype), torch.randn(n, dim).to(dtype)
    weights = [(torch.randn(vocabulary, dim) * 0.3).to(dtype) for _ in range(2)]
    targets = torch.randint(vocabulary, (n,))
    states = student.clone().requires_grad_()
    kl = ForwardKL(temperature=temperature)
    terms = {"ce": Weighted(CrossEntropy(), 1 / n, n), "kl": Weighted(kl, kl.factor / n, n)}
    both = [MadeHead(weight, None, vocabulary) for weight in weights]
    found = head_losses(
        states, teacher, targets, *both, terms, measure, product=10 * vocabulary, softmax=3 * vocabulary
    )
    found.total.backward()
    plain = student.float().requires_grad_()
    own, goal = plain @ weights[0].float().T, teacher.float() @ weights[1].float().T
    own_logs, goal_logs = (F.log_softmax(logits / temperature, dim=-1) for logits in (own, goal))
    expected = F.cross_entropy(own, targets)
    expected = expected + temperature**2 * F.kl_div(own_logs, goal_logs, log_target=True, reduction="batchmean")
    expected.backward()
    assert states.grad is not None and plain.grad is not None  # noqa: PT018
    assert found.total.dtype == torch.float32
    assert abs(float(found.total.detach() / expected.detach()) - 1) < off
    assert float((states.grad.float() - plain.grad).abs().max()) < off * max(1.0, float(plain.grad.abs().max()))
