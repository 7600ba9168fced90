"""What a training run is asked to do beside its recipe, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sensedict_trainer.text import TokenWindow

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """How a run goes about its work; but for its last two, none of it decides the student.

    Attributes:
        cache_bytes: of sense vectors on the device.
        micro_batch: most windows of any forward pass, the teacher's own and held-out ones too; None for all that a
            process has of a batch.
        checkpoint_every: steps; keep: so many of the last checkpoints are kept.
        held_out: text that is not trained on; every `evaluate_every` steps its loss is taken, and the student at its
            best step is kept in `out/best`; with `keep_best` off there is the loss alone.
        measure_every: steps between two measurements of each term's gradient, which cost a pass through the head.
        fresh: throw away what an earlier run left in the folder.
        name: shown by the progress bar.
        tensorboard: also write the history as event files for TensorBoard, into `out/tensorboard`.
        text_sources: name and sha256 of each source of the text, for the model card.
        activations: folder of a cache on disk of the frozen activations, see `activations`; None for memory alone. Its
            rounding moves losses by some 1e-4.
        teacher_states: folder with what stands for the teacher's states, see `teacher_states`; it then does not run.
    """

    cache_bytes: int = 256 * 2**20
    micro_batch: int | None = None
    checkpoint_every: int = 100
    keep: int = 1
    held_out: Sequence[TokenWindow] = ()
    evaluate_every: int = 100
    keep_best: bool = True
    measure_every: int = 10
    fresh: bool = False
    name: str = "train"
    tensorboard: bool = False
    text_sources: tuple[tuple[str, str], ...] = ()
    activations: Path | None = None
    teacher_states: Path | None = None


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        student: a folder that `transformers` loads.
        history: one JSON object a step.
        tokens: that passed through training, epochs counted.
        seconds: of training, over all its starts.
    """

    student: Path
    history: Path
    tokens: int
    seconds: float
