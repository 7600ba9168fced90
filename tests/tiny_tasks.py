"""The tasks' files with a few rows each, as `sensedict evaluate`, `experiment` and `tasks prepare` read them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_teacher import WORDS

Row = dict[str, Any]
# What all prompts have in common: few tokens of a vocabulary that knows them, so that no two rows seem to be one text.
PHRASES = (
    "The following are multiple choice questions (with answers) about rivers.\n\nQuestion: In mmlu_pro_train",
    "Answer each question with words of the text, or with No answer where the text has none.\n\nText: In squad_v2",
    "\nAnswer: A\n\nQuestion: In commonsense_qa_train, what is hot?\nA. the\nB. the\nC. the\nD. the\nAnswer: B",
    "\nAnswer: C\n\nQuestion: In arc_challenge_train, what is hot?\nA. the\nB. the\nAnswer: D",
    "\n\nQuestion: In piqa_train",
    "<user>Question:<assistant>",
)


def write_task_data(folder: Path, rows: int = 300) -> Path:
    """Every data set's scored file and its examples, so many questions in each; gives the folder."""
    files: dict[str, Callable[[str, int], Row]] = {
        **dict.fromkeys(("arc_challenge_test", "arc_challenge_train", "arc_easy_test", "arc_easy_train"), _labelled),
        **dict.fromkeys(("commonsense_qa_validation", "commonsense_qa_train"), _labelled),
        **dict.fromkeys(("piqa_validation", "piqa_train"), _piqa),
        **dict.fromkeys(("mmlu_test", "mmlu_dev"), _mmlu),
        **dict.fromkeys(("mmlu_pro_test", "mmlu_pro_validation"), _mmlu_pro),
        **dict.fromkeys(("hellaswag_validation", "hellaswag_train"), _hellaswag),
        **dict.fromkeys(("squad_v2_validation", "squad_v2_train"), _squad),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, row in files.items():
        lines = "".join(json.dumps(row(name, i)) + "\n" for i in range(rows))
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    return folder


def _text(name: str, i: int) -> str:
    return f"In {name} {i}, what is {' '.join(_words(name, i, 4))}?"


def _words(name: str, i: int, count: int) -> list[str]:
    """Other ones in each row, so that rows do not quote one another."""
    return random.Random(f"{name} {i}").sample(WORDS, count)


def _labelled(name: str, i: int) -> Row:
    choices = {"text": _words(name, i, 4), "label": list("ABCD")}
    return {"id": f"{name}-{i}", "question": _text(name, i), "choices": choices, "answerKey": "ABCD"[i % 4]}


def _piqa(name: str, i: int) -> Row:
    return {"goal": _text(name, i), "sol1": _words(name, i, 1)[0], "sol2": _words(name, i + 1, 1)[0], "label": i % 2}


def _mmlu(name: str, i: int) -> Row:
    return {"subject": "rivers", "question": _text(name, i), "choices": _words(name, i, 4), "answer": i % 4}


def _mmlu_pro(name: str, i: int) -> Row:
    answer = {"answer": "ABCDEFGHIJ"[i % 10], "answer_index": i % 10}
    about = {"question_id": i, "category": "rivers", "src": "stem"}
    return {**about, "question": _text(name, i), "options": _words(name, i, 10), **answer}


def _hellaswag(name: str, i: int) -> Row:
    return {"activity_label": name, "ctx": _text(name, i), "endings": _words(name, i, 4), "label": i % 4}


def _squad(name: str, i: int) -> Row:
    paragraph, asked = divmod(i, 3)  # of three questions the first has no answer
    answers = {"text": [_words(name, paragraph, 1)[0]] if asked else [], "answer_start": [0] if asked else []}
    context = f"In {name} paragraph {paragraph} the river is {_words(name, paragraph, 1)[0]}."
    return {"id": f"{name}-{i}", "title": "t", "context": context, "question": _text(name, i), "answers": answers}
