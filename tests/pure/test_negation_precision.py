"""The script that draws derived relations for judgement, run as a user runs it, and the judgements in docs/."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "negation_precision.py"
JUDGED = {
    "WordNet": ROOT / "docs" / "negation-precision-wordnet.tsv",
    "Moby": ROOT / "docs" / "negation-precision.tsv",
}
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
    unjudged = run("report", f"Own={first}")
    assert unjudged.returncode != 0
    assert "10 rows without a judgement" in unjudged.stderr


SECOND = ROOT / "docs" / "negation-precision-wordnet-seed5.tsv"


@pytest.mark.parametrize(("path", "size"), [(JUDGED["WordNet"], 200), (JUDGED["Moby"], 200), (SECOND, 60)])
def test_every_relation_of_the_samples_is_judged(path: Path, size: int) -> None:
    rows = read(path)
    assert len(rows) == size
    assert all(row["judgement"] in ("right", "arguable", "wrong") for row in rows)
    assert all((row["judgement"] == "right") == (not row["cause"]) == (not row["reason"]) for row in rows)


def test_the_page_shows_what_the_report_counts() -> None:
    result = run("report", *(f"{name}={path}" for name, path in JUDGED.items()))
    assert result.returncode == 0, result.stderr
    page = tables((ROOT / "docs" / "negation-precision.md").read_text("utf-8"))
    counted = tables(result.stdout)
    assert len(counted) == 2
    for name, table in counted.items():
        # the page has a third source beside these two, whose pairs are not to be listed
        columns = [page[name][0].index(column) for column in table[0]]
        assert [[row[column] for column in columns] for row in page[name]] == table


def test_a_file_without_a_name_is_refused() -> None:
    result = run("report", JUDGED["Moby"])
    assert result.returncode != 0
    assert "write NAME=FILE" in result.stderr


def tables(text: str) -> dict[tuple[str, str], list[list[str]]]:
    """The Markdown tables of a text as rows of cells, by the first cells of the header and of the first row."""
    found: dict[tuple[str, str], list[list[str]]] = {}
    for block in text.split("\n\n"):
        if block.strip().startswith("|"):
            rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.strip().splitlines()]
            found[rows[0][0], rows[2][0]] = rows
    return found
