"""What a teacher's state costs in each form, and what students that train from it are worth on held-out text.

`python benchmarks/teacher_states.py`, with the settings of `activation_formats.py`. About 4 minutes on two quiet cores;
the numbers are told in `docs/activation-cache.md`. Every student has the same text, order, steps and trunk; only what
it knows of the teacher differs.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from activation_formats import snapshot
from common import Row, write
from hidden_states import data, teacher

from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.rows import manifest_key
from sensedict_trainer.distil.teacher_states import Kind, build_teacher_states
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.terms.mse import StateDistance
from sensedict_trainer.evaluate import MEASURES, TextScores, evaluate_text
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow, cut_windows, read_documents

COMMAND = "python benchmarks/teacher_states.py"
TOKENS, HELD_OUT = 4_096, 1_024
WINDOW, BATCH = 128, 2
TERMS = {"kl": ForwardKL(temperature=1.0), "mse": StateDistance(positions="all")}


@dataclass(frozen=True)
class Form:
    """What is kept of the teacher, and the objective that reads it.

    Attributes:
        kind: None where nothing is kept; count: senses or tokens a position.
    """

    kind: Kind | None
    count: int
    objective: str


FORMS = {
    "nothing: CE": Form(None, 0, "ce"),
    "5 senses: CE + sense": Form("senses", 5, "ce + mse"),
    "exact state: CE + MSE": Form("exact", 0, "ce + mse"),
    "4 logits: CE + KL": Form("logits", 4, "ce + kl"),
    "5 senses: CE + KL + sense": Form("senses", 5, "ce + kl + mse"),
    "exact state: CE + KL": Form("exact", 0, "ce + kl"),
    "32 logits: CE + KL": Form("logits", 32, "ce + kl"),
}


def windows_of(name: str, model: Teacher, tokens: int) -> list[TokenWindow]:
    """Whole windows of a file of the corpus, from several documents."""
    found = cut_windows(read_documents([data() / "corpus" / name]), model.tokenizer, WINDOW, 8 * tokens)
    return [window for window in found if len(window.ids) == WINDOW][::4][: tokens // WINDOW]


def score(
    model: Teacher, windows: list[TokenWindow], held_out: list[TokenWindow], source: Snapshot, room: Path
) -> dict[str, tuple[int, TextScores]]:
    """Print the table, and give bytes a position and scores of each form; what is shared lies in the folder."""
    from transformers import AutoModelForCausalLM

    print(f"{'known of the teacher':28} {'bytes':>5} " + "".join(f"{measure:>15}" for measure in MEASURES))
    found, memo = {}, {}
    for number, (name, form) in enumerate(FORMS.items()):
        folder, width = None, 0
        if form.kind is not None:
            folder = room / f"{form.kind}-{form.count}"
            build_teacher_states(folder, model, windows, form.kind, form.count, source)
            width = (manifest_key(folder) or {})["width"]
        recipe = Recipe(form.objective, TERMS, lr=3e-3, epochs=1, batch_size=BATCH, window=WINDOW, weight_decay=0.0)
        options = TrainOptions(activations=room / "trunk", teacher_states=folder, measure_every=10**6, name=name)
        run = train(recipe, model, windows, None, room / f"run-{number}", options=options)
        student = AutoModelForCausalLM.from_pretrained(run.student, dtype=model.dtype)
        scores = evaluate_text(student, model, held_out, 8, memo)
        print(f"{name:28} {width:5} " + "".join(f"{scores.mean(measure):15.4f}" for measure in MEASURES), flush=True)
        found[name] = (width, scores)
    return found


def main() -> None:
    """Print the table, and write held-out KL beside the exact state's."""
    model = teacher()
    windows = windows_of("train.jsonl.xz", model, TOKENS)
    held_out = windows_of("heldout-fresh.jsonl.xz", model, HELD_OUT)
    with tempfile.TemporaryDirectory() as room, Snapshot.open(snapshot()) as source:
        found = score(model, windows, held_out, source, Path(room))
    exact = found["exact state: CE + MSE"][1].mean("kl")
    write(
        "teacher_states",
        [
            Row(f"{name} ({width} bytes)", scores.mean("kl"), exact, "held-out KL, nats", COMMAND)
            for name, (width, scores) in found.items()
        ],
    )


if __name__ == "__main__":
    main()
