"""Hidden states of a real teacher over real text, read once and kept for the experiments that share them.

`SENSEDICT_TEACHER` names the teacher, `SENSEDICT_TEST_DATA` the folder with the text (`corpus/MANIFEST.md` there), and
`SENSEDICT_STATES` where the states are kept: half a gigabyte, in the system's folder for temporary files by default.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import Document, TokenWindow, cut_windows, pad_windows, read_documents

SEED = 0
WINDOW, BATCH = 256, 8
CORPUS_TOKENS = 420_000  # of whole documents drawn by seed, in the order of the file
NEAR_TOKENS = 40_000  # held out: the heads of other documents of the same file
HEAD = 512  # tokens of a held-out document
NOTHING = -1  # in place of the next token at a window's end
RESAMPLED = 2000  # sets of documents, for an interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class States:
    """Hidden states after the final norm, in the order of the text.

    Attributes:
        vectors: (n, D) float16.
        tokens: (n,) int32, the token at each position: the key `input`.
        following: (n,) int32, the token after it, `NOTHING` where a window ends: the key `next`.
        documents: (n,) int32, number of the document in its file.
    """

    vectors: NDArray[np.float16]
    tokens: NDArray[np.int32]
    following: NDArray[np.int32]
    documents: NDArray[np.int32]

    def __getitem__(self, rows: NDArray[Any]) -> States:
        return States(*(getattr(self, field.name)[rows] for field in fields(self)))


def teacher() -> Teacher:
    """The teacher of the experiments, in float32."""
    name = os.environ.get("SENSEDICT_TEACHER")
    if not name:
        sys.exit("set SENSEDICT_TEACHER: the folder of a teacher, as `sensedict teacher convert` makes one")
    return load_teacher(name)


def data() -> Path:
    """The folder with text."""
    default = Path(__file__).resolve().parents[2] / "shared/data"
    folder = Path(os.environ.get("SENSEDICT_TEST_DATA", default))
    if not folder.is_dir():
        sys.exit(f"set SENSEDICT_TEST_DATA: there is no folder {folder}")
    return folder


def documents(name: str) -> list[Document]:
    """All documents of a file of the corpus."""
    return list(read_documents([data() / "corpus" / name]))


def load(part: str) -> States:
    """The states of `corpus`, or held out: `near` (other documents of the same file), `far` (another encyclopaedia)."""
    return States(**kept(part, lambda model: asdict(read(model, *_windows(part, model)))))


def kept(name: str, make: Callable[[Teacher], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays that an earlier run left under this name, or those that are made now with the teacher."""
    folder = Path(os.environ.get("SENSEDICT_STATES", Path(tempfile.gettempdir()) / "sensedict-states"))
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f".{name}.{os.getpid()}"
        save_file(make(teacher()), scratch)
        scratch.replace(path)
    found: dict[str, NDArray[Any]] = load_file(path)
    return found


def read(model: Teacher, windows: Sequence[TokenWindow], numbers: Sequence[int]) -> States:
    """The states of all positions of windows; `numbers` are their documents'."""
    found: dict[int, NDArray[np.float16]] = {}
    order = sorted(range(len(windows)), key=lambda i: -len(windows[i].ids))
    with tqdm(total=sum(len(w.ids) for w in windows), unit=" tokens", unit_scale=True) as bar, torch.inference_mode():
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            states = model.hidden_states(*pad_windows([windows[i] for i in batch], model.device)).half().cpu().numpy()
            found |= {i: states[row, : len(windows[i].ids)] for row, i in enumerate(batch)}
            bar.update(sum(len(windows[i].ids) for i in batch))
    last = np.full(1, NOTHING, dtype=np.int32)
    return States(
        vectors=np.concatenate([found[i] for i in range(len(windows))]),
        tokens=np.concatenate([window.ids for window in windows]),
        following=np.concatenate([np.r_[window.ids[1:], last] for window in windows]),
        documents=np.repeat(np.asarray(numbers, dtype=np.int32), [len(window.ids) for window in windows]),
    )


def nearest(states: Tensor, senses: Tensor) -> Floats:
    """(n,) d² of states (n, D) to the nearest of senses (k, D)."""
    middle = senses.mean(dim=0)
    distances = torch.cdist(states.float() - middle, senses - middle).min(dim=1).values
    squared: Floats = (distances.double().square() / states.shape[1]).numpy()
    return squared


def ratio(ours: Floats, peer: Floats, documents: NDArray[np.int32]) -> tuple[float, float, float]:
    """Ours by the peer's, with a 95% interval over held-out documents drawn anew."""
    _, number = np.unique(documents, return_inverse=True)
    sums = np.stack([np.bincount(number, values) for values in (ours, peer)])  # (2, documents)
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(sums.shape[1], np.full(sums.shape[1], 1 / sums.shape[1]), size=RESAMPLED)
    above, below = sums @ drawn.T
    low, high = np.quantile(above / below, [0.025, 0.975]).tolist()
    return float(ours.sum() / peer.sum()), low, high


def _windows(part: str, model: Teacher) -> tuple[list[TokenWindow], list[int]]:
    """The windows of a part, and the number of each one's document."""
    if part == "far":
        held_out = enumerate(documents("heldout-fresh.jsonl.xz"))
        found = [(i, cut_windows([document], model.tokenizer, WINDOW)[: HEAD // WINDOW]) for i, document in held_out]
    else:
        train = documents("train.jsonl.xz")
        drawn = (
            (number, cut_windows([train[number]], model.tokenizer, WINDOW))
            for number in np.random.default_rng(SEED).permutation(len(train)).tolist()
        )
        found = sorted(_take(drawn, CORPUS_TOKENS), key=lambda pair: pair[0])
        if part == "near":
            found = _take(((number, cut[: HEAD // WINDOW]) for number, cut in drawn), NEAR_TOKENS)
    return [window for _, cut in found for window in cut], [number for number, cut in found for _ in cut]


def _take(cut: Iterator[tuple[int, list[TokenWindow]]], tokens: int) -> list[tuple[int, list[TokenWindow]]]:
    """Documents until there are so many tokens."""
    found = []
    while tokens > 0:
        number, windows = next(cut)
        found.append((number, windows))
        tokens -= sum(len(window.ids) for window in windows)
    return found
