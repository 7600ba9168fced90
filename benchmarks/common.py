"""What all benchmarks share: a row of a table, two things timed in turns, and the table written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

OUT = Path(__file__).with_name("out")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        row: its name.
        ours, peer: what was measured of each in one run; speeds as rates, so that more is better, memory as bytes.
        unit: of both.
        command: that measures it again.
    """

    row: str
    ours: float
    peer: float
    unit: str
    command: str

    @property
    def ratio(self) -> float:
        """Ours by the peer's."""
        return self.ours / self.peer


def write(name: str, rows: Sequence[Row]) -> Path:
    """Print the rows as a table and write them to `benchmarks/out/NAME.json`; gives the file."""
    width = max([len(row.row) for row in rows], default=3)
    print(f"{'row':{width}}  {'ours':>15}  {'peer':>15}  {'ratio':>7}  unit")
    for row in rows:
        print(f"{row.row:{width}}  {row.ours:>15,.2f}  {row.peer:>15,.2f}  {row.ratio:>7.3f}  {row.unit}")
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    waiting = path.with_name(f".{name}.{os.getpid()}.json")
    content = [{**asdict(row), "ratio": row.ratio} for row in rows]
    waiting.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    waiting.replace(path)
    return path


def alternate(
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    rest: float = 0.0,
) -> tuple[float, float]:
    """Seconds that each takes: the medians of several rounds, in which now the one and now the other comes first.

    Args:
        rest: seconds between two turns: threads of OpenMP go on waiting for work, at full speed, when theirs is done,
            and who comes next must not pay for them.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        turns = [(ours, seconds[0]), (peer, seconds[1])]
        for call, taken in turns if number % 2 == 0 else reversed(turns):
            time.sleep(rest)
            start = clock()
            call()
            taken.append(clock() - start)
    return median(seconds[0]), median(seconds[1])
