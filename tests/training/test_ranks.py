"""Two processes give the student that one gives at the same batches: DDP, layers in parts, a process with nothing."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rank_run import CASES, options_of, windows_of
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.loop import train
from sensedict_trainer.distil.ranks import Ranks
from sensedict_trainer.results import read_json_lines
from tiny_training import make_dictionary, make_teacher

TESTS = Path(__file__).parent.parent


def two_processes(what: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A function of `rank_run` in two processes."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # What a machine's accelerate is configured for is not what the student is computed in.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "bf16"}
    return subprocess.run(
        [*command, str(TESTS / "rank_run.py"), what, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_process_that_fails_ends_the_others(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    dictionary = make_dictionary(tmp_path / "sets", teacher)
    ran = two_processes("fail", teacher.name, str(dictionary), str(tmp_path / "run"))
    assert ran.returncode != 0
    assert "Unavailable: the service is away" in ran.stderr
    assert "the checkpoint is saved" not in ran.stderr  # it is the first process that could
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_a_run_that_is_over_keeps_no_student() -> None:
    """One process makes all the runs of an experiment."""

    def run() -> weakref.ref[nn.Module]:
        tail = nn.Linear(2, 2)
        Ranks(torch.device("cpu")).prepare(tail, nn.ModuleList(), nn.ModuleList())
        return weakref.ref(tail)

    gone = run()
    gc.collect()
    assert gone() is None


def test_two_processes_give_the_student_of_one(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    dictionary = make_dictionary(tmp_path / "sets", teacher)
    ran = two_processes("main", teacher.name, str(dictionary), str(tmp_path / "two"))
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert ran.stderr.count("stopped after step") == 1  # the first process alone tells
    windows = windows_of(teacher)
    for case, (recipe, _) in CASES.items():
        two, one = tmp_path / "two" / case, tmp_path / "one" / case
        with Snapshot.open(dictionary) as source:
            train(recipe, teacher, windows, source, one, options=options_of(case, teacher))
        there, here = (read_json_lines(folder / "history.jsonl") for folder in (two, one))
        assert [row["step"] for row in there] == [row["step"] for row in here]
        for row, other in zip(there, here, strict=True):
            assert set(row) == set(other)
            names = {"loss", "ce", "kl", "sense", "grad_norm", "sampled_positions", "answer_positions", "tokens"}
            for name in names & set(row):
                assert row[name] == pytest.approx(other[name], rel=2e-3, abs=1e-5), (case, row["step"], name)
        for name in ("student", "best") if case == "sharded" else ("student",):
            weights = load_file(two / name / "model.safetensors")
            for weight, value in load_file(one / name / "model.safetensors").items():
                torch.testing.assert_close(weights[weight], value, rtol=5e-3, atol=1e-3)
        assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    assert any(row["sampled_positions"] == 0 for row in read_json_lines(tmp_path / "two/alone/history.jsonl"))
