"""What a token's frozen activations cost on disk in each format, and what the format does to the losses of DSKD.

`python benchmarks/activation_formats.py`, with the settings of `hidden_states.py`, and `SENSEDICT_SNAPSHOT`: a
dictionary's file set of that teacher. About 10 minutes; the numbers are told in `docs/activation-cache.md`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from hidden_states import data, teacher
from torch import Tensor

from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.activations import MASSIVE, to_states, to_stored
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.draws import Draw, by_token, draw
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.selection import select
from sensedict_trainer.distil.step import BatchLosses, Denominators, Stepper
from sensedict_trainer.distil.student import Tail, cut_student
from sensedict_trainer.distil.trunk import TeacherStates, Trunk
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow, cut_windows, read_documents

BATCHES, BATCH, WINDOW = 8, 2, 128
STEPS = 16  # that the student has been trained for
NAMES = ("ce", "kl", "sense", "loss")

RoundTrip = Callable[[Tensor], tuple[Tensor, float]]  # (n, D) as it comes back, and bytes a row


def plain(dtype: torch.dtype) -> RoundTrip:
    """One number after another."""
    return lambda rows: (rows.to(dtype).float(), rows.shape[1] * dtype.itemsize)


def fp16_by_channel(rows: Tensor) -> tuple[Tensor, float]:
    """fp16, each channel divided by its largest number in the batch; the scales are counted as nothing."""
    scale = rows.abs().amax(dim=0).clamp(min=1e-20)
    return (rows / scale).half().float() * scale, 2 * rows.shape[1]


def whole_numbers(levels: int, bits: int, group: int, apart: int) -> RoundTrip:
    """Whole numbers in −levels … levels with an fp32 scale a group; the row's `apart` largest numbers kept in fp32."""

    def through(rows: Tensor) -> tuple[Tensor, float]:
        count, width = rows.shape
        size = group or width
        rest = rows.clone()
        at = rows.abs().topk(apart, dim=1).indices
        rest.scatter_(1, at, 0.0)
        parts = rest.view(count, -1, size)
        scale = parts.abs().amax(dim=2, keepdim=True).clamp(min=1e-20) / levels
        back = ((parts / scale).round() * scale).view(count, width)
        back.scatter_(1, at, rows.gather(1, at))
        return back, width * bits / 8 + 4 * width / size + 6 * apart

    return through


def chosen(rows: Tensor) -> tuple[Tensor, float]:
    """What the cache does."""
    stored = to_stored(rows)
    return to_states(stored, rows.shape[1]), stored.shape[1]


FORMATS: dict[str, RoundTrip] = {
    "fp16": plain(torch.float16),
    "bf16": plain(torch.bfloat16),
    "fp16, scale a channel": fp16_by_channel,
    "16 bits a row, 4 apart": whole_numbers(32767, 16, 0, 4),
    "12 bits, scale a row": whole_numbers(2047, 12, 0, 0),
    "12 bits a row, 4 apart": whole_numbers(2047, 12, 0, 4),
    f"14 bits a row, {MASSIVE} apart: ours": chosen,
    "int8 a row, 4 apart": whole_numbers(127, 8, 0, 4),
    "int8 by 32, 4 apart": whole_numbers(127, 8, 32, 4),
}


@dataclass(frozen=True)
class Text:
    """Windows in batches, with what is drawn there, and all their states."""

    batches: Sequence[Sequence[TokenWindow]]
    draws: dict[str, Draw]
    states: Sequence[TeacherStates]


def snapshot() -> str:
    """The folder of the dictionary."""
    folder = os.environ.get("SENSEDICT_SNAPSHOT")
    if not folder:
        sys.exit("set SENSEDICT_SNAPSHOT: a dictionary's file set of the teacher")
    return folder


def read(model: Teacher, trunk: Trunk, source: Snapshot, recipe: Recipe, windows: Sequence[TokenWindow]) -> Text:
    """Everything that the steps need but the student."""
    batches = [windows[start : start + BATCH] for start in range(0, len(windows), BATCH)]
    draws = {
        window.id: draw(
            window.id,
            window.ids[1:],
            by_token(source.candidate_sets(np.unique(window.ids[1:]).astype(np.uint32))),
            recipe.sampling,
        )
        for window in windows
    }
    return Text(batches, draws, [trunk.states(batch) for batch in batches])


def losses_of(text: Text, number: int, states: TeacherStates, stepper: Stepper) -> dict[str, float]:
    """The losses of a batch with its states as they came back from a format; gradients stay in the student."""
    cache = stepper.cache
    assert cache is not None
    drawn = [text.draws[window.id] for window in text.batches[number]]
    chosen_senses = [
        select(found, states.hidden[row], cache.table, cache.rows(found.ids), stepper.recipe.nearest)
        for row, found in enumerate(drawn)
    ]
    counts = Denominators(
        sum(len(window.ids) - 1 for window in text.batches[number]), sum(len(found.positions) for found in drawn)
    )
    losses = BatchLosses()
    stepper.backward(states, chosen_senses, counts, losses, 0.0, measure=False)
    return losses.terms


def through(states: TeacherStates, form: RoundTrip, entering: bool, hidden: bool) -> tuple[TeacherStates, float]:
    """States with one half or both as they come back; and the bytes a token."""
    real = states.mask.bool()
    size, halves = 0.0, {"entering": states.entering, "hidden": states.hidden}
    for name, wanted in (("entering", entering), ("hidden", hidden)):
        back, row = form(halves[name][real])
        size += row
        if wanted:
            halves[name] = halves[name].clone()
            halves[name][real] = back
    return replace(states, **halves), size


def table(text: Text, stepper: Stepper, exact: Sequence[dict[str, float]]) -> None:
    """Print, of each format, the difference of the mean losses, and the largest of a batch's."""
    print(f"{'format':30} {'bytes':>7}  {'where':9}" + "".join(f"{name:>9}" for name in NAMES) + "  worst batch")
    for form, trip in FORMATS.items():
        for where in ("entering", "hidden", "both"):
            differences = []
            for number, states in enumerate(text.states):
                back, size = through(states, trip, where != "hidden", where != "entering")
                found = losses_of(text, number, back, stepper)
                stepper.student.zero_grad(set_to_none=True)
                differences.append([found[name] - exact[number][name] for name in NAMES])
            mean = np.abs(np.mean(differences, axis=0))
            worst = np.abs(differences).max(axis=0)
            shown = "".join(f"{value:9.1e}" for value in (*mean, *worst))
            print(f"{form:30} {size:7.0f}  {where:9}{shown}", flush=True)


def main() -> None:
    """Print the table, for a student that was trained for some steps."""
    model, recipe = teacher(), Recipe()
    layers = recipe.student_layers(model.layers)
    corpus = read_documents([data() / "corpus" / "train.jsonl.xz"])
    windows = cut_windows(corpus, model.tokenizer, WINDOW, BATCHES * BATCH * WINDOW * 2)
    windows = [window for window in windows if len(window.ids) == WINDOW][: BATCHES * BATCH]
    with Snapshot.open(snapshot()) as source:
        identity = source.identity
        cache = SenseCache(identity.senses, identity.dim, identity.senses, model.device)
        trunk = Trunk(model, layers - recipe.trainable, windows)
        text = read(model, trunk, source, recipe, windows)
        wanted = np.unique(np.concatenate([found.ids for found in text.draws.values()]))
        cache.load(wanted, source.get_senses)
    student = cut_student(model, layers, recipe.trainable)
    stepper = Stepper(recipe, model, student, Tail(student, recipe.trainable), cache)
    for name in ("entering", "hidden"):
        values = torch.cat([getattr(states, name)[states.mask.bool()] for states in text.states])
        print(f"{name}: largest {values.abs().max():.0f}, median {values.abs().median():.3f}")
    optimizer = torch.optim.AdamW([weight for weight in student.parameters() if weight.requires_grad], lr=1e-3)
    for step in range(STEPS):
        losses_of(text, step % BATCHES, text.states[step % BATCHES], stepper)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    exact = [losses_of(text, number, states, stepper) for number, states in enumerate(text.states)]
    student.zero_grad(set_to_none=True)
    print("; ".join(f"{name} {np.mean([values[name] for values in exact]):.4f}" for name in NAMES))
    table(text, stepper, exact)


if __name__ == "__main__":
    main()
