"""Windows that share a row are to the model what they are alone; the student is that of windows with a row each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from sensedict.errors import ConfigurationError
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.packing import check_packing, lay_out
from sensedict_trainer.distil.plan import make_plan
from sensedict_trainer.distil.prefetch import Prefetcher
from sensedict_trainer.distil.schedule import batches
from sensedict_trainer.distil.student import Tail, cut_student
from sensedict_trainer.distil.trunk import trunk_of
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow
from tiny_training import ARCHITECTURES, RECIPE, make_architecture, make_dictionary, make_teacher, make_windows

ROW = 40


def short(windows: Sequence[TokenWindow]) -> list[TokenWindow]:
    """Windows of 3 to 14 tokens."""
    return [replace(window, ids=window.ids[: 3 + place % 12]) for place, window in enumerate(windows)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_packed_pass_is_that_of_each_window_alone(tmp_path: Path, architecture: str) -> None:
    """Among them sliding windows of 8 tokens, fewer than some windows have."""
    teacher = make_architecture(tmp_path / "t", architecture)
    windows = short(make_windows(teacher))[:12]
    student = cut_student(teacher, 3, 1)
    tail = Tail(student, 1)
    pull = torch.randn(sum(len(window.ids) for window in windows), teacher.dim)

    def run(row: int | None) -> tuple[list[list[Tensor]], list[Tensor]]:
        trunk = trunk_of(teacher, student, 1, windows, row=row)
        trunk.check(student, tail, windows[:4])
        states = trunk.states(windows)
        assert (len(states.ids) < len(windows)) == (row is not None)
        own = tail(states.entering, states.mask, states.layout.positions)
        student.zero_grad(set_to_none=True)
        torch.cat(states.layout.take(own)).mul(pull).sum().backward()
        gradients = [weight.grad.clone() for weight in student.parameters() if weight.grad is not None]
        return [states.layout.take(part) for part in (states.entering, states.hidden, own.detach())], gradients

    (packed, packed_gradient), (alone, gradient) = run(ROW), run(None)
    for ours, theirs in zip(packed, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    for a, b in zip(packed_gradient, gradient, strict=True):
        assert float((a - b).norm()) <= 1e-4 * float(b.norm())


def test_a_layout_says_where_windows_lie(teacher: Teacher) -> None:
    windows = [TokenWindow(str(n), np.arange(n, dtype=np.int32) + 10 * n) for n in (3, 2, 4)]
    layout = lay_out(windows, 6, teacher.device)
    assert layout.ids.tolist() == [[30, 31, 32, 20, 21], [40, 41, 42, 43, 43]]
    assert layout.positions is not None
    assert layout.positions.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert layout.has_target.int().tolist() == [[1, 1, 0, 1], [1, 1, 1, 0]]
    assert [part.tolist() for part in layout.take(layout.ids)] == [w.ids.tolist() for w in windows]
    assert torch.equal(layout.put(layout.take(layout.ids)) * layout.mask, layout.ids * layout.mask)


def test_a_packed_run_has_the_losses_and_draws_of_an_unpacked_one(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [replace(w, answers=np.arange(len(w.ids)) % 3 > 0) for w in short(make_windows(teacher))]
    recipe = replace(RECIPE, epochs=1, pack=True, loss_on="answers")
    packed = list(batches(recipe, windows))
    assert any(len(batch) > recipe.batch_size for batch in packed)
    held_out = TrainOptions(held_out=windows[:5], measure_every=2)
    drawn: list[dict[str, list[int]]] = []
    draw_for = Prefetcher._draw_for

    def look(self: Prefetcher, some: Sequence[TokenWindow]) -> Any:
        found = draw_for(self, some)
        drawn[-1].update({name: draw.positions.tolist() for name, draw in found.draws.items()})
        return found

    monkeypatch.setattr(Prefetcher, "_draw_for", look)
    with Snapshot.open(make_dictionary(tmp_path, teacher)) as source:

        def run(name: str, changed: Any, options: TrainOptions) -> list[dict[str, Any]]:
            drawn.append({})
            # The same batches with a row a window, which a recipe without packing would have put together otherwise.
            monkeypatch.setattr("sensedict_trainer.distil.run.batches", lambda *_: iter(packed))
            rows = read_json_lines(train(changed, teacher, windows, source, tmp_path / name, None, options).history)
            return [{**row, **row.get("held_out", {})} for row in rows]

        alone = run("alone", replace(recipe, pack=False), held_out)
        cache = tmp_path / "activations"
        for name, options in (
            ("packed", held_out),
            ("micro", replace(held_out, micro_batch=1)),
            ("cache", replace(held_out, activations=cache)),
        ):
            found = run(name, recipe, options)
            for a, b in zip(found, alone, strict=True):
                for value in ("ce", "kl", "sense", "loss", "grad_norm"):
                    assert a[value] == pytest.approx(b[value], rel=2e-3 if name == "cache" else 1e-4), (name, value)
                counts = ("positions", "answer_positions", "sampled_positions", "relation_positions", "tokens")
                assert [a[count] for count in counts] == [b[count] for count in counts]
        assert drawn[0]
        assert all(found == drawn[0] for found in drawn)
        plan = make_plan(recipe, teacher, windows, source, TrainOptions())
        assert plan.steps == len(packed)
        assert any("rows of windows" in line for line in plan.lines())
        # A cache of packed passes is another than one of windows with a row each; and so is a run.
        other, options = replace(recipe, pack=False), TrainOptions(activations=cache)
        with pytest.raises(ConfigurationError, match="tokens a row"):
            train(other, teacher, windows, source, tmp_path / "other", None, options)
        with pytest.raises(ConfigurationError, match="pack"):
            train(other, teacher, windows, source, tmp_path / "packed")
    note = json.loads((tmp_path / "packed/student/sensedict-run.json").read_text())
    assert note["recipe"]["pack"] is True
    assert "pack" not in RECIPE.to_json()


_TINY = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("architecture", "more", "why"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}, "it takes no positions"),
        (
            "lfm2",
            {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"], "initializer_range": 0.3},
            r"packed, its states differ by [\d.]+%",
        ),
    ],
)
def test_a_model_that_mixes_windows_of_a_row_is_refused(architecture: str, more: dict[str, Any], why: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{**_TINY, **more})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    random = np.random.default_rng(0)
    windows = [TokenWindow(str(n), random.integers(1, 64, 6).astype(np.int32)) for n in range(3)]
    with pytest.raises(ConfigurationError, match=rf"does not keep windows apart .*--set pack=false \({why}"):
        check_packing(model.base_model, windows, 16, torch.device("cpu"))
    check_packing(model.base_model, windows, 8, torch.device("cpu"))  # no two of them share a row
