"""What a run keeps, says and refuses: checkpoints, held-out text, shares of the gradient, unfit text."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from sensedict.errors import Corrupt, InvalidInput, Mismatch, NotFinite
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil import checkpoint
from sensedict_trainer.distil.held_out import best_so_far
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.student import decoder_layers
from sensedict_trainer.distil.terms.ce import CrossEntropy
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.terms.sense import SenseLoss
from sensedict_trainer.distillation import Distillation
from sensedict_trainer.evaluate import evaluate_text
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import Document, TokenWindow, cut_windows, text_hash
from tiny_teacher import corpus
from tiny_training import RECIPE, make_dictionary, make_teacher, make_windows

KD = replace(RECIPE, objective="kd")
OPTIONS = TrainOptions(checkpoint_every=3, measure_every=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


def test_held_out_text_says_which_step_was_best(teacher: Teacher, tmp_path: Path) -> None:
    held_out = cut_windows([Document("h", " ".join(corpus(8, seed=9)))], teacher.tokenizer, 24)
    options = replace(OPTIONS, held_out=held_out, evaluate_every=4)
    # a rate so high that the student gets worse
    result = train(
        replace(KD, lr=0.1, warmup=0.0), teacher, make_windows(teacher), None, tmp_path / "run", options=options
    )
    rows = read_json_lines(result.history)
    losses = {row["step"]: row["held_out"] for row in rows if "held_out" in row}
    assert list(losses) == [4, 8, 12]
    note = json.loads((tmp_path / "run/best/sensedict-run.json").read_text())
    best = min(losses, key=lambda step: losses[step]["ce"])
    assert (note["step"], note["held_out"]) == (best, losses[best])
    for folder, step in ((tmp_path / "run/best", best), (result.student, 12)):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        found = evaluate_text(model, teacher, held_out, 2)
        assert np.log(found.perplexity) == pytest.approx(losses[step]["ce"], rel=1e-4)
    card = (tmp_path / "run/best/README.md").read_text()
    assert re.search(rf"held-out loss +\| +step {best} ", card)
    assert f"{losses[best]['ce']:.4f}" in card
    hash_ = text_hash(held_out)
    assert best_so_far(tmp_path / "run", best, hash_) == losses[best]["ce"]
    assert best_so_far(tmp_path / "run", best - 1, hash_) == best_so_far(tmp_path / "run", best, "other") == np.inf
    # killed while another took its place
    (tmp_path / "run/best").rename(tmp_path / "run/.best.old")
    train(replace(KD, lr=0.1, warmup=0.0), teacher, make_windows(teacher), None, tmp_path / "run", options=options)
    assert best_so_far(tmp_path / "run", best, hash_) == losses[best]["ce"]


def test_held_out_text_is_none_that_is_trained_on(teacher: Teacher, tmp_path: Path) -> None:
    for name, texts in (("train", corpus(12)), ("other", corpus(12, seed=9))):
        (tmp_path / f"{name}.txt").write_text("\n".join(texts))
    distillation = Distillation(
        teacher.name,
        [tmp_path / "train.txt"],
        objective="kd",
        settings=["window=24"],
        held_out=[tmp_path / "train.txt"],
    )
    with pytest.raises(InvalidInput, match=r"the held-out text train.txt#0 is trained on, in train.txt#0"):
        distillation.train(tmp_path / "run")
    other = replace(distillation, held_out=[tmp_path / "other.txt"], evaluate_every=1)
    rows = read_json_lines(other.train(tmp_path / "run").history)
    assert all(set(row["held_out"]) == {"ce", "kl"} for row in rows)
    assert len({row["held_out text"] for row in rows}) == 1


def test_checkpoints_are_kept_and_carry_what_they_are_of(teacher: Teacher, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    sets = make_dictionary(tmp_path / "sets", teacher), make_dictionary(tmp_path / "other", teacher, seed=1)
    kept = replace(OPTIONS, keep=2)
    with Snapshot.open(sets[0]) as source, Snapshot.open(sets[1]) as other:
        wild = replace(RECIPE, terms={"kl": ForwardKL(temperature=1.0, schedule="rise", weight=1e38)})
        with pytest.raises(NotFinite, match=r"in the batch of s\d+#0, .*the last checkpoint is as it was"):
            train(wild, teacher, windows, source, tmp_path / "run", options=replace(kept, checkpoint_every=1))
        (newest, *_) = found = sorted((tmp_path / "run").glob("checkpoint-*"), reverse=True)
        state = json.loads((newest / "state.json").read_text())
        assert len(found) in (1, 2)
        assert all(torch.isfinite(weight).all() for weight in load_file(newest / "trained.safetensors").values())
        identity = state["identity"]
        assert identity["dictionary"] == source.identity.content_hash
        assert identity["dictionary version"] == f"{source.identity.name}@{source.identity.version}"
        assert (identity["teacher"], identity["tokenizer"]) == (teacher.fingerprint, teacher.tokenizer_hash)
        assert identity["code"]
        # brought into the folder of a run with another dictionary
        with pytest.raises(NotFinite):
            train(wild, teacher, windows, other, tmp_path / "moved", options=replace(kept, checkpoint_every=1))
        for path in (tmp_path / "moved").glob("checkpoint-*"):
            shutil.rmtree(path)
        shutil.copytree(newest, tmp_path / "moved" / newest.name)
        with pytest.raises(Mismatch) as caught:
            train(wild, teacher, windows, other, tmp_path / "moved", options=kept)
    theirs, ours = (of.identity.content_hash[:8] for of in (source, other))
    assert f'(dictionary "{theirs}…" there, "{ours}…" now)' in caught.value.detail


def test_a_term_that_hardly_counts_is_told_once(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = replace(KD, terms={"kl": ForwardKL(weight=1e-4)})
    train(small, teacher, make_windows(teacher), None, tmp_path / "a", options=OPTIONS)
    said = capsys.readouterr().err
    assert said.count("kl has 0.0% of the gradient up to step 9: it hardly moves the student; see kl.weight") == 1
    assert said.count("ce has 100.0% of the gradient up to step 9: it moves the student all but alone") == 1
    train(KD, teacher, make_windows(teacher), None, tmp_path / "b", options=OPTIONS)
    rising = {"ce": CrossEntropy(schedule="rise"), "kl": ForwardKL(schedule="rise")}  # at first no term has a gradient
    rows = read_json_lines(
        train(replace(KD, terms=rising), teacher, make_windows(teacher), None, tmp_path / "r", options=OPTIONS).history
    )
    assert ["grad_share" in row for row in rows[:3]] == [False, False, True]
    train(replace(KD, objective="ce"), teacher, make_windows(teacher), None, tmp_path / "c", options=OPTIONS)
    assert "of the gradient" not in capsys.readouterr().err
    with Snapshot.open(make_dictionary(tmp_path / "sets", teacher)) as source:
        for margin, told in ((0.0, "0.0% of negatives are nearer"), (1e3, "100.0% of negatives are nearer"), (1.7, "")):
            sense = replace(RECIPE, terms={"sense": SenseLoss(margin=margin)})
            train(sense, teacher, make_windows(teacher), source, tmp_path / str(margin), options=OPTIONS)
            said = capsys.readouterr().err
            assert said.count("of negatives are nearer than the margin up to step 9") == bool(told)
            assert told in said


def test_answers_alone_are_learned(teacher: Teacher, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    recipe = replace(KD, objective="ce", loss_on="answers", clip=0.0)
    with pytest.raises(InvalidInput, match="no window has an answer"):
        train(recipe, teacher, windows, None, tmp_path / "none", options=OPTIONS)
    marked = [replace(window, answers=np.arange(len(window.ids)) >= len(window.ids) // 2) for window in windows]
    rows = read_json_lines(train(recipe, teacher, marked, None, tmp_path / "run", options=OPTIONS).history)
    assert all(0 < row["answer_positions"] < row["positions"] for row in rows)
    # What comes after the answers does not matter: a text cut behind them gives the same losses.
    longer = [TokenWindow(w.id, w.ids, np.arange(len(w.ids)) < len(w.ids) - 2) for w in windows if len(w.ids) > 10]
    cut = [TokenWindow(w.id, w.ids[:-2], w.answers[:-2]) for w in longer if w.answers is not None]
    pair = [
        read_json_lines(train(recipe, teacher, some, None, tmp_path / name, options=OPTIONS).history)
        for name, some in (("longer", longer), ("cut", cut))
    ]
    for row, other in zip(*pair, strict=True):
        assert row["answer_positions"] == other["answer_positions"]
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_float16_trains_with_a_scaled_gradient(teacher: Teacher, tmp_path: Path) -> None:
    half = load_teacher(teacher.name, "float16")
    rows = read_json_lines(train(KD, half, make_windows(half), None, tmp_path / "half", options=OPTIONS).history)
    full = read_json_lines(train(KD, teacher, make_windows(teacher), None, tmp_path / "full", options=OPTIONS).history)
    moved = [(row, other) for row, other in zip(rows, full, strict=True) if "grad_norm" in row]
    assert len(moved) > 8  # the others found the scale too high
    for row, other in moved:
        assert row["loss"] == pytest.approx(other["loss"], rel=2e-2)
    assert moved[0][0]["grad_norm"] == pytest.approx(moved[0][1]["grad_norm"], rel=0.1)


def test_text_that_cannot_be_trained_on_is_refused(teacher: Teacher, tmp_path: Path) -> None:
    long = TokenWindow("long#0", np.ones(300, dtype=np.int32))
    with pytest.raises(InvalidInput, match=r"long#0 has 300 tokens, and the teacher .* reads 256 at most"):
        train(KD, teacher, [*make_windows(teacher), long], None, tmp_path / "run", options=OPTIONS)
    with pytest.raises(InvalidInput, match="no window of at least 8 tokens"):
        train(KD, teacher, [], None, tmp_path / "run", options=OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_record_that_is_damaged_is_told_of(teacher: Teacher, tmp_path: Path) -> None:
    history = tmp_path / "run/history.jsonl"
    wild = replace(KD, terms={"kl": ForwardKL(schedule="rise", weight=1e38)})
    options = replace(OPTIONS, checkpoint_every=1)
    with pytest.raises(NotFinite):
        train(wild, teacher, make_windows(teacher), None, tmp_path / "run", options=options)
    history.write_bytes(bytes(8) + b"\n" + history.read_bytes())  # as a machine may leave it that lost its power
    with pytest.raises(Corrupt, match=r"history\.jsonl, line 1, is damaged .* remove the file"):
        train(wild, teacher, make_windows(teacher), None, tmp_path / "run", options=options)


def test_states_that_float16_cannot_hold_are_said_to_be_that(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    decoder_layers(teacher.model)[0].mlp.down_proj.weight.fill_(6e4)  # type: ignore[union-attr]
    teacher.model.save_pretrained(tmp_path / "teacher")
    half = load_teacher(str(tmp_path / "teacher"), "float16")
    recipe = replace(KD, layers=0.75)
    with pytest.raises(NotFinite, match=r"no number in float16, in the batch of s\d+#0.*use --dtype bfloat16"):
        train(recipe, half, make_windows(half), None, tmp_path / "run", options=OPTIONS)


def test_a_full_disk_costs_one_checkpoint(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = checkpoint.save_file

    def fails(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if (tmp_path / "run/checkpoint-00000003").exists():
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", fails)
    with pytest.raises(OSError, match="No space left on device"):
        train(KD, teacher, make_windows(teacher), None, tmp_path / "run", options=OPTIONS)
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-00000003"]
    monkeypatch.setattr(checkpoint, "save_file", write)
    options = replace(OPTIONS, checkpoint_every=100)  # no other checkpoint takes the place of the half one
    cut = train(KD, teacher, make_windows(teacher), None, tmp_path / "run", options=options)
    whole = train(KD, teacher, make_windows(teacher), None, tmp_path / "whole", options=OPTIONS)
    pair = [load_file(run.student / "model.safetensors") for run in (cut, whole)]
    assert all(torch.equal(weight, pair[1][name]) for name, weight in pair[0].items())
    assert not list((tmp_path / "run").glob(".checkpoint-*"))
