"""Training text of the tasks: the words of evaluation, parts that share nothing, rows that may not be trained on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from tests.tiny_teacher import save_tokenizer
from transformers import AutoTokenizer

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks import mmlu_pro
from sensedict_trainer.tasks.choice import ChoiceTask
from sensedict_trainer.tasks.registry import load_tasks
from sensedict_trainer.tasks.tasks_command import tasks as tasks_command
from sensedict_trainer.tasks.training_parts import TRAIN_FILES, Settings, evaluated_keys, read_candidates, take_part
from sensedict_trainer.tasks.training_text import json_lines, make_chats, manifest
from sensedict_trainer.text import TokenWindow, check_held_out, cut_windows, read_documents

Rows = list[dict[str, Any]]


def labelled(stem: str, count: int) -> Rows:
    return [
        {
            "id": f"{stem}-{i}",
            "question": f"What comes after {i} in {stem}?",
            "choices": {"text": [str(i), f"it is {i + 1}", "a cat"], "label": ["A", "B", "C"]},
            "answerKey": "ABC"[i % 3],
        }
        for i in range(count)
    ]


def pro(number: int, question: str, category: str = "math") -> dict[str, Any]:
    options = [f"option {i} of {number}" for i in range(10)]
    place = number % 10
    return {
        "question_id": number,
        "question": question,
        "options": options,
        "answer": "ABCDEFGHIJ"[place],
        "answer_index": place,
        "category": category,
        "src": "stem",
    }


def squad_rows(stem: str, paragraphs: int) -> Rows:
    return [
        {
            "id": f"{stem}-{p}-{q}",
            "title": "t",
            "context": f"In {stem}, paragraph {p}, the river is {p} miles long.",
            "question": f"How long is river {q}?",
            "answers": {"text": [f"{p} miles"] if q else [], "answer_start": [1] if q else []},
        }
        for p in range(paragraphs)
        for q in range(3)
    ]


def files() -> dict[str, Rows]:
    piqa = [{"goal": f"open jar {i}", "sol1": "twist it", "sol2": "eat it", "label": i % 2} for i in range(16)]
    asked = {"subject": "algebra", "question": "Which is 3 + 3?", "choices": ["1", "6", "2", "3"], "answer": 1}
    flawed = [pro(90, "Which disagree?") | {"answer_index": 5}, pro(91, "Few?") | {"options": list("AAABC")}]
    flawed[1] |= {"answer": "D", "answer_index": 3}
    return {
        "arc_challenge_train": [*labelled("arc", 16), labelled("arc", 1)[0] | {"id": "again"}],
        "arc_challenge_test": [labelled("arc", 3)[2] | {"question": "what comes AFTER 2, in arc"}],
        "commonsense_qa_train": labelled("csqa", 16),
        "commonsense_qa_validation": labelled("csqa-validation", 2),
        "piqa_train": piqa,
        "piqa_validation": [piqa[3] | {"goal": "open, jar 3", "sol1": "other words"}],
        "mmlu_pro_test": [
            *(pro(i, f"Which is {i} + {i}?", "math" if i % 8 else "law") for i in range(16)),
            *flawed,
            pro(0, "Which is 0 + 0?"),
        ],
        "mmlu_pro_validation": [pro(99, "Which is 99 + 99?")],
        "mmlu_test": [asked],
        "mmlu_dev": [asked | {"question": "Which is 4 + 4?"}],
        "squad_v2_train_part": squad_rows("train", 6),
        "squad_v2_validation": squad_rows("validation", 1),
    }


def write(folder: Path, contents: Mapping[str, Iterable[Mapping[str, Any]]]) -> Path:
    for stem, rows in contents.items():
        (folder / f"{stem}.jsonl").write_bytes(json_lines(list(rows)))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return write(folder, files())


def words(rows: Rows) -> dict[str, tuple[str, str]]:
    return {row["id"]: (row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows}


def test_prompts_are_those_of_evaluation(data: Path) -> None:
    """Without examples, with them, and SQuAD's with the very example that evaluation would show."""
    bare = words(make_chats(data, tuple(TRAIN_FILES), Settings(1.0, 0)).train)
    solved = {f"{prompt} {answer}" for prompt, answer in bare.values()}
    shown = words(make_chats(data, tuple(TRAIN_FILES), Settings(1.0, 2)).train)
    for name in ("arc_challenge", "commonsense_qa", "piqa"):
        renamed = data / f"{name}_asked.jsonl"  # under its own name a train split is not scored
        renamed.write_bytes((data / f"{name}_train.jsonl").read_bytes())
        (task,) = load_tasks([f"{name}/letter:{renamed}"])
        assert isinstance(task, ChoiceTask)
        asked = {}
        for place, question in enumerate(task.questions):
            prompt = task.prompt(place).removesuffix("\n" + "\n".join(question.endings))
            asked[prompt] = question.endings[question.answer]
        ours = {prompt: answer for prompt, answer in bare.values() if prompt in asked}
        assert len(ours) >= 15
        assert all(asked[prompt] == answer for prompt, answer in ours.items())
    heading = "The following are multiple choice questions (with answers) about law.\n\n"
    options = "A. option 0 of 8\nB. option 5 of 8\nC. option 6 of 8\nD. option 8 of 8"
    assert bare["mmlu_pro_test:9"] == (f"{heading}Which is 8 + 8?\n{options}\nAnswer:", "D")
    for name, (prompt, answer) in shown.items():
        before, asked_alone = bare[name][0], bare[name][1]
        assert answer == asked_alone
        if not name.startswith("squad"):
            head = before[: before.index("\n\n") + 2] if before.startswith("The following") else ""
            *examples, last = prompt.removeprefix(head).split("\n\n")
            assert head + last == before
            assert len(set(examples)) == 2
            assert all(any(whole.endswith(example) for whole in solved) for example in examples)
            assert last not in [example.rpartition(" ")[0] for example in examples]
    scored = data / "squad_v2_tuning.jsonl"  # by its own name it would not be scored
    scored.write_bytes((data / "squad_v2_train_part.jsonl").read_bytes())
    (squad,) = load_tasks([f"squad_v2/generate:{scored}"], shots=1)
    theirs = {squad.prompt(place) for place in range(18)}
    assert {prompt for name, (prompt, _) in shown.items() if name.startswith("squad")} == theirs


def test_parts_share_nothing_and_follow_the_seed(data: Path) -> None:
    settings = Settings(0.75, 2, 3, 0.25)
    chats = make_chats(data, tuple(TRAIN_FILES), settings)
    again = make_chats(data, tuple(TRAIN_FILES), settings)
    assert (again.train, again.tuning) == (chats.train, chats.tuning)
    assert make_chats(data, tuple(TRAIN_FILES), Settings(0.75, 2, 4, 0.25)).train != chats.train
    said = manifest(chats, settings)["tasks"]
    assert said["arc_challenge"] == {
        "train": 8,
        "tuning": 3,
        "usable": 15,
        "dropped": {"double": 1, "in arc_challenge_test": 1},
    }
    assert said["piqa"]["dropped"] == {"in piqa_validation": 1}
    assert said["mmlu"] == {
        "train": 8,
        "tuning": 3,
        "usable": 15,
        "dropped": {
            "answer and answer_index disagree": 1,
            "double": 1,
            "fewer than four choices": 1,
            "in mmlu_dev": 1,
            "in mmlu_test": 1,
        },
    }
    for part in chats.parts.values():
        assert not {one.key for one in part.train} & {one.key for one in part.tuning}
    asked = [
        {line for row in rows for line in row["messages"][0]["content"].split("\n") if line.startswith("Question:")}
        for rows in ([row for row in of if "squad" not in row["id"]] for of in (chats.train, chats.tuning))
    ]
    assert all(asked)
    assert not asked[0] & asked[1]  # not as an example either
    order = [row["id"].partition(":")[0] for row in chats.train]
    assert order != sorted(order, key=order.index)  # tasks are mixed


def test_what_is_like_a_training_row_is_not_held_back(data: Path) -> None:
    """PIQA asks the same in other words."""
    same = "take three cups of sugar and one of milk and stir until it boils"
    write(data, {"piqa_train": [{"goal": f"fudge {i}", "sol1": same, "sol2": "eat", "label": 0} for i in range(10)]})
    part = make_chats(data, ["piqa"], Settings(1.0, 0, 0, 0.3)).parts["piqa"]
    assert (len(part.train), len(part.tuning)) == (7, 0)
    assert part.dropped == {"held back, but like a training row": 3}


def test_chats_may_begin_with_the_same_words() -> None:
    """A template's head is no text that is trained on; the same words later are."""
    draw = np.random.default_rng(0)
    head, passage, *tails = (draw.integers(0, 400, 32).astype(np.int32) for _ in range(5))

    def window(name: str, *pieces: NDArray[np.int32], chat: bool = True) -> TokenWindow:
        ids = np.concatenate(pieces)
        return TokenWindow(name, ids, np.ones(len(ids), dtype=np.bool_) if chat else None)

    trained = [window("t", head, tails[0], passage)]
    check_held_out([window("h", head, tails[1])], trained)
    for bad in (window("h", head, tails[1], chat=False), window("h", head, passage, tails[1]), window("h", passage)):
        with pytest.raises(InvalidInput, match="the held-out text h is trained on, in t"):
            check_held_out([bad], trained)


def test_mmlu_pro_is_cut_to_four() -> None:
    drawn = set()
    for seed in range(30):
        cut = mmlu_pro.as_mmlu(pro(7, "Why?"), seed)
        places = [int(choice.split()[1]) for choice in cut["choices"]]
        assert len(places) == 4
        assert places == sorted(set(places))
        assert cut["choices"][cut["answer"]] == "option 7 of 7"
        assert cut == mmlu_pro.as_mmlu(pro(7, "Why?"), seed)
        drawn.add(tuple(places))
    assert len(drawn) > 10
    twice = pro(0, "Why?") | {"options": ["b", "a", "a", "c", "d"], "answer": "C", "answer_index": 2}
    assert mmlu_pro.as_mmlu(twice, 0)["choices"] == ["b", "a", "c", "d"]
    assert mmlu_pro.as_mmlu(twice, 0)["answer"] == 1
    assert mmlu_pro.flaw(twice) == ""
    assert mmlu_pro.flaw(twice | {"answer_index": 1}) == "answer and answer_index disagree"


@pytest.mark.parametrize(
    ("change", "task", "message"),
    [
        ({}, "arc", r"no train split of a task 'arc'.*there are arc_challenge,"),
        ({"piqa_train": [{"goal": "x", "sol1": "a", "label": 0}]}, "piqa", r"piqa_train\.jsonl:1: no field 'sol2'"),
        ({"piqa_train": labelled("arc", 1)}, "piqa", r"no field 'goal'.*it is a row of arc"),
        ({"piqa_train": []}, "piqa", "holds no rows|holds no text|empty"),
        ({"mmlu_pro_test": [{"question_id": 1}]}, "mmlu", r"mmlu_pro_test\.jsonl:1: no field 'question'"),
        ({"mmlu_pro_test": [pro(1, "Why?") | {"answer": "K"}]}, "mmlu", r"the answer 'K' is not among the letters A,"),
        ({"mmlu_pro_test": [pro(1, "Why?") | {"options": "AB"}]}, "mmlu", "`options` must be a list of texts"),
        ({"squad_v2_train_part": [{"id": 1, "context": "c", "question": "q", "answers": {}}]}, "squad_v2", "`answers`"),
        ({"squad_v2_train_part": [{"id": 1, "context": "", "question": "q", "answers": {}}]}, "squad_v2", "`context`"),
        (
            {"piqa_train": files()["piqa_validation"]},
            "piqa",
            r"the train split of piqa: no row.*1 in piqa_validation",
        ),
        ({"squad_v2_train_part": squad_rows("validation", 1)}, "squad_v2", "3 in squad_v2_validation"),
        ({"piqa_train": files()["piqa_train"][4:9]}, "piqa", "5 rows are too few for 5 examples and one to ask"),
    ],
)
def test_bad_input(data: Path, change: dict[str, Rows], task: str, message: str) -> None:
    write(data, change)
    with pytest.raises(InvalidInput, match=message):
        make_chats(data, [task], Settings(1.0, 5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(fraction=0), "the fraction is above 0"),
        (Settings(fraction=1.1), "the fraction is above 0"),
        (Settings(hold_back=1), "held back is a share of 0 up to, but not, 1"),
        (Settings(shots=-1), "0 examples or more"),
        (Settings(fraction=0.01, shots=0, hold_back=0.5), "a part of 1 rows is too small"),
    ],
)
def test_settings_out_of_range(data: Path, settings: Settings, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make_chats(data, ["piqa"], settings)


def test_without_the_evaluated_file_nothing_is_made(data: Path) -> None:
    (data / "piqa_validation.jsonl").unlink()
    with pytest.raises(InvalidInput, match=r"no file piqa_validation\.jsonl"):
        make_chats(data, ["piqa"], Settings(1.0, 0))
    assert make_chats(data, ["arc_challenge"], Settings(1.0, 0)).train
    write(data, {"squad_v2_train": squad_rows("whole", 2)})
    assert make_chats(data, ["squad_v2"], Settings(1.0, 0)).train[0]["id"].startswith("squad_v2_train:")
    for bad, message in ((["piqa", "piqa"], "named twice"), ([], "no task is named")):
        with pytest.raises(InvalidInput, match=message):
            make_chats(data, bad, Settings())


def test_command_writes_what_training_reads(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "train.jsonl"
    options = ["prepare", "--data", str(data), "--fraction", "0.75", "--shots", "2", "--hold-back", "0.3", "--out"]
    refused = CliRunner().invoke(tasks_command, [*options, str(out), "--task", "arc"])
    assert isinstance(refused.exception, InvalidInput)
    for bad in (out.with_suffix(".txt"), out.with_name("tuning.jsonl")):
        assert isinstance(CliRunner().invoke(tasks_command, [*options, str(bad)]).exception, InvalidInput)
    assert not out.parent.exists()
    done = CliRunner().invoke(tasks_command, [*options, str(out)], catch_exceptions=False)
    (line,) = done.output.splitlines()
    said = json.loads(line)
    assert {path.name for path in out.parent.iterdir()} == {"train.jsonl", "tuning.jsonl"} == set(said["sha256"])
    for name, digest in said["sha256"].items():
        assert hashlib.sha256((out.parent / name).read_bytes()).hexdigest() == digest
    save_tokenizer(tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}" + (
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    windows = cut_windows(read_documents([out]), tokenizer, 4096)
    rows = [json.loads(row) for row in out.read_text().splitlines()]
    assert [window.id for window in windows] == [f"{row['id']}#0" for row in rows]
    assert len(rows) == sum(task["train"] for task in said["tasks"].values())
    for window, row in zip(windows, rows, strict=True):
        assert window.answers is not None
        assert tokenizer.decode(window.ids[window.answers]) == f"{row['messages'][1]['content']}\n"


@pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
def test_overlap_of_mmlu_pro_and_mmlu() -> None:
    """6,809 of the 12,032 questions of MMLU-Pro stand in MMLU's test, and are not trained on."""
    folder = Path(os.environ["SENSEDICT_TEST_DATA"]) / "tasks"
    candidates = read_candidates(folder, "mmlu", 0)
    part = take_part("mmlu", candidates, evaluated_keys(folder, ["mmlu"]), Settings(1.0))
    assert len(candidates) == 12_032 + 70
    assert part.dropped == {
        "in mmlu_test": 6_809,
        "in mmlu_dev": 68,
        "answer and answer_index disagree": 1,
        "fewer than four choices": 2,
    }
