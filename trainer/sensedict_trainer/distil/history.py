"""`history.jsonl`: what a run measured, a line a step; and the same for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from sensedict.errors import Corrupt
from sensedict_trainer.distil.tensorboard import FOLDER, TensorBoard
from sensedict_trainer.results import write_text


class History:
    """A run's record, opened after some steps; what a killed run wrote after its last checkpoint is cut off first.

    Args:
        tensorboard: also write event files, into a folder beside it.

    Raises:
        MissingExtra: they are wanted, and TensorBoard is not installed.
        Corrupt: the record of an earlier start is damaged.
    """

    def __init__(self, path: Path, steps: int, tensorboard: bool = False) -> None:
        self._board = TensorBoard(path.parent / FOLDER, steps) if tensorboard else None
        kept = []
        if path.exists() and steps:
            *whole, _cut = path.read_text("utf-8").split("\n")  # a kill may cut the last line in two
            kept = [line for number, line in enumerate(whole, start=1) if _step(path, number, line) <= steps]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path = path

    def add(self, row: dict[str, Any]) -> None:
        """Write a step's values down."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        if self._board is not None:
            self._board.add(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._board is not None:
            self._board.close()


def _step(path: Path, number: int, line: str) -> int:
    """The step of a line of the record."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{path}, line {number}, is damaged ({error}): remove the file, and the run goes on from its checkpoint "
            "without a record of the steps before"
        ) from error
