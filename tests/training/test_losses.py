"""The losses against plain loops in float64, values and gradients; cut into micro-batches; without any position."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensedict_trainer.distil.losses import SenseLoss, distillation_loss, sense_loss, state_loss

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


def distil(
    case: dict[str, Tensor], states: Tensor, alpha: float, temperature: float, rows: int, part: slice = slice(None)
):
    return distillation_loss(
        states[part],
        case["teacher"][part],
        case["targets"][part],
        lambda h: h @ case["weight"].T,
        lambda h: h @ case["teacher_weight"].T,
        alpha,
        temperature,
        denominator=N,
        rows=rows,
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
    torch.testing.assert_close(loss.total.detach(), loss.cross_entropy + alpha * temperature**2 * loss.kl)
    if alpha:
        own = F.log_softmax(case["student"] @ case["weight"].T / temperature, dim=-1)
        goal = F.log_softmax(case["teacher"] @ case["teacher_weight"].T / temperature, dim=-1)
        torch.testing.assert_close(loss.kl, F.kl_div(own, goal, log_target=True, reduction="batchmean"))


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


def sense(case: dict[str, Tensor], states: Tensor, part: slice = slice(None), margin: float = 1.2) -> SenseLoss:
    names = ("positives", "positive_mask", "negatives", "negative_mask")
    return sense_loss(states[part], *(case[n][part] for n in names), 1.0, 1.5, margin, denominator=N)


def test_sense_loss_is_the_written_out_loop(case: dict[str, Tensor]) -> None:
    states = case["student"].clone().requires_grad_()
    loss = sense(case, states)
    loss.total.backward()
    reference = case["student"].clone().requires_grad_()
    expected = loop_of_senses(case, reference, (1.0, 1.5), 1.2)
    expected.backward()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(states.grad, reference.grad)
    assert loss.negatives == int(case["negative_mask"].sum())
    assert 0 < loss.active < loss.negatives  # else the hinge is not tried on both sides


def test_the_hinge_is_per_negative_before_the_mean() -> None:
    states = torch.zeros(1, 2, dtype=torch.float64)
    negatives = torch.tensor([[[0.0, 0.0], [4.0, 0.0]]], dtype=torch.float64)  # d² 0 and 8: mean 4 is beyond the margin
    both = torch.ones(1, 2, dtype=torch.bool)
    loss = sense_loss(states, negatives, ~both, negatives, both, 1.0, 1.0, 1.0, denominator=1)
    assert float(loss.negative) == 0.5
    assert loss.active == 1


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
    loss = sense_loss(states, case["positives"], empty, case["negatives"], empty, 1.0, 1.0, 1.0, denominator=N)
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
    loss = sense_loss(states, senses, mask, senses, mask, 1.0, 1.0, 1.0, denominator=1)
    assert math.isfinite(float(loss.total))
