"""Whether our scores are those of lm-evaluation-harness, question by question: prompts, log-likelihoods, answers.

`python benchmarks/tasks_lm_eval.py MODEL DATA [--limit 100]`, where `lm-eval` (0.4.13 was tried) is installed and DATA
holds the data sets' files. Its own task files are used, with our rows in place of the hub's and our examples in place
of those that it would draw; where it has no task in a form, its engine runs one that is written here. Both score with
the same model object. The differences that there are, and why, are told in `docs/tasks.md`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensedict_trainer.tasks.choice import ChoiceTask
from sensedict_trainer.tasks.registry import ENTRIES, ask, load_tasks
from sensedict_trainer.tasks.rows import find_file, load_rows
from sensedict_trainer.tasks.task import Reply
from sensedict_trainer.teacher import Teacher, load_teacher

TOLERANCE = 1e-3  # nats
_LISTED = "\nA. {{choices.text[0]}}\nB. {{choices.text[1]}}\nC. {{choices.text[2]}}\nD. {{choices.text[3]}}"
_MMLU_SUBJECTS = 4  # as many tasks of lm-eval's, which has one a subject


@dataclass(frozen=True)
class Cell:
    """One comparison.

    Attributes:
        task: ours; `continuation` is compared in both forms.
        shots: examples.
        peer: the file of lm-eval's task, under its `tasks`, `{}` for the subject; or one written here.
    """

    task: str
    shots: int
    peer: str | dict[str, Any]


CELLS = (
    Cell("arc_challenge/continuation", 0, "arc/arc_challenge.yaml"),
    Cell("arc_easy/continuation", 5, "arc/arc_easy.yaml"),
    Cell("piqa/continuation", 0, "piqa/piqa.yaml"),
    Cell("hellaswag/continuation", 0, "hellaswag/hellaswag.yaml"),
    Cell("winogrande/continuation", 5, "winogrande/default.yaml"),
    Cell("commonsense_qa/letter", 5, "commonsense_qa/default.yaml"),
    Cell("mmlu/letter", 5, "mmlu/default/mmlu_{}.yaml"),
    Cell("mmlu/continuation", 0, "mmlu/continuation/mmlu_{}.yaml"),
    # lm-eval has no task of these forms; the layout is that of its commonsense_qa, or of its arc_easy.
    Cell(
        "arc_challenge/letter",
        5,
        {
            "doc_to_text": "Question: {{question}}" + _LISTED + "\nAnswer:",
            "doc_to_target": "{{choices.label.index(answerKey)}}",
            "doc_to_choice": ["A", "B", "C", "D"],
        },
    ),
    Cell(
        "piqa/letter",
        5,
        {
            "doc_to_text": "Question: {{goal}}\nA. {{sol1}}\nB. {{sol2}}\nAnswer:",
            "doc_to_target": "label",
            "doc_to_choice": ["A", "B"],
        },
    ),
    Cell(
        "commonsense_qa/continuation",
        0,
        {
            "doc_to_text": "Question: {{question.strip()}}\nAnswer:",
            "doc_to_target": "{{choices.label.index(answerKey)}}",
            "doc_to_choice": "{{choices.text}}",
        },
    ),
)


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        task: its name.
        shots: examples.
        questions: compared.
        prompts: how many prompts differ in a character.
        largest: difference of log-likelihoods, nats.
        answers: how many answers differ.
    """

    task: str
    shots: int
    questions: int
    prompts: int
    largest: float
    answers: int


def main() -> None:
    """Compare all cells, print them, and fail where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--only", default="", help="tasks whose names begin so")
    given = parser.parse_args()
    loaded = load_teacher(given.model)
    harness = importlib.import_module("lm_eval.models.huggingface").HFLM(
        pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=16, device="cpu"
    )
    found: list[Compared] = []
    for cell in CELLS:
        if cell.task.startswith(given.only):
            with tempfile.TemporaryDirectory() as folder:
                rows = compare(cell, loaded, harness, given.data, given.limit, Path(folder))
            for row in rows:
                print(
                    f"{row.task:34} {row.shots} shots, {row.questions} questions: {row.prompts} prompts differ, "
                    f"log-likelihoods by up to {row.largest:.1e}, {row.answers} answers",
                    flush=True,
                )
            found += rows
    sys.exit(any(row.prompts or row.answers or row.largest > TOLERANCE for row in found))


def compare(cell: Cell, loaded: Teacher, harness: Any, data: Path, limit: int, folder: Path) -> list[Compared]:
    """Compare one cell; both forms of `continuation`."""
    source = _source(cell, data, folder)
    name = cell.task.partition("/")[0]
    forms = [cell.task, *([f"{cell.task}_norm"] if f"{cell.task}_norm" in _names(name) else [])]
    tasks = load_tasks([f"{form}:{source}" for form in forms], data, cell.shots, limit=limit)
    replies = ask(loaded.model, loaded.tokenizer, tasks[0], range(len(tasks[0].ids)))
    assert isinstance(tasks[0], ChoiceTask)
    samples = _samples(cell, tasks[0], harness, source, data, folder)
    found = []
    for task in tasks:
        assert isinstance(task, ChoiceTask)
        measure = "acc_norm" if task.name.endswith("_norm") else "acc"
        pairs = list(zip(replies, samples, strict=True))
        found.append(
            Compared(
                task=task.name,
                shots=cell.shots,
                questions=len(pairs),
                prompts=sum(_prompts(task, reply) != _asked(sample) for reply, sample in pairs),
                largest=max(float(np.abs(np.array(reply.scores) - _scores(sample)).max()) for reply, sample in pairs),
                answers=sum(_differs(task, reply, sample, measure) for reply, sample in pairs),
            )
        )
    return found


def _names(data_set: str) -> list[str]:
    return [f"{data_set}/{form}" for form in ENTRIES[data_set].forms]


def _source(cell: Cell, data: Path, folder: Path) -> str:
    """The file that is scored; of MMLU a few subjects, and of ARC by letter what has four choices, for the template."""
    name = cell.task.partition("/")[0]
    path = find_file(data, ENTRIES[name].scored)
    rows = [dict(row.values) for row in load_rows(path)]
    if name == "mmlu":
        subjects = sorted({row["subject"] for row in rows})
        kept = set(subjects[:: len(subjects) // _MMLU_SUBJECTS][:_MMLU_SUBJECTS])
        rows = [row for row in rows if row["subject"] in kept]
    if cell.task == "arc_challenge/letter":
        rows = [row for row in rows if len(row["choices"]["text"]) == 4]
    return _write(folder / "scored.jsonl", rows)


def _samples(cell: Cell, task: ChoiceTask, harness: Any, source: str, data: Path, folder: Path) -> list[dict[str, Any]]:
    """What lm-eval logs of the same questions, in our order."""
    asked = _raw(source, task.ids)
    examples = find_file(data, ENTRIES[task.name.partition("/")[0]].examples) if cell.shots else source
    shown = _raw(examples, task.example_ids)
    samples: list[dict[str, Any]] = []
    for group in dict.fromkeys(task.groups):
        place = folder / (group or "all")
        place.mkdir()
        files = {"test": _write(place / "test.jsonl", [row for row in asked if row.get("subject", "") == group])}
        if cell.shots:
            rows = [row for row in shown if row.get("subject", "") == group]
            files["dev"] = _write(place / "dev.jsonl", rows)
        samples += _evaluate(_config(cell, group, files), harness, cell.shots, place)
    return samples


def _config(cell: Cell, group: str, files: dict[str, str]) -> dict[str, Any]:
    """lm-eval's task over our files."""
    tasks = Path(str(importlib.import_module("lm_eval").__file__)).parent / "tasks"
    peer = cell.peer if isinstance(cell.peer, dict) else {"include": str(tasks / cell.peer.format(group))}
    measures = ("acc", "acc_norm") if cell.task.endswith("continuation") else ("acc",)
    return {
        **peer,
        "task": "compared",
        "output_type": "multiple_choice",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": "dev" if "dev" in files else None,
        "fewshot_config": {"sampler": "first_n"},
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in measures],
    }


def _evaluate(config: dict[str, Any], harness: Any, shots: int, folder: Path) -> list[dict[str, Any]]:
    (folder / "compared.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    manager = importlib.import_module("lm_eval.tasks").TaskManager(include_path=str(folder), include_defaults=False)
    found = importlib.import_module("lm_eval").simple_evaluate(
        model=harness, tasks=["compared"], num_fewshot=shots, task_manager=manager, bootstrap_iters=0
    )
    samples: list[dict[str, Any]] = sorted(found["samples"]["compared"], key=lambda sample: sample["doc_id"])
    return samples


def _raw(source: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of some ids, in their order, as the hub has them."""
    rows = {}
    for row in load_rows(source):
        values = dict(row.values)
        if "ctx" in values and "ctx_a" not in values:  # ours has both halves joined
            values |= {"ctx_a": values["ctx"], "ctx_b": ""}
        for name in (str(values.get("id", values.get("qID", values.get("ind", "")))), row.where):
            rows[name] = values
    return [rows[name] for name in ids]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _prompts(task: ChoiceTask, reply: Reply) -> list[tuple[str, str]]:
    question = task.questions[reply.place]
    before = task.headings[question.group] + "".join(task.examples[question.group])
    return [(before + context, f" {end}") for context, end in zip(question.contexts, question.endings, strict=True)]


def _differs(task: ChoiceTask, reply: Reply, sample: dict[str, Any], measure: str) -> bool:
    """Whether the answer is another: by lm-eval's own judgement, and by the choice where lengths are not divided by."""
    judged = task.judge(reply)
    other = measure == "acc" and judged.given != int(np.argmax(_scores(sample)))
    return other or judged.right != sample[measure]


def _asked(sample: dict[str, Any]) -> list[tuple[str, str]]:
    return [(context, ending) for context, ending in sample["arguments"]]


def _scores(sample: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([likelihood for likelihood, _ in sample["filtered_resps"]])


if __name__ == "__main__":
    main()
