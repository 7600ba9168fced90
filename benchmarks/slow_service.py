"""How long training waits for a service whose every answer takes so long, and ten times as long.

`python benchmarks/slow_service.py`, with the settings of `hidden_states.py`, and `SENSEDICT_SNAPSHOT`: a dictionary's
file set of that teacher, whose answers are held back. A batch's vectors take a service 40 ms or more, its candidate
sets 1 to 2 ms (`docs/bulk.md`): held back is each for `--answer-ms`, and for ten times as long. Every batch has text
that no batch before it had, so that each asks for both. About 2 minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from activation_formats import snapshot
from common import Row, write
from hidden_states import data, teacher
from numpy.typing import NDArray

from sensedict.snapshot import Snapshot
from sensedict.source import CandidateSets
from sensedict_trainer.distil.loop import train
from sensedict_trainer.distil.recipe import load_recipe
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.text import cut_windows, read_documents

STEPS, FIRST = 24, 4  # of them, the first ones are not counted: nothing can be asked ahead of them
BATCH, WINDOW = 4, 128
BOUND = 0.01


class Held:
    """A dictionary whose answers come no sooner than after some seconds."""

    def __init__(self, inner: Snapshot, seconds: float) -> None:
        self._inner, self._seconds, self.identity = inner, seconds, inner.identity
        self.answers = 0

    def candidate_sets(self, tokens: NDArray[np.uint32]) -> CandidateSets:
        """As the dictionary has them."""
        self._hold()
        return self._inner.candidate_sets(tokens)

    def get_senses(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """As the dictionary has them."""
        self._hold()
        return self._inner.get_senses(ids)

    def _hold(self) -> None:
        self.answers += 1
        time.sleep(self._seconds)


def waited(history: Path) -> tuple[float, float]:
    """The share of time that steps after the first ones waited, and their mean seconds."""
    rows = read_json_lines(history)[FIRST:]
    seconds = [row["tokens"] / row["tokens_per_second"] for row in rows]
    waits = [row["wait_share"] * spent for row, spent in zip(rows, seconds, strict=True)]
    return sum(waits) / sum(seconds), sum(seconds) / len(seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write it to `out/slow_service.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answer-ms", type=float, default=40.0, help="Milliseconds an answer, of the quick one.")
    asked = parser.parse_args(arguments)
    model = teacher()
    settings = [f"batch_size={BATCH}", f"window={WINDOW}", "epochs=1"]
    recipe = load_recipe("demo", settings=settings)
    documents = read_documents([data() / "corpus" / "train.jsonl.xz"])
    windows = cut_windows(documents, model.tokenizer, WINDOW, STEPS * BATCH * WINDOW)[: STEPS * BATCH]
    rows = []
    with Snapshot.open(snapshot()) as inner, tempfile.TemporaryDirectory() as folder:
        for name, times in (("wait with a service", 1), ("wait with a service 10 times slower", 10)):
            source = Held(inner, times * asked.answer_ms / 1e3)
            # It has what training asks of a dictionary, and no more.
            run = train(recipe, model, windows, source, Path(folder) / str(times))  # type: ignore[arg-type]
            share, seconds = waited(run.history)
            print(f"{name}: {source.answers} answers of {times * asked.answer_ms:g} ms, steps of {seconds:.2f} s")
            command = f"python benchmarks/slow_service.py --answer-ms {asked.answer_ms:g}"
            rows.append(Row(name, 100 * share, 100 * BOUND, "% of a step's time", command))
    print("peer: the bound, which is to be more", file=sys.stderr)
    write("slow_service", rows)


if __name__ == "__main__":
    main()
