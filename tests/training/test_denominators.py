"""The whole objective of a batch against a plain loop in float64: however it is cut, padded, and packed into rows."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.draws import by_token, draw
from sensedict_trainer.distil.packing import flat, passes, rows_of
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.schedule import batches
from sensedict_trainer.distil.selection import Selection, select
from sensedict_trainer.distil.step import BatchLosses, Denominators, Stepper
from sensedict_trainer.distil.student import Tail, cut_student, decoder_layers
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.terms.sense import SenseLoss
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow
from tiny_training import RECIPE, make_dictionary, make_teacher, make_windows

OBJECTIVE = replace(
    RECIPE,
    loss_on="answers",
    terms={"kl": ForwardKL(weight=0.7, temperature=2.0), "sense": SenseLoss(weight=1.3, negative=0.5, margin=3.0)},
)


def reference(
    recipe: Recipe,
    teacher: torch.nn.Module,
    student: torch.nn.Module,
    windows: Sequence[TokenWindow],
    selections: dict[str, Selection],
    senses: Tensor,
) -> dict[str, Tensor]:
    """CE, KL, the sense loss and their weighted sum over a batch, one window and one position at a time.

    Args:
        teacher, student: whole models; senses: (n, D) all vectors. All float64.
    """
    ce, kl, sense = [], [], []
    settings = recipe.active["sense"]
    temperature = recipe.active["kl"].temperature  # type: ignore[attr-defined]
    for window in windows:
        ids = torch.from_numpy(window.ids).long()
        with torch.no_grad():
            goal = teacher(input_ids=ids[None]).logits[0]
        found = student(input_ids=ids[None], output_hidden_states=True)
        own, hidden = found.logits[0], found.hidden_states[-1][0]
        for i in range(len(ids) - 1):
            if window.answers is not None and window.answers[i + 1]:
                ce.append(F.cross_entropy(own[i], ids[i + 1]))
            p, q = (torch.log_softmax(logits / temperature, dim=-1) for logits in (goal[i], own[i]))
            kl.append((p.exp() * (p - q)).sum())
        chosen = selections[window.id]
        for row, i in enumerate(chosen.positions):
            near, far = (
                [(hidden[i] - senses[c]).square().mean() for c in ids_[row] if c >= 0]
                for ids_ in (chosen.positives, chosen.negatives)
            )
            pull = torch.stack(near).mean() if near else hidden.new_zeros(())
            push = torch.stack([F.relu(settings.margin - d) for d in far]).mean() if far else hidden.new_zeros(())
            sense.append(settings.positive * pull + settings.negative * push)
    means = {
        name: torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)
        for name, values in {"ce": ce, "kl": kl, "sense": sense}.items()
    }
    weights = {name: term.weight * (temperature**2 if name == "kl" else 1.0) for name, term in recipe.active.items()}
    return {**means, "loss": torch.stack([weights[name] * value for name, value in means.items()]).sum()}


@dataclass(frozen=True)
class Bench:
    """What every example shares."""

    teacher: Teacher
    source: Snapshot
    wide: tuple[torch.nn.Module, torch.nn.Module]  # teacher and student in float64
    stepper: Stepper
    senses: Tensor


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("bench")
    teacher = make_teacher(folder)
    with Snapshot.open(make_dictionary(folder, teacher)) as source:
        count, dim = source.identity.senses, source.identity.dim
        cache = SenseCache(count, dim, count, torch.device("cpu"))
        cache.load(np.arange(count), source.get_senses)
        student = cut_student(teacher, 2, 1)
        wide = copy.deepcopy(teacher.model).double(), copy.deepcopy(student).double()
        senses = torch.from_numpy(source.get_senses(np.arange(count))).double()
        yield Bench(teacher, source, wide, Stepper(OBJECTIVE, teacher, student, Tail(student, 1), cache), senses)


def gradient(model: torch.nn.Module) -> Tensor:
    """The gradient of the trained layer in one row, and forgotten."""
    parts = [weight.grad for weight in decoder_layers(model)[-1].parameters()]  # type: ignore[arg-type]
    model.zero_grad(set_to_none=True)
    return torch.cat(
        [torch.zeros(0, dtype=torch.float64), *(part.double().flatten() for part in parts if part is not None)]
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_loss_and_gradient_are_the_batchs_however_it_is_cut(bench: Bench, data: Any) -> None:
    lengths = data.draw(st.lists(st.integers(2, 20), min_size=1, max_size=5), label="tokens of each window")
    answered = data.draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)), label="answers")
    order = data.draw(st.permutations(range(len(lengths))), label="order")
    row = data.draw(st.sampled_from([None, 20, 30]), label="tokens of a row that windows share")
    cuts = data.draw(st.lists(st.integers(1, len(lengths)), max_size=3), label="ends of micro-batches and ranks")
    whole = make_windows(bench.teacher)
    windows = [
        TokenWindow(w.id, w.ids[:n], None if kind == 0 else (np.arange(n) % 3 == 0)[: len(w.ids)] & (kind == 2))
        for w, n, kind in zip(whole, lengths, answered, strict=False)
    ]
    trunk = Trunk(bench.teacher, 1, windows, row=row)
    selections = {}
    for window in windows:
        candidates = by_token(bench.source.candidate_sets(np.unique(window.ids[1:]).astype(np.uint32)))
        drawn = draw(window.id, window.ids[1:], candidates, OBJECTIVE.sampling)
        cache = bench.stepper.cache
        assert cache is not None
        hidden = trunk.states([window]).hidden[0]
        selections[window.id] = select(drawn, hidden, cache.table, cache.rows(drawn.ids), OBJECTIVE.nearest)
    answers = [np.zeros(len(w.ids), bool) if w.answers is None else w.answers for w in windows]
    denominators = Denominators(
        positions=sum(len(window.ids) - 1 for window in windows),
        sampled=sum(len(found.positions) for found in selections.values()),
        learned=sum(int(mask[1:].sum()) for mask in answers),
    )
    losses = BatchLosses()
    scale = 8.0  # as float16's gradients are scaled
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(windows)], strict=True):
        part = [order[i] for i in range(start, end)]
        if not part:
            continue
        states = trunk.states([windows[i] for i in part])
        mask = torch.zeros(states.ids.shape, dtype=torch.bool)
        for i, (place, first, end) in zip(part, states.layout.places, strict=True):
            mask[place, first:end] = torch.from_numpy(answers[i])
        chosen = [selections[windows[i].id] for i in part]
        bench.stepper.backward(states, chosen, denominators, losses, 0.0, False, mask, scale)
    expected = reference(OBJECTIVE, *bench.wide, windows, selections, bench.senses)
    for name, value in expected.items():
        assert losses.terms[name] == pytest.approx(float(value.detach()), rel=1e-5, abs=1e-6), name
    expected["loss"].backward()
    own, goal = gradient(bench.stepper.student) / scale, gradient(bench.wide[1])
    assert float((own - goal).norm()) <= 1e-5 * float(goal.norm())


def test_batches_hold_each_window_once_an_epoch_and_windows_of_like_length(bench: Bench) -> None:
    windows = make_windows(bench.teacher, 200)
    recipe = replace(RECIPE, epochs=3)
    found = list(batches(recipe, windows))
    per = len(found) // 3
    orders = [[window.id for batch in found[start : start + per] for window in batch] for start in (0, per, 2 * per)]
    assert all(sorted(order) == sorted(window.id for window in windows) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert [[w.id for w in batch] for batch in batches(recipe, windows)] == [[w.id for w in batch] for batch in found]
    padded = sum(len(batch) * max(len(window.ids) for window in batch) for batch in found)
    tokens = 3 * sum(len(window.ids) for window in windows)
    assert padded < 1.04 * tokens


def test_packed_batches_have_each_window_once_an_epoch_in_rows_with_little_room_left(bench: Bench) -> None:
    windows = [TokenWindow(w.id, w.ids[: 4 + i % 17]) for i, w in enumerate(make_windows(bench.teacher, 300))]
    recipe = replace(RECIPE, epochs=2, pack=True)
    found = list(batches(recipe, windows))
    assert sorted(w.id for batch in found for w in batch) == sorted(w.id for w in windows for _ in range(2))
    rows = [rows_of(batch, recipe.window) for batch in found]
    assert max(map(len, rows)) == recipe.batch_size
    used = [sum(len(w.ids) for w in row) for some in rows for row in some]
    assert max(used) <= recipe.window
    assert sum(used) > 0.97 * recipe.window * len(used)
    for size in (1, 3):  # micro-batches keep the order, and have no more rows than they may
        parts = passes(found[0], size, recipe.window)
        assert flat(parts) == found[0]
        assert max(len(rows_of(part, recipe.window)) for part in parts) == size
