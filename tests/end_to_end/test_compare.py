"""The whole job with a tiny teacher: build, serve, compare over HTTP, report; then the same from the file set."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine
from transformers import AutoModelForCausalLM, AutoTokenizer

from running_service import SENSEDICT, environment_of, free_port, running_service
from sensedict_server.settings import Settings
from tiny_teacher import corpus, save_tiny_teacher
from until import until

RECIPE = "lr = 1e-2\nepochs = 2\nbatch_size = 4\nwindow = 32\nminimum = 3\nnearest = 2\n[kl]\ntemperature = 1.0\n"


def sensedict(settings: Settings, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**environment_of(settings), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([*SENSEDICT, *words], env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def write_text(path: Path, sentences: list[str]) -> Path:
    rows = [json.dumps({"id": f"{path.stem}{i}", "text": text}) for i, text in enumerate(sentences)]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Path]:
    questions = [
        {"goal": f"How do you cross the {thing}?", "sol1": "by the road", "sol2": "on a star", "label": i % 2}
        for i, thing in enumerate(["river", "sea", "field", "city", "night", "snow"])
    ]
    (tmp_path / "piqa.jsonl").write_text("\n".join(map(json.dumps, questions)))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return {
        "teacher": save_tiny_teacher(tmp_path / "teacher"),
        "train": write_text(tmp_path / "train.jsonl", corpus(120, seed=1)),
        "held_out": write_text(tmp_path / "heldout.jsonl", corpus(30, seed=2)),
        "task": tmp_path / "piqa.jsonl",
        "recipe": tmp_path / "recipe.toml",
    }


def test_from_teacher_to_report(database: Engine, settings: Settings, parts: dict[str, Path], tmp_path: Path) -> None:
    sensedict(settings, "lexicon", "load", "english@1", "--source", "opposites")
    edges = tmp_path / "edges.json"
    edges.write_text(sensedict(settings, "lexicon", "sample", "english@1", "--count", "5", "--json").stdout)
    teacher, train = ("--teacher", str(parts["teacher"])), str(parts["train"])
    build = ("build", *teacher, "--corpus", train, "--lexicon", "english@1", "--name", "tiny", "--version", "1")
    assert "published tiny@1" in sensedict(settings, *build, "--k", "3", "--work", str(tmp_path / "work")).stdout
    assert "nothing to do" in sensedict(settings, *build, "--k", "3", "--work", str(tmp_path / "work")).stdout

    common = (
        "compare",
        *teacher,
        "--text",
        train,
        "--held-out",
        str(parts["held_out"]),
        "--recipe",
        str(parts["recipe"]),
    )
    common += ("--seeds", "0,1", "--edges", str(edges), "--task", f"piqa:{parts['task']}")
    with running_service(settings, tmp_path / "log") as service:
        served = ("--server", service.url, "--dictionary", "tiny@latest")
        done = sensedict(settings, *common, *served, "--out", str(tmp_path / "report"))
        out = done.stdout
        assert "dskd seed 0, run 2 of 6: " in done.stderr
        for name in ("Teacher", "Untrained layer-cut student", "KD", "DSKD", "KD + hidden MSE (control)", "chance"):
            assert f"| {name} " in out
        assert "shows the path, not the effect" in out
    snapshot = ("--snapshot", str(settings.files / "tiny@1"), "--out", str(tmp_path / "offline"))
    sensedict(settings, *common, *snapshot)
    reports = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("report", "offline")]
    for row, other in zip(*(report["rows"] for report in reports), strict=True):
        assert row["text"] == other["text"]  # a service or a file set: the same students to the last bit
    page = (tmp_path / "report" / "report.html").read_text()
    for part in ("<svg", "hinge", "piqa/continuation", "opposites"):
        assert part in page
    student = tmp_path / "report" / "runs" / "dskd-seed0" / "student"
    model = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(student)
    ids = tokenizer("The cold", return_tensors="pt")["input_ids"]
    assert model.generate(ids, max_new_tokens=4, do_sample=False).shape[1] > ids.shape[1]
    stamps = [os.stat(p).st_mtime_ns for p in sorted((tmp_path / "offline" / "rows").glob("*/*.json"))]
    sensedict(settings, *common, *snapshot)  # a second run trains and scores nothing
    assert [os.stat(p).st_mtime_ns for p in sorted((tmp_path / "offline" / "rows").glob("*/*.json"))] == stamps

    for words, message in (
        ((*common, *snapshot[:2], "--out", str(tmp_path / "x"), "--held-out", train), "is trained on, in"),
        ((*common, *snapshot[:2], "--out", str(tmp_path / "x"), "--dictionary", "tiny@1"), "either --dictionary"),
        ((*common, "--out", str(tmp_path / "x")), "either --dictionary"),
        ((*common, *snapshot, "--train-tokens", "100"), "training text"),
        ((*common, *snapshot, "--seeds", "0,00"), "different whole numbers"),
        ((*common, *snapshot, "--edges", str(parts["task"])), "cannot read"),
        ((*common, *snapshot, "--stages", str(parts["train"])), "train.jsonl:1: a `stage` and its `seconds`"),
        ((*common, *snapshot, "--text", "nosuch.txt"), "nosuch.txt: there is no such file"),
    ):
        failed = sensedict(settings, *words, check=False)
        assert failed.returncode != 0
        assert message in failed.stderr
        assert "Traceback" not in failed.stderr
    assert not (tmp_path / "x").exists()


def test_training_outlives_the_service(
    database: Engine, settings: Settings, parts: dict[str, Path], tmp_path: Path
) -> None:
    """Killed in the middle of a run and started again, the run goes on; away for good, it stops with a checkpoint."""
    sensedict(settings, "lexicon", "load", "english@1", "--source", "opposites")
    teacher, text = str(parts["teacher"]), str(parts["train"])
    build = ("build", "--teacher", teacher, "--corpus", text, "--lexicon", "english@1", "--name", "tiny")
    sensedict(settings, *build, "--version", "1", "--work", str(tmp_path / "work"))
    port = free_port()
    train = [*SENSEDICT, "train", "--teacher", teacher, "--text", text, "--recipe", str(parts["recipe"])]
    train += ["--dictionary", "tiny@1", "--server", f"http://127.0.0.1:{port}"]
    environment = {**environment_of(settings), "OMP_NUM_THREADS": "1"}
    with running_service(settings, tmp_path / "log", port) as service:
        subprocess.run([*train, "--out", str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
        lasting = subprocess.Popen([*train, "--out", str(tmp_path / "lasting")], env=environment)
        _await_step(tmp_path / "lasting", 3, lasting)
        service.process.kill()
    time.sleep(2)
    assert lasting.poll() is None  # it waits
    with running_service(settings, tmp_path / "log", port) as service:
        assert lasting.wait(timeout=120) == 0
        hasty = [*train, "--out", str(tmp_path / "hasty")]
        stopped = subprocess.Popen([*hasty, "--patience", "1"], env=environment, stderr=subprocess.PIPE, text=True)
        _await_step(tmp_path / "hasty", 3, stopped)
        service.process.kill()
        _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 1
    assert "does not answer" in said
    assert "the checkpoint is saved, run it again to go on" in said
    with running_service(settings, tmp_path / "log", port):
        subprocess.run(hasty, env=environment, check=True, capture_output=True)
    whole, *others = (
        (tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("whole", "lasting", "hasty")
    )
    assert others == [whole, whole]


def _await_step(run: Path, step: int, process: subprocess.Popen[Any]) -> None:
    history = run / "history.jsonl"
    until(lambda: history.exists() and history.read_text().count("\n") >= step, process)
