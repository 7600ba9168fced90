"""Runs that several processes share, started by `torchrun`: the cases of `test_ranks`, one folder a case."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor

from sensedict.errors import Unavailable
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.student import decoder_layers
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import Document, TokenWindow, cut_windows
from tiny_teacher import corpus
from tiny_training import RECIPE

# Of 22 windows 3 a batch leave 1, so that the second process has none of it; 1 a batch never gives it any.
CASES: dict[str, tuple[Recipe, TrainOptions]] = {
    "micro": (replace(RECIPE, batch_size=5), TrainOptions(micro_batch=2, measure_every=2)),
    "alone": (replace(RECIPE, batch_size=1, lr=1e-3, epochs=1, loss_on="answers"), TrainOptions()),
    "sharded": (replace(RECIPE, batch_size=3), TrainOptions(checkpoint_every=5, evaluate_every=5)),
}


def windows_of(teacher: Teacher) -> list[TokenWindow]:
    """Windows, one of which has no sense anywhere; every other token is taken for an answer's in every third."""
    texts = ["@#" * 10, *corpus(22)]
    windows = cut_windows((Document(f"s{i}", text) for i, text in enumerate(texts)), teacher.tokenizer, 24)[:22]
    return [
        replace(window, answers=np.arange(len(window.ids)) % 2 == 0) if i % 3 == 0 else window
        for i, window in enumerate(windows)
    ]


def options_of(case: str, teacher: Teacher) -> TrainOptions:
    """A case's options, with its held-out text."""
    options = CASES[case][1]
    held_out = cut_windows([Document("h", " ".join(corpus(6, seed=9)))], teacher.tokenizer, 24)
    return replace(options, held_out=held_out) if case == "sharded" else options


class Interrupting:
    """A snapshot that has this process interrupted, once a step of the run in `out` is done."""

    def __init__(self, inner: Snapshot, out: Path) -> None:
        self._inner, self._history, self._left = inner, out / "history.jsonl", 4
        self.identity = inner.identity

    def candidate_sets(self, tokens: Any) -> Any:
        return self._inner.candidate_sets(tokens)

    def nearest_senses(self, vectors: Any, p: int, tokens: Any = None) -> Any:
        return self._inner.nearest_senses(vectors, p, tokens)

    def get_senses(self, ids: Any) -> Any:
        self._left -= 1
        if not self._left:  # senses are fetched ahead of the steps
            while not self._history.exists() or not self._history.stat().st_size:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
        return self._inner.get_senses(ids)

    def close(self) -> None:
        pass

    def __enter__(self) -> Interrupting:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Away(Interrupting):
    """A snapshot that stops answering the second process, as a service behind a broken link does."""

    def get_senses(self, ids: Any) -> Any:
        self._left -= 1
        if self._left < 0 and os.environ["RANK"] == "1":
            raise Unavailable("the service is away")
        return self._inner.get_senses(ids)


def fail(teacher_folder: str, dictionary: str, out: str) -> None:
    """A run in which the second process fails while the first goes on."""
    teacher = load_teacher(teacher_folder)
    with Snapshot.open(Path(dictionary)) as source:
        away: Any = Away(source, Path(out))
        train(RECIPE, teacher, windows_of(teacher), away, Path(out))


def main(teacher_folder: str, dictionary: str, out: str) -> None:
    """Every case, and one that the second process's Ctrl-C stops."""
    for case, (recipe, _) in CASES.items():
        if case == "sharded":
            os.environ["ACCELERATE_USE_FSDP"] = "true"
        teacher = load_teacher(teacher_folder)
        windows, options = windows_of(teacher), options_of(case, teacher)
        with Snapshot.open(Path(dictionary)) as source:
            if case == "micro":
                stopped: Any = source if os.environ["RANK"] == "0" else Interrupting(source, Path(out) / case)
                try:
                    train(recipe, teacher, windows, stopped, Path(out) / case, options=options)
                except KeyboardInterrupt:
                    assert [*(Path(out) / case).glob("checkpoint-*")] or os.environ["RANK"] != "0"
                else:
                    raise AssertionError("the run was not stopped")
            train(recipe, teacher, windows, source, Path(out) / case, options=options)
        parts = [isinstance(weight, DTensor) for weight in decoder_layers(teacher.model).parameters()]
        assert all(parts) if case == "sharded" else not any(parts)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    {"main": main, "fail": fail}[sys.argv[1]](*sys.argv[2:])
