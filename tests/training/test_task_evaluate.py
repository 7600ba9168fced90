"""`sensedict evaluate`: what it prints and logs, the sample that is asked again, and two processes against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sensedict.cli import cli
from sensedict.errors import InvalidInput, SenseDictError
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.tasks.evaluation import Evaluation, details, table, whole
from sensedict_trainer.tasks.registry import load_tasks
from sensedict_trainer.tasks.task import Reply
from tiny_teacher import WORDS, save_tiny_teacher


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of two data sets under their usual names."""
    folder = tmp_path_factory.mktemp("data")

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def arc(i: int) -> dict[str, Any]:
        choices = {"text": [WORDS[i + j] for j in range(4)], "label": list("ABCD")}
        return {"id": f"q{i}", "question": f"the {WORDS[i]} is {WORDS[-i]}", "choices": choices, "answerKey": "B"}

    def mmlu(subject: str, i: int) -> dict[str, Any]:
        text = f"the {WORDS[i]} of {WORDS[-i]}"
        return {"subject": subject, "question": text, "choices": WORDS[i : i + 4], "answer": i % 4}

    write("arc_easy_test", [arc(i) for i in range(7)])
    write("arc_easy_train", [arc(i) for i in range(20, 26)])
    write("mmlu_test", [mmlu(subject, i) for subject in ("art", "law") for i in (1, 2, 3)])
    write("mmlu_dev", [mmlu(subject, i) for subject in ("art", "law") for i in (20, 21)])
    return folder


def run(*words: str) -> str:
    result = CliRunner().invoke(cli, ["evaluate", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_table_log_and_json(teacher: Path, data: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log.jsonl"
    names = ["--task", "arc_easy", "--task", "mmlu/letter"]
    options = [*names, "--data", str(data), "--shots", "2", "--sample", "3", "--log", str(log)]
    found = json.loads(run(str(teacher), *options, "--json"))
    assert [task["name"] for task in found["tasks"]] == [
        "arc_easy/continuation",
        "arc_easy/continuation_norm",
        "mmlu/letter",
    ]
    rows = read_json_lines(log)
    for task in found["tasks"]:
        own = [row for row in rows if row["task"] == task["name"]]
        assert len(own) == task["questions"] == task["total"] == len({row["id"] for row in own})
        assert task["value"] == pytest.approx(sum(row["right"] for row in own) / len(own))
        assert all(row["right"] == (row["answer"] == row["wanted"]) for row in own)
        assert all(len(row["scores"]) == 4 and max(row["scores"]) < 0 for row in own)
        assert (task["shots"], task["seed"], task["asked_again"]["questions"]) == (2, 0, 3)
        assert task["asked_again"]["differing"] == []
        assert 0 < task["asked_again"]["largest_difference"] < 1e-3 or task["name"] == "mmlu/letter"
        assert (task["questions_without_some_examples"], task["questions_cut"]) == (0, 0)
    plain, normed, mmlu = found["tasks"]
    assert plain["prompts"] == normed["prompts"]
    assert [r["scores"] for r in rows if r["task"] == plain["name"]] == [
        r["scores"] for r in rows if r["task"] == normed["name"]
    ]
    assert set(plain["examples"]) < {f"q{i}" for i in range(20, 26)}
    assert len(mmlu["examples"]) == 4
    assert {group: each["questions"] for group, each in mmlu["groups"].items()} == {"art": 3, "law": 3}
    shown = run(str(teacher), *options)
    for word in ("| mmlu/letter", "25.0%", "0 of 3", plain["prompts"], *plain["examples"], "6 of 6 questions"):
        assert word in shown


def test_limit_and_bad_options(teacher: Path, data: Path) -> None:
    words = [str(teacher), "--task", "arc_easy/letter", "--data", str(data)]
    (task,) = json.loads(run(*words, "--limit", "2", "--seed", "3", "--sample", "0", "--json"))["tasks"]
    assert (task["questions"], task["total"], task["asked_again"]["questions"]) == (2, 7, 0)
    for more, message in (
        (["--shots", "7"], r"arc_easy_train.jsonl has 6 questions that are not scored: too few for 7 examples"),
        (["--task", "arc_easy/letter"], "named twice"),
        (["--device", "auto"], "name it, as cuda"),
    ):
        with pytest.raises(SenseDictError, match=message):
            CliRunner().invoke(cli, ["evaluate", *words, *more], catch_exceptions=False)
    with pytest.raises(InvalidInput, match="no task 'arc_esay'"):
        CliRunner().invoke(cli, ["evaluate", "/nowhere", "--task", "arc_esay"], catch_exceptions=False)


def test_what_differs_is_told(data: Path) -> None:
    (task,) = load_tasks(["arc_easy/letter"], data)
    replies = [Reply(place, (-1.0, -2.0, -3.0, -3.0)) for place in range(7)]
    again = [Reply(1, (-1.0, -2.0, -3.0, -3.0)), Reply(4, (-2.5, -2.0, -3.0, -3.0), dropped=1)]
    answers = [task.judge(reply) for reply in replies]
    evaluation = Evaluation(task, task.score(answers), replies, answers, again)
    assert evaluation.differing == ["q4"]
    assert evaluation.to_json()["asked_again"] == {"questions": 2, "differing": ["q4"], "largest_difference": 1.5}
    assert "  answered otherwise in a batch of one: q4; log-likelihoods differ by up to 1.5e+00 nats" in details(
        evaluation
    )
    assert table([evaluation]).rows[0][-1] == "1 of 2"
    cut = [*replies[:5], replace(replies[5], dropped=2), replace(replies[6], dropped=2, cut=9)]
    counted = replace(evaluation, replies=cut)
    assert table([counted]).rows[0][5:7] == ["2", "1"]
    assert counted.to_json()["questions_without_some_examples"] == 2
    assert counted.rows()[6]["cut_tokens"] == 9


def test_replies_must_be_complete_and_unique(data: Path) -> None:
    (task,) = load_tasks(["arc_easy/letter"], data)
    replies = [Reply(place) for place in (3, 1, 0, 2, 6, 5, 4)]
    assert [reply.place for reply in whole(task, replies)] == list(range(7))
    with pytest.raises(SenseDictError, match="of 7 questions 1 have no reply and 0 have more than one"):
        whole(task, replies[1:])
    with pytest.raises(SenseDictError, match="of 7 questions 1 have no reply and 1 have more than one"):
        whole(task, [*replies[1:], replies[1]])


def test_two_processes_answer_as_one(teacher: Path, data: Path, tmp_path: Path) -> None:
    words = [str(teacher), "--task", "arc_easy/letter", "--task", "mmlu/continuation", "--data", str(data)]
    words += ["--shots", "1", "--json", "--sample", "5"]
    one = json.loads(run(*words, "--log", str(tmp_path / "one.jsonl")))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = [sys.executable, "-c", "from sensedict.cli import main; main()", "evaluate"]
    ran = subprocess.run(
        [*launcher, "--no-python", "--", *program, *words, "--log", str(tmp_path / "two.jsonl")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    two = json.loads(ran.stdout)  # the first process alone prints
    assert (one["processes"], two["processes"]) == (1, 2)
    for a, b in zip(one["tasks"], two["tasks"], strict=True):
        assert b["asked_again"]["questions"] == a["asked_again"]["questions"] == 5
        assert {k: v for k, v in a.items() if k != "asked_again"} == {k: v for k, v in b.items() if k != "asked_again"}
    rows, others = (read_json_lines(tmp_path / f"{name}.jsonl") for name in ("one", "two"))
    for row, other in zip(rows, others, strict=True):
        assert row.pop("scores") == pytest.approx(other.pop("scores"), abs=1e-3)
        assert row == other
