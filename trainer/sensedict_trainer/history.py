"""`history.jsonl`: what a run measured, a line a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sensedict_trainer.results import read_json_lines, write_text


class History:
    """A run's record, opened after some steps; what a killed run wrote after its last checkpoint is cut off first."""

    def __init__(self, path: Path, steps: int) -> None:
        kept = []
        if path.exists() and steps:
            kept = [json.dumps(row) for row in _whole_lines(path) if row["step"] <= steps]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path = path

    def add(self, row: dict[str, Any]) -> None:
        """Write a step's values down."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that a kill did not cut in two."""
    text = path.read_text("utf-8")
    if not text.endswith("\n"):
        write_text(path, text[: text.rfind("\n") + 1])
    return read_json_lines(path)
