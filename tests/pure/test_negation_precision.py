"""The script that draws derived relations for judgement, run as a user runs it, and the judgements in docs/."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "negation_precision.py"
JUDGED = ROOT / "docs" / "negation-precision.tsv"
WORDS = ("kind", "happy", "clear", "fair", "wise", "safe")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def sources(folder: Path) -> list[str]:
    pairs = folder / "pairs.tsv"
    pairs.write_text("".join(f"un{a}\t{b}\tsynonym\n" for a in WORDS for b in WORDS if a != b), "utf-8")
    segmentations = folder / "segmentations.csv"
    rows = [f"un{word},JJ,<un<{{({word})}}\n" for word in WORDS]
    segmentations.write_text("Word,POS,MorphoLexSegm\n" + "".join(rows), "utf-8")
    return ["--source", f"typed:{pairs}", "--source", f"morpholex:{segmentations}"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_draw_is_the_same_again_and_writes_over_nothing(tmp_path: Path) -> None:
    given = sources(tmp_path)
    first, second = tmp_path / "first.tsv", tmp_path / "second.tsv"
    for path in (first, second):
        result = run("draw", *given, "--size", 10, "--out", path)
        assert result.returncode == 0, result.stderr
    assert first.read_text("utf-8") == second.read_text("utf-8")
    rows = read(first)
    assert Counter(row["half"] for row in rows) == {"alike": 5, "even": 5}
    assert len({(row["word"], row["other"]) for row in rows}) == 10
    assert {(row["type"], row["rule"]) for row in rows} == {("antonym", "negation:un-")}
    again = run("draw", *given, "--size", 10, "--out", first)
    assert again.returncode != 0
    assert "is there already" in again.stderr
    unjudged = run("report", first)
    assert unjudged.returncode != 0
    assert "10 rows without a judgement" in unjudged.stderr


def test_every_relation_of_the_sample_is_judged_and_the_page_shows_the_count() -> None:
    rows = read(JUDGED)
    assert len(rows) == 200
    assert all((row["judgement"] == "right") == (not row["cause"]) == (not row["reason"]) for row in rows)
    result = run("report", JUDGED)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in (ROOT / "docs" / "negation-precision.md").read_text("utf-8")
