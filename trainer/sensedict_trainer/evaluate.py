"""How near a student is to its teacher on text it was not trained on: CE, KL, agreement and d², window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedModel

from sensedict.errors import InvalidInput
from sensedict_trainer.teacher import Teacher, head_logits, logit_rows
from sensedict_trainer.text import TokenWindow, pad_windows

Measure = Literal["cross_entropy", "kl", "agreement", "distance"]
MEASURES: tuple[Measure, ...] = ("cross_entropy", "kl", "agreement", "distance")


@dataclass(frozen=True)
class TextScores:
    """Sums over the positions of each window, so that means, and intervals over windows, both come from them.

    Attributes:
        positions: (W,) int64, positions with a next-token target inside the window.
        cross_entropy: (W,) float64, nats, of the text's own next token.
        kl: (W,) float64, nats, KL(teacher ‖ student) of the next-token distributions at T = 1.
        agreement: (W,) float64, positions where student's and teacher's most likely tokens are the same.
        distance: (W,) float64, ‖h_s − h_t‖² / D of the last hidden states after the final norm (METHOD: d²).
    """

    positions: NDArray[np.int64]
    cross_entropy: NDArray[np.float64]
    kl: NDArray[np.float64]
    agreement: NDArray[np.float64]
    distance: NDArray[np.float64]

    def mean(self, measure: Measure) -> float:
        """Mean of a measure over all positions."""
        sums: NDArray[np.float64] = getattr(self, measure)
        return float(sums.sum() / self.positions.sum())

    @property
    def perplexity(self) -> float:
        """exp of the mean cross-entropy, per token of this tokenizer."""
        return math.exp(self.mean("cross_entropy"))

    def to_json(self) -> dict[str, Any]:
        """Means for a reader, sums by window for an interval."""
        means: dict[str, float] = {measure: self.mean(measure) for measure in MEASURES}
        windows: dict[str, list[float]] = {measure: getattr(self, measure).tolist() for measure in MEASURES}
        return {
            "positions": int(self.positions.sum()),
            "perplexity": self.perplexity,
            **means,
            "windows": {"positions": self.positions.tolist(), **windows},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TextScores:
        """The scores that `to_json` wrote."""
        windows = value["windows"]
        sums = {measure: np.asarray(windows[measure], dtype=np.float64) for measure in MEASURES}
        return cls(positions=np.asarray(windows["positions"], dtype=np.int64), **sums)


@dataclass(frozen=True)
class Interval:
    """A difference of means, first − second, and the bounds between which 95% of its bootstrap replicates lie."""

    difference: float
    low: float
    high: float


@torch.inference_mode()
def evaluate_text(
    model: PreTrainedModel,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    batch_size: int,
    memo: dict[int, Tensor] | None = None,
) -> TextScores:
    """Scores of a model against the text and against its teacher.

    Args:
        model: student, or the teacher itself; same vocabulary and D as the teacher.
        teacher: its hidden states and head are the reference.
        windows: held-out text; a position counts when its next token is inside the window.
        batch_size: windows a forward pass.
        memo: the teacher's states by place in `windows`, filled here and used again for the next student of the same
            teacher and windows; 4 · D bytes a token.

    Raises:
        InvalidInput: no window has two tokens, or the model's width or vocabulary is not the teacher's.
    """
    _check_shapes(model, teacher)
    usable = [i for i, window in enumerate(windows) if len(window.ids) >= 2]
    if not usable:
        raise InvalidInput("the held-out text has no window of two tokens or more: give a longer text")
    memo = {} if memo is None else memo
    sums = torch.zeros((len(MEASURES), len(windows)), dtype=torch.float64)
    was_training = model.training
    model.eval()
    batches = [*_batches(windows, usable, batch_size)]
    for batch in tqdm(batches, desc="held-out text", unit=" batches", disable=None, leave=False):
        ids, mask = pad_windows([windows[i] for i in batch], teacher.device)
        teacher_states = _teacher_states(teacher, ids, mask, batch, memo)  # (B, T, D)
        if model is teacher.model:
            student_states = teacher_states.to(teacher.dtype)
        else:
            student_states = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, D)
        target_mask = mask[:, 1:].bool()  # position i counts when token i + 1 exists
        rows = torch.tensor(batch).unsqueeze(1).expand(target_mask.shape)[target_mask.cpu()]  # (n,) place in `windows`
        values = _position_values(
            model,
            teacher,
            student_states[:, :-1][target_mask],
            teacher_states[:, :-1][target_mask],
            ids[:, 1:][target_mask],
        )
        sums.index_add_(1, rows, values)
    model.train(was_training)
    positions = np.array([max(len(window.ids) - 1, 0) for window in windows], dtype=np.int64)
    return TextScores(positions, **{measure: sums[i].numpy() for i, measure in enumerate(MEASURES)})


def paired_interval(
    first: Sequence[TextScores],
    second: Sequence[TextScores],
    measure: Measure,
    samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The difference first − second with a paired bootstrap interval over windows, and over seeds where there are some.

    Args:
        first, second: scores of two kinds of student on the same windows, one entry a training seed, the same seeds in
            the same order.
        samples: bootstrap replicates.
        seed: of the resampling.

    Raises:
        InvalidInput: the two were not scored on the same windows and number of seeds.
    """
    positions = first[0].positions
    if len(first) != len(second) or any(not np.array_equal(s.positions, positions) for s in (*first, *second)):
        raise InvalidInput("a paired interval needs the same windows and the same seeds on both sides")
    differences = np.stack([getattr(a, measure) - getattr(b, measure) for a, b in zip(first, second, strict=True)])
    runs, windows = differences.shape
    generator = np.random.default_rng(seed)
    # Drawing n of n with replacement is a multinomial count of how often each was drawn.
    window_counts = generator.multinomial(windows, np.full(windows, 1 / windows), size=samples)  # (samples, W)
    run_counts = generator.multinomial(runs, np.full(runs, 1 / runs), size=samples)  # (samples, S)
    totals = np.einsum("bs,sw,bw->b", run_counts, differences, window_counts, optimize=True)
    replicates = totals / (runs * np.maximum(window_counts @ positions, 1))
    low, high = np.quantile(replicates, (0.025, 0.975))
    return Interval(float(differences.sum() / (runs * positions.sum())), float(low), float(high))


def _check_shapes(model: PreTrainedModel, teacher: Teacher) -> None:
    weight = model.get_output_embeddings().weight  # (V, D)
    if tuple(weight.shape) != (teacher.vocabulary_size, teacher.dim):
        raise InvalidInput(
            f"the model's head is {weight.shape[0]} × {weight.shape[1]} and the teacher's "
            f"{teacher.vocabulary_size} × {teacher.dim}: hidden states and tokens cannot be compared"
        )


def _batches(windows: Sequence[TokenWindow], usable: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Places of windows, longest first, so that a batch wastes little on padding."""
    order = sorted(usable, key=lambda i: -len(windows[i].ids))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _teacher_states(
    teacher: Teacher, ids: Tensor, mask: Tensor, batch: Sequence[int], memo: dict[int, Tensor]
) -> Tensor:
    if any(i not in memo for i in batch):
        states = teacher.hidden_states(ids, mask)
        for row, i in enumerate(batch):
            memo[i] = states[row, : int(mask[row].sum())].float().cpu()
    padded = torch.nn.utils.rnn.pad_sequence([memo[i] for i in batch], batch_first=True)
    return padded.to(teacher.device)


def _position_values(
    model: PreTrainedModel, teacher: Teacher, student_states: Tensor, teacher_states: Tensor, targets: Tensor
) -> Tensor:
    """(4, n) float64 on the CPU, in the order of MEASURES; states (n, D), targets (n,)."""
    values = torch.empty((len(MEASURES), len(targets)), dtype=torch.float64)
    chunk = logit_rows(teacher.vocabulary_size)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        student_logits = head_logits(model, student_states[part]).float()  # (c, V)
        teacher_logits = teacher.head(teacher_states[part].to(teacher.dtype)).float()  # (c, V)
        student_log = F.log_softmax(student_logits, dim=-1)
        teacher_log = F.log_softmax(teacher_logits, dim=-1)
        own = student_log.gather(-1, targets[part].unsqueeze(-1)).squeeze(-1)
        values[0, part] = -own.double().cpu()
        values[1, part] = F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(-1).double().cpu()
        values[2, part] = (student_log.argmax(-1) == teacher_log.argmax(-1)).double().cpu()
    difference = student_states.double() - teacher_states.double()
    values[3] = difference.square().mean(-1).cpu()
    return values
