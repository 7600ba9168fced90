"""Files of tasks: what is refused, and what it is called; where they are found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.registry import ENTRIES, load_tasks

ARC = {
    "id": "q1",
    "question": "What?",
    "choices": {"text": ["x", "y", "z"], "label": ["A", "B", "C"]},
    "answerKey": "B",
}
MMLU = {"subject": "law", "question": "Who?", "choices": ["w", "x", "y", "z"], "answer": 1}
PIQA = {"goal": "Open it", "sol1": "twist", "sol2": "bite", "label": 1}
WINO = {"sentence": "Ann saw Eve so _ waved.", "option1": "Ann", "option2": "Eve", "answer": "2"}
SWAG = {"activity_label": "Roof", "ctx": "A man", "endings": ["a", "b", "c", "d"], "label": 3}
NOT_PUBLIC = "a split whose answers are not public cannot be scored"


def without(row: dict[str, object], name: str) -> dict[str, object]:
    return {field: value for field, value in row.items() if field != name}


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("arc_easy", ARC | {"answerKey": "E"}, r"the answer 'E' is not among the labels A, B, C"),
        ("arc_easy", ARC | {"answerKey": ""}, NOT_PUBLIC),
        ("arc_easy", ARC | {"question": " "}, "the question is empty"),
        ("arc_easy", ARC | {"question": 3}, "the question is int, and must be a string"),
        ("arc_easy", ARC | {"question": "\ud800"}, r"half a character, '\\ud800'"),
        ("arc_easy", ARC | {"choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A"}, "2 to 10 choices, not 1"),
        ("arc_easy", ARC | {"choices": {"text": ["a", " "], "label": ["A", "B"]}}, "a choice is empty"),
        ("arc_easy", ARC | {"choices": {"text": ["a", 3], "label": ["A", "B"]}}, "3 is int, and must be a string"),
        ("arc_easy", ARC | {"choices": {"text": ["a", "b"], "label": ["A"]}}, "2 choices but 1 labels"),
        ("arc_easy", ARC | {"choices": {"text": ["a", "b"]}}, "no field 'label'"),
        ("arc_easy", ARC | {"choices": 3}, "not subscriptable"),
        (
            "arc_easy",
            without(ARC, "answerKey"),
            "no field 'answerKey': arc_easy has question, choices, answerKey",
        ),
        ("arc_easy", PIQA, "no field 'question': .*: it is a row of piqa$"),
        ("mmlu", MMLU | {"answer": 4}, "the answer 4 is none of 0, 1, 2, 3"),
        ("mmlu", MMLU | {"answer": True}, "the answer True is none of"),
        ("mmlu", MMLU | {"answer": "B"}, "the answer 'B' is none of"),
        ("mmlu", MMLU | {"subject": None}, "must be a string"),
        ("arc_easy", ARC | {"choices": {"text": ["a", "b"], "label": ["A", "A"]}}, "the same label: A, A"),
        ("piqa", PIQA | {"label": -1}, NOT_PUBLIC),
        ("piqa", PIQA | {"label": 2}, "the answer 2 is none of 0, 1"),
        ("winogrande", WINO | {"sentence": "Ann waved."}, "the sentence has no blank"),
        ("winogrande", WINO | {"answer": ""}, NOT_PUBLIC),
        ("winogrande", WINO | {"answer": "0"}, "the answer '0' is none of 1, 2"),
        ("hellaswag", SWAG | {"label": ""}, NOT_PUBLIC),
        ("hellaswag", SWAG | {"endings": ["a", 3]}, "rows.jsonl:2: "),
        ("commonsense_qa", [], "line 2: not a JSON object"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(tmp_path: Path, task: str, row: object, message: str) -> None:
    good = {"mmlu": MMLU, "piqa": PIQA, "winogrande": WINO, "hellaswag": SWAG}.get(task, ARC)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(InvalidInput, match=message) as raised:
        load_tasks([f"{task}:{path}"])
    assert "rows.jsonl" in raised.value.detail
    assert "2" in raised.value.detail


def test_unusable_files(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for content, message in ((b"{\n", "t.jsonl, line 1: not JSON"), (b"\n", "holds no rows"), (b"\xff\n", "not UTF-8")):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=message):
            load_tasks([f"piqa:{path}"])
    (tmp_path / "broken.jsonl.xz").write_bytes(b"not xz")
    for name, message in (
        ("absent.jsonl.xz", "cannot read .*absent.jsonl.xz: No such file"),
        ("broken.jsonl.xz", "the compressed file is broken"),
        ("t.csv", "a task's file is one of JSON lines"),
    ):
        with pytest.raises(InvalidInput, match=message):
            load_tasks([f"piqa:{tmp_path / name}"])
    path.write_text(json.dumps(PIQA) + "\n")
    with pytest.raises(InvalidInput, match="has 1 questions: too few for 1 examples and one to score"):
        load_tasks([f"piqa:{path}"], shots=1)
    with pytest.raises(InvalidInput, match=r"t\.jsonl has 1 questions that are not scored: too few for 2 examples"):
        load_tasks([f"piqa:{path}"], shots=2)


def test_names(tmp_path: Path) -> None:
    for name, message in (
        ("arc_chalenge/letter", r"no task 'arc_chalenge' \(did you mean arc_challenge\?\): there are arc_easy, "),
        ("piqa/leter", r"piqa has no form 'leter' \(did you mean letter\?\): it has letter, continuation, contin"),
        ("winogrande/letter", "winogrande has no form 'letter'"),
        ("piqa:", "a task is named as NAME"),
        ("piqa", "where are the questions of piqa"),
        ("", "no task ''"),
    ):
        with pytest.raises(InvalidInput, match=message):
            load_tasks([name])
    with pytest.raises(InvalidInput, match=r"no file piqa_validation\.jsonl \(or \.xz.*does not hold it"):
        load_tasks(["piqa"], tmp_path)
    with pytest.raises(InvalidInput, match="is no folder"):
        load_tasks(["piqa"], tmp_path / "absent")
    path = tmp_path / "piqa_validation.jsonl"
    path.write_text(json.dumps(PIQA) + "\n")
    assert [task.name for task in load_tasks(["piqa"], tmp_path)] == ["piqa/continuation", "piqa/continuation_norm"]
    with pytest.raises(InvalidInput, match=r"no file piqa_train\.jsonl"):
        load_tasks(["piqa"], tmp_path, shots=1)
    with pytest.raises(InvalidInput, match="piqa/continuation is named twice"):
        load_tasks(["piqa", "piqa/continuation"], tmp_path)
    wrong = tmp_path / "arc_challenge_test.jsonl"
    wrong.write_text(json.dumps(ARC) + "\n")
    with pytest.raises(InvalidInput, match="is a file of arc_challenge by its name, and the task is arc_easy"):
        load_tasks([f"arc_easy:{wrong}"])
    for name, task in (
        ("piqa_train.jsonl.gz", "piqa"),
        ("mmlu_dev.jsonl", "mmlu/letter"),
        ("squad_v2_train_part.jsonl", "squad_v2"),
    ):
        with pytest.raises(InvalidInput, match=r"by its name what students are trained on .* needs another name"):
            load_tasks([f"{task}:{tmp_path / name}"])
    assert set(ENTRIES) >= {"arc_easy", "arc_challenge", "commonsense_qa", "piqa", "mmlu", "hellaswag", "winogrande"}


def test_rows_of_datasets(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    rows = [PIQA, PIQA | {"goal": "Close it", "label": 0}]
    (tmp_path / "hub" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task,) = load_tasks([f"piqa/letter:datasets:{tmp_path / 'hub'}#train"])
    assert task.ids == ("hub:train:1", "hub:train:2")
    assert len(task.file_hash) == 64
    with pytest.raises(InvalidInput, match=r"datasets:.*absent"):
        load_tasks([f"piqa/letter:datasets:{tmp_path / 'absent'}#test"])
    with pytest.raises(InvalidInput, match=r"hub: name the split that is scored, as .*hub#validation"):
        load_tasks([f"piqa/letter:datasets:{tmp_path / 'hub'}"])


@pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
def test_the_authors_files() -> None:
    folder = Path(os.environ["SENSEDICT_TEST_DATA"]) / "tasks"
    totals = {"arc_challenge": 1172, "arc_easy": 2376, "commonsense_qa": 1221, "piqa": 1838, "mmlu": 14042}
    for task in load_tasks([f"{name}/letter" for name in totals], folder, shots=5):
        groups = len(set(task.groups))
        assert (groups, len(task.example_ids)) == ((57, 285) if task.name == "mmlu/letter" else (1, 5))
        assert len(task.ids) == task.total == totals[task.name.partition("/")[0]]
    (swag,) = load_tasks(["hellaswag/continuation"], folder, limit=100)
    assert (len(swag.ids), swag.total, swag.chance) == (100, 10042, 0.25)
