"""Durations are measured with a clock that nobody sets: a host's time may jump, by NTP or by hand."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Who needs the time of day, and why. Neither is a duration.
TIME_OF_DAY = {
    "server/sensedict_server/doctor/database.py": "compares this machine's clock with the database's",
}


def test_no_duration_is_measured_by_the_time_of_day() -> None:
    found = {
        str(file.relative_to(ROOT))
        for package in ("client", "server", "trainer")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns")
    }
    assert found == set(TIME_OF_DAY)


def test_no_difference_of_dates_is_a_duration() -> None:
    """A `datetime.now` beside a minus sign; those of other machines' headers are dates, and bounded."""
    found = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in (ROOT / "server").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and "datetime.now" in ast.unparse(node)
    }
    assert found == set()
