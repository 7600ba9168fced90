"""`history.jsonl`: what a run measured, a line a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sensedict_trainer.results import write_text


class History:
    """A run's record, opened after some steps; what a killed run wrote after its last checkpoint is cut off first."""

    def __init__(self, path: Path, steps: int) -> None:
        kept = []
        if path.exists() and steps:
            *whole, _cut = path.read_text("utf-8").split("\n")  # a kill may cut the last line in two
            kept = [line for line in whole if json.loads(line)["step"] <= steps]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path = path

    def add(self, row: dict[str, Any]) -> None:
        """Write a step's values down."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
