"""What a run shows while it trains: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Self, TextIO

from tqdm import tqdm

from sensedict_trainer.distil.objective import kinds

_EVERY = 30.0  # seconds between two plain lines


class Progress:
    """How far a run is, with its losses, its rate, the share of senses that were on the device, and the time left.

    Args:
        name: of the run.
        steps: of the whole run; tokens: that will pass through training.
        done: steps, and tokens, that an earlier start did.
        stream: where it is shown, by default stderr.
        every: seconds between two lines where it is no terminal; the last step has a line of its own.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        tokens: int,
        done: tuple[int, int] = (0, 0),
        stream: TextIO | None = None,
        every: float = _EVERY,
    ) -> None:
        self._name, self._steps, self._tokens, self._every = name, steps, tokens, every
        self._step, self._before = done
        self._now = self._before
        self._stream = stream or sys.stderr
        self._start = self._shown = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=tokens, initial=self._before, unit=" tokens", unit_scale=True, desc=name, file=self._stream
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, row: Mapping[str, Any]) -> None:
        """Show that a step is done; `row` is its record in the history."""
        self._step += 1
        self._now += row["tokens"]
        if self._bar is not None:
            self._bar.set_postfix(_parts(row), refresh=False)
            self._bar.update(row["tokens"])
            return
        now = time.monotonic()
        if now - self._shown >= self._every or self._step == self._steps:
            self._shown = now
            self.write(self._line(row, now - self._start))

    def write(self, line: str) -> None:
        """Show a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def _line(self, row: Mapping[str, Any], seconds: float) -> str:
        rate = (self._now - self._before) / max(seconds, 1e-9)
        left = tqdm.format_interval((self._tokens - self._now) / max(rate, 1e-9))
        parts = ", ".join(f"{name} {value}" for name, value in _parts(row).items())
        return (
            f"{self._name}: step {self._step} of {self._steps}, {parts}, "
            f"{tqdm.format_sizeof(rate)} tokens/s, {left} left"
        )


def _parts(row: Mapping[str, Any]) -> dict[str, str]:
    """The loss, its terms, and the share of senses that were on the device."""
    parts = {name: f"{row[name]:.3g}" for name in ("loss", *kinds()) if row.get(name) is not None}
    if row.get("hit_rate") is not None:
        parts["hits"] = f"{row['hit_rate']:.0%}"
    return parts
