"""Training runs: the same result whole or interrupted, from a service that goes away, and from a wrong dictionary."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from running_service import SENSEDICT
from sensedict.errors import ConfigurationError, Corrupt, InvalidInput, Mismatch, NotFinite, Unavailable
from sensedict.snapshot import Snapshot
from sensedict.source import CandidateSets, Identity
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.progress import Progress
from sensedict_trainer.distil.recipe import Recipe, load_recipe, recipe_names
from sensedict_trainer.distil.schedule import learning_rate
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.terms.sense import SenseLoss
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.options import open_source
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.work import WorkFolder
from tiny_teacher import corpus, save_tiny_teacher
from tiny_training import RECIPE, make_dictionary, make_teacher, make_windows

OPTIONS = TrainOptions(checkpoint_every=3, measure_every=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def dictionary(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dictionary(tmp_path_factory.mktemp("sets"), teacher)


class Unsteady:
    """A snapshot that stops answering after some calls, as a service that goes away for good does."""

    def __init__(self, inner: Snapshot, calls: int) -> None:
        self._inner, self._left = inner, calls

    @property
    def identity(self) -> Identity:
        return self._inner.identity

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Unavailable("http://127.0.0.1:9 does not answer")

    def candidate_sets(self, tokens: np.ndarray) -> CandidateSets:
        self._spend()
        return self._inner.candidate_sets(tokens)

    def get_senses(self, ids: np.ndarray) -> np.ndarray:
        self._spend()
        return self._inner.get_senses(ids)

    def nearest_senses(self, vectors: Any, p: int, tokens: Any = None) -> Any:
        return self._inner.nearest_senses(vectors, p, tokens)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Unsteady:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    return all(torch.equal(weight, weights(b)[name]) for name, weight in weights(a).items())


@pytest.mark.parametrize("objective", ["kd", "dskd", "kd+mse"])
def test_a_run_lowers_its_loss_and_writes_a_plain_model(
    teacher: Teacher, dictionary: Path, tmp_path: Path, objective: Any
) -> None:
    recipe = replace(RECIPE, objective=objective, epochs=6)
    with Snapshot.open(dictionary) as source:
        result = train(recipe, teacher, make_windows(teacher), source, tmp_path / "run", options=OPTIONS)
    rows = read_json_lines(result.history)
    assert [row["step"] for row in rows] == list(range(1, 37))
    assert np.mean([row["loss"] for row in rows[-6:]]) < 0.98 * np.mean([row["loss"] for row in rows[:6]])
    terms = {"ce", "kl"} | ({"sense"} if objective == "dskd" else {"mse"} if objective == "kd+mse" else set())
    measured = [row for row in rows if "grad_share" in row]
    assert len(measured) == 18
    for row in measured:
        assert set(row["grad_share"]) == terms
        assert sum(row["grad_share"].values()) == pytest.approx(1.0)
    if objective == "dskd":
        assert rows[0]["hit_rate"] == 0.0
        assert rows[-1]["hit_rate"] == 1.0  # a dictionary of this size stays on the device
        assert all(row["loss"] == pytest.approx(row["ce"] + row["kl"] + row["sense"], rel=1e-5) for row in rows)
        assert any(0 < row.get("hinge_active", 0) < 1 for row in rows)
    model = AutoModelForCausalLM.from_pretrained(result.student, dtype=torch.float32)
    assert model.config.num_hidden_layers == 2
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_an_objective_may_be_any_sum_of_terms(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    past_the_paper = SenseLoss(margin_of="quantile", margin=0.5, positives="weighted", distance="spread")
    recipe = replace(RECIPE, objective="ce + jsd + sense", terms={"sense": past_the_paper})
    with Snapshot.open(dictionary) as source:
        rows = read_json_lines(
            train(recipe, teacher, make_windows(teacher), source, tmp_path / "a", options=OPTIONS).history
        )
    assert {"ce", "jsd", "sense", "sense_positive", "hinge_active"} <= set(rows[0])
    assert any(0 < row["hinge_active"] < 1 for row in rows)
    nothing = replace(recipe, fraction=0.0, minimum=0)
    with (
        Snapshot.open(dictionary) as source,
        pytest.raises(ConfigurationError, match=r"in \d+ windows of the text nothing has an antonym: use"),
    ):
        train(nothing, teacher, make_windows(teacher), source, tmp_path / "none", options=OPTIONS)
    alone = load_recipe("demo", settings=["mse.positions=all", "batch_size=4", "window=24"], objective="mse")
    rows = read_json_lines(train(alone, teacher, make_windows(teacher), None, tmp_path / "b", options=OPTIONS).history)
    assert rows[-1]["mse"] < rows[0]["mse"]
    assert "ce" not in rows[0]


def test_micro_batches_give_the_same_student(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    with Snapshot.open(dictionary) as source:
        whole = train(RECIPE, teacher, windows, source, tmp_path / "a", options=OPTIONS).student
        cut = train(RECIPE, teacher, windows, source, tmp_path / "b", options=replace(OPTIONS, micro_batch=1)).student
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(cut)[name], weight, rtol=2e-3, atol=2e-4)


def test_a_small_cache_gives_the_same_student(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    with Snapshot.open(dictionary) as source:
        tight = replace(OPTIONS, cache_bytes=110 * 2 * source.identity.dim)  # of 125 senses
        a = train(RECIPE, teacher, windows, source, tmp_path / "a", options=OPTIONS).student
        b = train(RECIPE, teacher, windows, source, tmp_path / "b", options=tight).student
        assert same(a, b)
        with pytest.raises(ConfigurationError, match="--cache-mb"):
            train(RECIPE, teacher, windows, source, tmp_path / "c", options=replace(OPTIONS, cache_bytes=640))


def test_runs_share_one_pass_of_the_teacher(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    trunk = Trunk(teacher, RECIPE.student_layers(teacher.layers) - RECIPE.trainable, windows)
    with Snapshot.open(dictionary) as source:
        shared = [train(RECIPE, teacher, windows, source, tmp_path / n, trunk, OPTIONS).student for n in ("a", "b")]
        alone = train(RECIPE, teacher, windows, source, tmp_path / "c", options=OPTIONS).student
    assert same(shared[0], shared[1])
    assert same(shared[0], alone)


def test_a_finished_run_is_not_run_again(teacher: Teacher, tmp_path: Path) -> None:
    recipe = replace(RECIPE, objective="kd")
    first = train(recipe, teacher, make_windows(teacher), None, tmp_path / "run", options=OPTIONS)
    stamp = (first.student / "model.safetensors").stat().st_mtime_ns
    again = train(recipe, teacher, make_windows(teacher), None, tmp_path / "run", options=OPTIONS)
    assert again == first
    assert (again.student / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(ConfigurationError, match=r"\(recipe\.lr 0\.01 there, 0\.02 now\)"):
        train(replace(recipe, lr=0.02), teacher, make_windows(teacher), None, tmp_path / "run", options=OPTIONS)
    fresh = replace(OPTIONS, fresh=True)
    train(replace(recipe, lr=0.02), teacher, make_windows(teacher), None, tmp_path / "run", options=fresh)


def test_a_service_that_goes_away_leaves_a_checkpoint(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    windows = make_windows(teacher)
    with Snapshot.open(dictionary) as source:
        whole = train(RECIPE, teacher, windows, source, tmp_path / "whole", options=OPTIONS).student
        with pytest.raises(Unavailable, match=r"does not answer; stopped after step \d+ of 12.*run it again"):
            train(RECIPE, teacher, windows, Unsteady(source, 6), tmp_path / "run", options=OPTIONS)
        (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
        assert int(checkpoint.name[-8:]) >= 1
        resumed = train(RECIPE, teacher, windows, source, tmp_path / "run", options=OPTIONS)
    assert same(whole, resumed.student)
    assert [row["step"] for row in read_json_lines(resumed.history)] == list(range(1, 13))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_and_started_again(teacher: Teacher, dictionary: Path, tmp_path: Path, number: signal.Signals) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("lr = 1e-2\nepochs = 15\nbatch_size = 4\nwindow = 24\nminimum = 3\nnearest = 2\n")
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": sentence}) + "\n" for sentence in corpus(60)))
    command = [*SENSEDICT, "train", "--teacher", teacher.name, "--text", str(text)]
    command += ["--snapshot", str(dictionary), "--recipe", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    run = tmp_path / "run"
    process = subprocess.Popen([*command, "--out", str(run)], env=environment, stderr=subprocess.PIPE, text=True)
    history = run / "history.jsonl"
    wanted = 105 if number == signal.SIGKILL else 7  # a kill leaves what the checkpoint at 100 has
    deadline = time.monotonic() + 300
    while not history.exists() or history.read_text().count("\n") < wanted:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode != 0
    assert not (run / "student").exists()
    (checkpoint,) = run.glob("checkpoint-*")
    if number != signal.SIGKILL:
        assert f"stopped after step {int(checkpoint.name[-8:])} of" in said
        assert said.endswith("the same command goes on where it was\n")
        assert process.returncode == 130
        assert "Traceback" not in said
    subprocess.run([*command, "--out", str(run)], check=True, env=environment, capture_output=True)
    assert same(tmp_path / "whole" / "student", run / "student")
    steps = [row["step"] for row in read_json_lines(history)]
    assert steps == list(range(1, len(steps) + 1))


def test_who_read_the_progress_may_go(
    teacher: Teacher, dictionary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Progress.step

    def closed(progress: Progress, row: dict[str, Any]) -> None:  # at a step that is known, as no real pipe is
        if row["step"] == 5:
            raise BrokenPipeError
        step(progress, row)

    monkeypatch.setattr(Progress, "step", closed)
    with Snapshot.open(dictionary) as source, pytest.raises(BrokenPipeError):
        train(RECIPE, teacher, make_windows(teacher), source, tmp_path / "run", options=OPTIONS)
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert checkpoint.name.endswith("05")


class Hanging(Unsteady):
    """A source whose answer does not come, once a step of the run in `out` is done, until `over`."""

    def __init__(self, inner: Snapshot, calls: int, out: Path) -> None:
        super().__init__(inner, calls)
        self._history = out / "history.jsonl"
        self.over, self.answered = threading.Event(), False

    def candidate_sets(self, tokens: np.ndarray) -> CandidateSets:
        return self._inner.candidate_sets(tokens)

    def get_senses(self, ids: np.ndarray) -> np.ndarray:
        self._left -= 1
        if self._left < 0:
            # senses are fetched ahead of the steps
            while not self._history.exists() or not self._history.stat().st_size:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            self.over.wait(90)
            self.answered = True
        return self._inner.get_senses(ids)


def test_an_interrupt_does_not_wait_for_an_answer(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Snapshot.open(dictionary) as inner:
        source = Hanging(inner, 3, run)
        with pytest.raises(KeyboardInterrupt):
            train(RECIPE, teacher, make_windows(teacher), source, run, options=OPTIONS)
        assert not source.answered
        source.over.set()
    assert list(run.glob("checkpoint-*"))


def test_damaged_senses_are_not_trained_on(teacher: Teacher, dictionary: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dictionary, tmp_path / "tiny@1"))
    vectors = bytearray((copy / "vectors.safetensors").read_bytes())
    vectors[-100:] = bytes(100)
    (copy / "vectors.safetensors").write_bytes(vectors)
    with pytest.raises(Corrupt, match=r"vectors\.safetensors has the sha256"):
        open_source(None, "http://127.0.0.1:8000", copy, 1.0)


def test_fresh_removes_nothing_of_others(teacher: Teacher, tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text('{"name": "me"}')
    (tmp_path / "thesis.txt").write_text("do not remove")
    recipe = replace(RECIPE, objective="kd")
    with pytest.raises(ConfigurationError, match="something else than unfinished work"):
        train(recipe, teacher, make_windows(teacher), None, tmp_path, options=replace(OPTIONS, fresh=True))
    assert (tmp_path / "thesis.txt").read_text() == "do not remove"


def test_a_run_that_ended_before_any_work_leaves_its_folder_to_others(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "run", {"lr": 1}):
        pass
    with WorkFolder(tmp_path / "run", {"lr": 2}) as work:
        work.save("part", {"x": np.zeros(1, np.float32)})
    with pytest.raises(ConfigurationError, match=r"lr 2 there, 3 now"):
        WorkFolder(tmp_path / "run", {"lr": 3})


def test_one_process_works_in_a_folder(teacher: Teacher, tmp_path: Path) -> None:
    recipe = replace(RECIPE, objective="kd")
    identity = {"kind": "held by another"}
    with WorkFolder(tmp_path / "run", identity), pytest.raises(ConfigurationError, match="another process works in"):
        train(recipe, teacher, make_windows(teacher), None, tmp_path / "run", options=replace(OPTIONS, fresh=True))
    assert (tmp_path / "run" / "identity.json").exists()
    found = train(recipe, teacher, make_windows(teacher), None, tmp_path / "run", options=replace(OPTIONS, fresh=True))
    assert all(path.stat().st_mode & 0o044 for path in found.student.iterdir())  # others may load it


def test_what_a_recipe_says_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('seed = 7\nobjective = "kd"\n')
    recipe = load_recipe(str(tmp_path / "r.toml"), objective=None, seed=None)
    assert (recipe.seed, recipe.objective) == (7, "kd")
    assert load_recipe(str(tmp_path / "r.toml"), seed=3).seed == 3
    with pytest.raises(InvalidInput, match="seed = 7, which is decided by the command"):
        load_recipe(str(tmp_path / "r.toml"), decided=("objective", "seed"))


def test_another_teachers_dictionary_is_refused_before_training(dictionary: Path, tmp_path: Path) -> None:
    other = load_teacher(str(save_tiny_teacher(tmp_path / "other", seed=1)))
    with Snapshot.open(dictionary) as source, pytest.raises(Mismatch) as caught:
        train(RECIPE, other, make_windows(other), source, tmp_path / "run", options=OPTIONS)
    assert other.fingerprint in caught.value.detail
    assert source.identity.teacher_hash in caught.value.detail
    assert not (tmp_path / "run").exists()


def test_an_objective_that_needs_a_dictionary_says_so(teacher: Teacher, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="dskd needs a dictionary"):
        train(RECIPE, teacher, make_windows(teacher), None, tmp_path / "run", options=OPTIONS)


def test_a_loss_that_is_no_number_stops_the_run(teacher: Teacher, tmp_path: Path) -> None:
    wild = replace(RECIPE, objective="kd", terms={"kl": ForwardKL(temperature=1e-38)})
    with pytest.raises(
        NotFinite, match=r"the loss is nan at step 1, in the batch of s\d+#0, .*lower the learning rate"
    ):
        train(wild, teacher, make_windows(teacher), None, tmp_path / "run", options=OPTIONS)
    assert not (tmp_path / "run" / "student").exists()


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(Recipe(lr=1.0, warmup=0.1), step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == max(rates) == 1.0
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_recipes_of_the_package_load() -> None:
    assert recipe_names() == ["demo", "paper-llama3", "paper-mistral"]
    mistral = load_recipe("paper-mistral").active["sense"]
    assert isinstance(mistral, SenseLoss)
    assert (mistral.positive, mistral.negative, mistral.margin) == (1.5, 1.5, 1.0)
    assert load_recipe("demo", objective="kd", seed=3).seed == 3
    assert load_recipe("demo").window == 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = 'high'", "lr = 'high', which is no float"),
        ("learning_rate = 1.0", "unknown field 'learning_rate'"),
        ("[sens]\nmargin = 1", "unknown field 'sens', is 'sense' meant"),
        ("lr = ", "cannot be read"),
        ("lr = -1.0\nepochs = 0", "lr -1.0 is not above 0; epochs 0 is not at least 1"),
        ("[sense]\nmargin = -1", r"sense\.margin -1.0 is not 0 or more"),
        ("[sense]\nmargins = 1", r"unknown field 'sense\.margins', is 'margin' meant"),
        ("sense = 1", r"\[sense\] is a table of settings"),
        ("objective = 'ce + kll'", "has no term 'kll', is 'kl' meant"),
        ("objective = 'ce + ce'", "has a term twice"),
    ],
)
def test_a_broken_recipe_names_its_fault(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        load_recipe(str(tmp_path / "r.toml"))
    with pytest.raises(InvalidInput, match="demo, paper-llama3, paper-mistral"):
        load_recipe("nosuch")
    with pytest.raises(InvalidInput, match="no recipe 'paper-lama3', is 'paper-llama3' meant"):
        load_recipe("paper-lama3")
    with pytest.raises(InvalidInput, match=r"^the setting lr=high has lr = 'high', which is no float"):
        load_recipe("demo", settings=["epochs=2", "lr=high"])
    with pytest.raises(InvalidInput, match=r"^the setting lr=1e-4 has lr = 0\.0001, which is decided by the command"):
        load_recipe("demo", decided=("lr",), settings=["lr=1e-4"])
    with pytest.raises(InvalidInput, match=r"^the setting sense\.margins=1 has an unknown field 'sense\.margins'"):
        load_recipe("demo", settings=["sense.margins=1"])
    (tmp_path / "r.toml").write_text("lrr = 1.0")
    with pytest.raises(InvalidInput, match=r"r\.toml has an unknown field 'lrr'"):
        load_recipe(str(tmp_path / "r.toml"), settings=["lr=1e-4"])


def test_the_cache_keeps_what_is_held_and_forgets_the_oldest() -> None:
    vectors = np.arange(40, dtype=np.float16).reshape(10, 4)
    fetched: list[int] = []

    def fetch(ids: np.ndarray) -> np.ndarray:
        fetched.extend(ids.tolist())
        return vectors[ids]

    cache = SenseCache(10, 4, capacity=4, device=torch.device("cpu"))
    rows, hits = cache.load(np.array([0, 1]), fetch)
    assert hits == 0
    held, _ = cache.load(np.array([2, 3]), fetch)
    cache.release(rows)
    again, hits = cache.load(np.array([1, 5]), fetch)  # 0 makes room: 2 and 3 are held, 1 is wanted
    assert hits == 1
    assert fetched == [0, 1, 2, 3, 5]
    assert torch.equal(cache.table[cache.rows(np.array([1, 5, 2, 3]))], torch.from_numpy(vectors[[1, 5, 2, 3]]))
    cache.release(again)
    cache.release(held)
    with pytest.raises(ConfigurationError, match="5 senses and the cache has room for 4"):
        cache.load(np.arange(5), fetch)


def test_a_teacher_in_half_precision_trains_with_the_same_dictionary(
    teacher: Teacher, dictionary: Path, tmp_path: Path
) -> None:
    half = load_teacher(teacher.name, "bfloat16")
    with Snapshot.open(dictionary) as source:
        result = train(RECIPE, half, make_windows(half), source, tmp_path / "run", options=OPTIONS)
    assert AutoModelForCausalLM.from_pretrained(result.student).dtype == torch.bfloat16
    rows = read_json_lines(result.history)
    assert rows[-1]["loss"] < rows[0]["loss"]
