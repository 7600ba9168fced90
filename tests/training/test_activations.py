"""The shared trunk is the student and the teacher run in full; the cache of what it gives is what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers.modeling_layers import GradientCheckpointingLayer

from sensedict.errors import ConfigurationError, Corrupt
from sensedict.snapshot import Snapshot
from sensedict_trainer.compare import Experiment, compare
from sensedict_trainer.distil import rows
from sensedict_trainer.distil.activations import to_states, to_stored, width_of
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.student import Tail, cut_student, decoder_layers
from sensedict_trainer.distil.teacher_states import build_teacher_states
from sensedict_trainer.distil.trunk import Trunk, trunk_of
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.tasks.registry import load_tasks
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import Document, cut_windows, pad_windows
from tiny_teacher import WORDS, corpus
from tiny_training import ARCHITECTURES, RECIPE, make_architecture, make_dictionary, make_teacher, make_windows


class Calls:
    """How often some modules run."""

    def __init__(self, *modules: nn.Module) -> None:
        self.counts = [0] * len(modules)
        self._hooks = [module.register_forward_hook(self._counter(place)) for place, module in enumerate(modules)]

    def _counter(self, place: int) -> Callable[[nn.Module, Any, Any], None]:
        def count(_module: nn.Module, _args: Any, _output: Any) -> None:
            self.counts[place] += 1

        return count

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *exc: object) -> None:
        for hook in self._hooks:
            hook.remove()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shared_trunk_is_both_run_in_full(
    tmp_path: Path, architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_architecture(tmp_path / "t", architecture)
    windows = make_windows(teacher)[:4]
    student = cut_student(teacher, 3, 1)
    ids, mask = pad_windows(windows, teacher.device)
    real = mask.bool()
    whole = student.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[real]
    goal = teacher.hidden_states(ids, mask)[real]
    whole.square().sum().backward()
    own = {name: weight.grad.clone() for name, weight in student.named_parameters() if weight.grad is not None}
    assert own
    student.zero_grad(set_to_none=True)

    tail = Tail(student, 1)
    teacher.model.train()  # whoever did that: dropout stays off in what is shared
    trunk = trunk_of(teacher, student, 1, windows)
    assert trunk.student is None
    assert "apart" not in capsys.readouterr().err
    layers = decoder_layers(student)
    with Calls(*decoder_layers(teacher.model), *layers) as calls:
        states = trunk.states(windows)
        shared = tail(states.entering, states.mask)[real]
    assert calls.counts == [1, 1, 1, 1, 0, 0, 1]  # the frozen layers run once, in the teacher
    assert torch.equal(shared, whole)
    assert torch.equal(states.hidden[real], goal)
    assert not states.entering.is_inference()  # it is kept for the gradient of what is trained
    shared.square().sum().backward()
    assert all(torch.equal(student.get_parameter(name).grad, gradient) for name, gradient in own.items())
    trunk.check(student, tail, windows)

    tail.train()
    assert layers[-1].training
    assert not any(layer.training for layer in layers[:-1])


def test_another_trunk_runs_apart_and_says_so(teacher: Teacher, capsys: pytest.CaptureFixture[str]) -> None:
    windows = make_windows(teacher)[:4]
    student = cut_student(teacher, 3, 1)
    layers, theirs = decoder_layers(student), decoder_layers(teacher.model)
    layers[1].load_state_dict(theirs[2].state_dict())  # every second layer
    trunk, tail = trunk_of(teacher, student, 1, windows), Tail(student, 1)
    assert "the student's 2 frozen layers are not the teacher's first: they run apart" in capsys.readouterr().err
    with Calls(*theirs, *layers) as calls:
        states = trunk.states(windows)
    assert calls.counts == [1, 1, 1, 1, 1, 1, 0]
    real = states.mask.bool()
    with torch.no_grad():
        whole = student.base_model(input_ids=states.ids, attention_mask=states.mask).last_hidden_state
        assert torch.equal(tail(states.entering, states.mask)[real], whole[real])
        assert torch.equal(states.hidden[real], teacher.hidden_states(states.ids, states.mask)[real])


@pytest.mark.parametrize("dim", [576, 33, 6, 3])
def test_a_row_comes_back_within_its_step(dim: int) -> None:
    torch.manual_seed(dim)
    states = torch.randn(20, dim)
    states[0, 0], states[1], states[2, -1] = 25_000.0, 0.0, -30_000.0
    stored = to_stored(states)
    assert stored.shape == (20, width_of(dim))
    back = to_states(stored, dim)
    assert torch.equal(to_states(stored[1:2], dim), back[1:2])
    apart = states.abs().topk(min(4, dim), dim=1)
    assert torch.equal(back.gather(1, apart.indices), states.gather(1, apart.indices))
    rest = states.scatter(1, apart.indices, 0.0).abs().amax(dim=1, keepdim=True)
    assert ((back - states).abs() <= rest / 8191 * 0.501).all()


def _shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards, however little the text."""
    monkeypatch.setattr(rows, "_SHARD", 1)


def test_the_cache_serves_all_runs_without_the_teacher(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = make_windows(teacher)
    dictionary = make_dictionary(tmp_path / "set", teacher)
    options = TrainOptions(activations=tmp_path / "cache")
    histories = []
    with Snapshot.open(dictionary) as source:
        for name in ("first", "second"):
            with Calls(decoder_layers(teacher.model)[3]) as calls:
                run = train(RECIPE, teacher, windows, source, tmp_path / name, options=options)
            histories.append(read_json_lines(run.history))
            # three passes make the cache, one group is measured before; one checks that the tail fits
            assert calls.counts == [3 + 1 + 1 if name == "first" else 1]
        exact = read_json_lines(train(RECIPE, teacher, windows, source, tmp_path / "exact").history)
    tokens = sum(len(window.ids) for window in windows)
    said = capsys.readouterr().err
    size = f"{tokens * 2 * width_of(teacher.dim) / 1e6:,.1f} MB"
    assert f"frozen activations of {tokens:,} tokens take {size} in {tmp_path / 'cache'}, where " in said
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]
    differences = [a["loss"] - b["loss"] for a, b in zip(histories[0], exact, strict=True)]
    assert 0 < max(map(abs, differences)) < 2e-3  # of one small batch
    assert abs(sum(differences) / len(differences)) < 5e-4
    with pytest.raises(ConfigurationError, match='activations "14 bits, 4 apart" there, none now'):
        train(RECIPE, teacher, windows, source, tmp_path / "first")


def test_a_cache_of_something_else_is_refused(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = make_windows(teacher)
    folder = tmp_path / "cache"
    Trunk(teacher, 2, windows, folder=folder)
    manifest = folder / "manifest.json"
    before = manifest.read_bytes()
    for first, other, text, named in (
        (1, teacher, windows, "first trained layer 2 there, 1 now"),
        (2, replace(teacher, fingerprint="f"), windows, 'teacher "[0-9a-f]+…" there, "f" now'),
        (2, replace(teacher, dtype=torch.bfloat16), windows, 'dtype "float32" there, "bfloat16" now'),
        (2, teacher, windows[1:], 'text "[0-9a-f]+…" there.*windows 23 there, 22 now'),
    ):
        with pytest.raises(ConfigurationError, match=f"holds rows that were made otherwise .*{named}"):
            Trunk(other, first, text, folder=folder)
    content = json.loads(before)
    content["sensedict rows"]["format"] = 0
    manifest.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="is of format 0, and 1 is read: remove"):
        Trunk(teacher, 2, windows, folder=folder)
    manifest.write_bytes(before[:100])
    with pytest.raises(Corrupt, match=r"manifest\.json is damaged .*remove .*cache, and it is made again"):
        Trunk(teacher, 2, windows, folder=folder)
    full = tmp_path / "full"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(ConfigurationError, match=r"take .* where 0\.0 MB are free: name a folder on a larger disk"):
        Trunk(teacher, 2, windows, folder=full)
    assert not list(full.glob("rows-*"))


def test_a_cache_that_another_process_finished_meanwhile_is_opened(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = make_windows(teacher)
    look = rows.open_rows

    def looks_too_early(*args: Any) -> rows.Rows | None:
        monkeypatch.setattr(rows, "open_rows", look)
        found = look(*args)
        Trunk(teacher, 2, windows, folder=tmp_path / "cache")  # the other one begins and ends
        return found

    monkeypatch.setattr(rows, "open_rows", looks_too_early)
    states = Trunk(teacher, 2, windows, folder=tmp_path / "cache").states(windows)
    torch.testing.assert_close(states.hidden, Trunk(teacher, 2, windows).states(windows).hidden, rtol=0, atol=1e-3)


def test_no_pass_is_of_more_windows_than_a_micro_batch(teacher: Teacher, tmp_path: Path) -> None:
    """Whatever runs a layer of teacher or student in a command: its own, for the cache, on held-out text, questions."""
    windows = make_windows(teacher, 12)
    held_out = cut_windows([Document("h", " ".join(corpus(8, seed=9)))], teacher.tokenizer, 24)
    recipe = replace(RECIPE, epochs=1, choice="influence", trainable=1)
    options = TrainOptions(micro_batch=2, held_out=held_out)
    sizes: list[int] = []

    def look(module: nn.Module, args: Any) -> None:
        if isinstance(module, GradientCheckpointingLayer):  # transformers' base of decoder layers
            sizes.append(len(args[0]))

    def asked() -> set[int]:
        found = set(sizes)
        sizes.clear()
        return found

    hook = register_module_forward_pre_hook(look)
    try:
        with Snapshot.open(make_dictionary(tmp_path / "sets", teacher)) as source:
            train(recipe, teacher, windows, source, tmp_path / "run", options=options)
            assert asked() == {1, 2}
            train(recipe, teacher, windows, source, tmp_path / "all", options=replace(options, micro_batch=None))
            assert max(asked()) == rows.GROUP
            build_teacher_states(tmp_path / "states", teacher, windows, "senses", 2, source, at_once=2)
            assert asked() == {1, 2}
            shots = "".join(
                json.dumps({"goal": f"a {w}", "sol1": "x", "sol2": "y", "label": 0}) + "\n" for w in WORDS[:3]
            )
            (tmp_path / "piqa.jsonl").write_text(shots)
            experiment = Experiment(recipe, (0,), windows, held_out, load_tasks([f"piqa:{tmp_path / 'piqa.jsonl'}"]))
            compared = TrainOptions(micro_batch=2, activations=tmp_path / "cache")
            compare(experiment, teacher, source, [], tmp_path / "compared", compared)
            assert asked() == {1, 2}
        student = cut_student(teacher, 2, 1)
        trunk_of(teacher, student, 1, windows, tmp_path / "whole").states(windows)
        assert asked() == {rows.GROUP, len(windows) % rows.GROUP}
        # What is on disk is read whatever the micro-batch of the run that made it was.
        cut = trunk_of(teacher, student, 1, windows, tmp_path / "whole", at_once=1)
        cut.check(student, Tail(student, 1), windows[:1])
        cut.states(windows)
        assert asked() == {1}
    finally:
        hook.remove()


def test_a_damaged_cache_is_not_trained_on(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shards(monkeypatch)
    windows = make_windows(teacher)
    folder = tmp_path / "cache"
    Trunk(teacher, 2, windows, folder=folder)
    shard = folder / "rows-000001.bin"
    content = shard.read_bytes()
    flipped = bytearray(content)
    flipped[100] ^= 1
    shard.write_bytes(flipped)
    trunk = Trunk(teacher, 2, windows, folder=folder)
    with pytest.raises(Corrupt, match=r"rows-000001\.bin is damaged, its sha256.*remove .*cache, and it is made again"):
        trunk.states(windows)
    for damaged in (content[:-1], b""):
        shard.write_bytes(damaged)
        with pytest.raises(Corrupt, match=r"rows-000001\.bin has [\d,]+ bytes and not [\d,]+: remove"):
            Trunk(teacher, 2, windows, folder=folder)
    shard.unlink()
    with pytest.raises(Corrupt, match=r"rows-000001\.bin has 0 bytes"):
        Trunk(teacher, 2, windows, folder=folder)
    shard.write_bytes(content)
    Trunk(teacher, 2, windows, folder=folder).states(windows)


def test_a_build_that_was_killed_goes_on(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shards(monkeypatch)
    windows = make_windows(teacher)
    whole = Trunk(teacher, 2, windows, folder=tmp_path / "whole")
    calls = 0
    run = Trunk._run

    def dies(self: Trunk, group: Sequence[object]) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:  # a group is measured, two shards are written, the third is begun
            raise KeyboardInterrupt
        return run(self, group)

    monkeypatch.setattr(Trunk, "_run", dies)
    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        Trunk(teacher, 2, windows, folder=folder)
    (folder / ".rows-000002.bin.tmp").write_bytes(b"half")
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.glob("rows-*")}
    assert len(stamps) == 2
    cut = Trunk(teacher, 2, windows, folder=folder)
    assert calls == 4 + 2  # the one group that was missing, and its measure
    assert {name: (folder / name).stat().st_mtime_ns for name in stamps} == stamps
    a, b = whole.states(windows), cut.states(windows)
    assert torch.equal(a.entering, b.entering)
    assert torch.equal(a.hidden, b.hidden)
    assert calls == 6
