"""A teacher's states in other forms: what each gives back, and students that train from it without the teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Corrupt, InvalidInput
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil import sense_ids
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.rows import manifest_key
from sensedict_trainer.distil.student import cut_student, decoder_layers
from sensedict_trainer.distil.teacher_states import TopLogits, build_teacher_states, open_teacher_states
from sensedict_trainer.distil.terms.mse import StateDistance
from sensedict_trainer.distil.terms.term import squared_distances
from sensedict_trainer.distil.trunk import trunk_of
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import pad_windows
from tiny_teacher import corpus
from tiny_training import RECIPE, make_dictionary, make_teacher, make_windows

EVERYWHERE = {**RECIPE.terms, "mse": StateDistance(positions="all")}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def dictionary(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dictionary(tmp_path_factory.mktemp("sets"), teacher)


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(6, 30), st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_a_mixture_is_convex_and_no_farther_than_the_nearest(seed: int, p: int, count: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    states, senses = torch.randn(9, dim, generator=generator), torch.randn(count, dim, generator=generator)
    ids, weights = sense_ids.nearest_mixture(states, senses, p)
    assert all(len(set(row)) == p for row in ids.tolist())
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(9))
    stored = sense_ids.to_stored(ids, weights)
    assert stored.shape == (9, sense_ids.bytes_of(p))
    again, back = sense_ids.from_stored(stored)
    assert torch.equal(again, ids)
    assert (back - weights).abs().max() < p / 255
    mixed = sense_ids.mixture(ids, weights, senses)
    distance = (states - mixed).square().mean(dim=1)
    nearest = torch.cdist(states, senses).square().amin(dim=1) / dim
    assert (distance <= nearest + 1e-3).all()
    # At the best weights no sense in use lies farther in the direction of what is missing than another.
    slopes = torch.einsum("npd,nd->np", senses[ids], states - mixed)
    used = slopes.masked_fill(weights < 1e-3, torch.inf).amin(dim=1)
    assert (slopes.amax(dim=1) - used < 0.05 * (1 + slopes.abs().amax(dim=1))).all()


def test_a_mixture_that_is_there_is_found() -> None:
    senses = torch.eye(8) * 3
    states = torch.stack([0.25 * senses[1] + 0.75 * senses[6], senses[4]])
    ids, weights = sense_ids.nearest_mixture(states, senses, 3)
    found = torch.zeros(2, 8).scatter_(1, ids, weights)
    expected = torch.zeros(2, 8)
    expected[0, 1], expected[0, 6], expected[1, 4] = 0.25, 0.75, 1.0
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_weighted_positives_pull_as_their_mixture_does() -> None:
    generator = torch.Generator().manual_seed(0)
    senses = torch.randn(20, 6, generator=generator)
    ids, weights = sense_ids.nearest_mixture(torch.randn(5, 6, generator=generator), senses, 4)
    gradients = []
    for pull in ("positives", "mixture"):
        student = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
        if pull == "positives":
            loss = (weights * squared_distances(student, senses[ids])).sum()
        else:
            loss = squared_distances(student, sense_ids.mixture(ids, weights, senses).unsqueeze(1)).sum()
        gradients.append(torch.autograd.grad(loss, student)[0])
    torch.testing.assert_close(*gradients)


def test_logits_of_the_likeliest_tokens() -> None:
    whole = torch.log_softmax(torch.randn(7, 11, generator=torch.Generator().manual_seed(0)), dim=-1)
    for k in (3, 11):
        values, tokens = whole.topk(k, dim=1)
        head = TopLogits(11)
        logits = head.shape(head.product(torch.cat([tokens.float(), values], dim=1)))
        torch.testing.assert_close(logits.gather(1, tokens), values)
        torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(7))


class Passes:
    """How often each of the teacher's layers ran."""

    def __init__(self, teacher: Teacher) -> None:
        self.counts = [0] * teacher.layers
        self._hooks = [layer.register_forward_hook(self._count) for layer in decoder_layers(teacher.model)]
        self._layers = list(decoder_layers(teacher.model))

    def _count(self, module: nn.Module, _args: Any, _output: Any) -> None:
        self.counts[self._layers.index(module)] += 1

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *exc: object) -> None:
        for hook in self._hooks:
            hook.remove()


@pytest.mark.parametrize(
    ("kind", "count", "width", "objective"),
    [
        ("exact", 0, 7 * 8 + 28, "ce + kl + mse"),
        ("senses", 5, 25, "ce + kl + mse"),
        ("senses", 5, 25, "dskd"),
        ("logits", 8, 48, "kd"),
    ],
)
def test_a_student_trains_without_the_teacher(
    teacher: Teacher, dictionary: Path, tmp_path: Path, kind: Any, count: int, width: int, objective: str
) -> None:
    windows = make_windows(teacher)
    folder = tmp_path / "states"
    with Snapshot.open(dictionary) as source:
        build_teacher_states(folder, teacher, windows, kind, count, source)
        tokens = sum(len(window.ids) for window in windows)
        assert sum(path.stat().st_size for path in folder.glob("rows-*")) == tokens * width
        recipe = replace(RECIPE, objective=objective, terms=EVERYWHERE, epochs=6)
        with Passes(teacher) as passes:
            run = train(recipe, teacher, windows, source, tmp_path / "run", options=TrainOptions(teacher_states=folder))
    assert passes.counts == [0, 0, 0, 0]  # both of the student's layers are trained: not even a trunk
    rows = read_json_lines(run.history)
    assert set(recipe.active) <= set(rows[0])
    assert np.mean([row["loss"] for row in rows[-6:]]) < 0.98 * np.mean([row["loss"] for row in rows[:6]])
    if kind == "logits":
        with pytest.raises(ConfigurationError, match=r"holds logits, and ce \+ mse compares hidden states"):
            train(
                replace(recipe, objective="ce + mse"),
                teacher,
                windows,
                None,
                tmp_path / "other",
                options=TrainOptions(teacher_states=folder),
            )


def test_cross_entropy_alone_needs_no_teacher(teacher: Teacher, tmp_path: Path) -> None:
    recipe = replace(RECIPE, objective="ce", trainable=1, epochs=3)
    with Passes(teacher) as passes:
        rows = read_json_lines(train(recipe, teacher, make_windows(teacher), None, tmp_path / "run").history)
    assert passes.counts[0] > 0
    assert passes.counts[1:] == [0, 0, 0]
    assert rows[-1]["ce"] < rows[0]["ce"]


def test_states_that_are_stored_stand_for_the_teachers(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    windows = make_windows(teacher)[:6]
    ids, mask = pad_windows(windows, teacher.device)
    with torch.inference_mode():
        exact = teacher.hidden_states(ids, mask)[mask.bool()]
        likely = torch.log_softmax(teacher.head(exact), dim=-1)

    def given_by(kind: Any, count: int) -> tuple[Tensor, Tensor]:
        with Snapshot.open(dictionary) as source:
            stored = build_teacher_states(tmp_path / f"{kind}{count}", teacher, windows, kind, count, source)
        again = open_teacher_states(tmp_path / f"{kind}{count}", teacher, windows)
        found = [torch.cat([states.of(window) for window in windows]) for states in (stored, again)]
        assert torch.equal(*found)
        return found[1], torch.log_softmax(again.head.shape(again.head.product(found[1])), dim=-1)

    assert (given_by("exact", 0)[0] - exact).abs().max() < 1e-3 * exact.abs().max()
    few, many = (float((given_by("senses", p)[0] - exact).square().mean()) for p in (1, 5))
    assert many < 0.9 * few
    top = given_by("logits", 400)[1]
    assert (top - likely).abs().max() < 5e-3

    # A student of another trunk takes the same states.
    student = cut_student(teacher, 2, 1)
    decoder_layers(student)[0].load_state_dict(decoder_layers(teacher.model)[3].state_dict())
    known = open_teacher_states(tmp_path / "senses5", teacher, windows)
    with Passes(teacher) as passes:
        states = trunk_of(teacher, student, 1, windows, known=known).states(windows)
    assert passes.counts == [0, 0, 0, 0]
    assert torch.equal(states.hidden[states.mask.bool()], torch.cat([known.of(window) for window in windows]))


def test_states_of_something_else_are_refused(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    folder = tmp_path / "states"
    with pytest.raises(ConfigurationError, match="holds no teacher states: make them with `sensedict teacher states`"):
        open_teacher_states(folder, teacher, windows)
    with Snapshot.open(dictionary) as source:
        with pytest.raises(InvalidInput, match="1000 senses of a position cannot be kept: from 1 to 125"):
            build_teacher_states(folder, teacher, windows, "senses", 1000, source)
        build_teacher_states(folder, teacher, windows, "senses", 2, source)
        with pytest.raises(ConfigurationError, match="count 2 there, 3 now"):
            build_teacher_states(folder, teacher, windows, "senses", 3, source)
    with pytest.raises(ConfigurationError, match="need a dictionary: name one"):
        build_teacher_states(tmp_path / "none", teacher, windows, "senses", 2)
    with pytest.raises(ConfigurationError, match=r'text "[0-9a-f]{8}…" there, "[0-9a-f]{8}…" now'):
        open_teacher_states(folder, teacher, windows[1:])
    with pytest.raises(ConfigurationError, match=r'teacher "[0-9a-f]{8}…" there, "f" now'):
        open_teacher_states(folder, replace(teacher, fingerprint="f"), windows)
    manifest = json.loads((folder / "manifest.json").read_text())
    hashes = manifest["sensedict rows"]["shards"]
    manifest["sensedict rows"]["shards"] = {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match="are not finished: run their command again"):
        open_teacher_states(folder, teacher, windows)
    manifest["sensedict rows"]["shards"] = hashes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    senses = folder / "senses.safetensors"
    content = bytearray(senses.read_bytes())
    content[-1] ^= 1
    senses.write_bytes(content)
    with pytest.raises(
        Corrupt, match=r"senses\.safetensors is damaged \(its sha256 is not the manifest's\): run the command"
    ):
        open_teacher_states(folder, teacher, windows)
    with Snapshot.open(dictionary) as source:
        build_teacher_states(folder, teacher, windows, "senses", 2, source)
    open_teacher_states(folder, teacher, windows)


def test_the_commands_make_states_and_train_from_them(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(corpus(24)))
    common = ["--teacher", teacher.name, "--text", str(text), "--set", "window=24"]
    states = ["teacher", "states", *common, "--out", str(tmp_path / "states")]
    made = CliRunner().invoke(cli, [*states, "--kind", "senses", "--snapshot", str(dictionary)])
    assert made.exit_code == 0, made.output
    run = ["train", *common, "--out", str(tmp_path / "run"), "--teacher-states", str(tmp_path / "states")]
    run += ["--objective", "ce + mse", "--set", "mse.positions=all", "--activations", str(tmp_path / "cache")]
    trained = CliRunner().invoke(cli, run)
    assert trained.exit_code == 0, trained.output
    assert list((tmp_path / "cache").glob("rows-*"))
    assert "loss" in read_json_lines(tmp_path / "run" / "history.jsonl")[0]
    half = [*states[:-1], str(tmp_path / "half"), "--kind", "exact", "--dtype", "float16"]
    assert CliRunner().invoke(cli, half).exit_code == 0
    assert (manifest_key(tmp_path / "half") or {})["dtype"] == "float16"
    wrong = CliRunner().invoke(cli, [*half, "--device", "cuda:99", "--teacher", "nowhere/x/y"])
    assert "the device 'cuda:99' cannot be used" in str(wrong.exception)
