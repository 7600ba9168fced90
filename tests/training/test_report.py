"""The report: every number comes from the results, every sentence follows from the numbers, the page stands alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensedict.errors import Corrupt, InvalidInput
from sensedict_trainer import plots, sense_map, verdict
from sensedict_trainer.document import (
    Document,
    Paragraph,
    Picture,
    Section,
    Table,
    markdown_table,
    to_html,
    to_markdown,
)
from sensedict_trainer.evaluate import TextScores
from sensedict_trainer.report import Material, build_report, duration, results_table, write_report
from sensedict_trainer.results import Results, Row, read_json_lines, write_json, write_text
from sensedict_trainer.tasks.task import TaskScore

POSITIONS = np.full(20, 50)
LEVELS = {"teacher": 3.0, "untrained": 9.0, "kd": 5.4, "dskd": 5.2, "kd+mse": 5.1}


def scores(level: float, seed: int = 0) -> TextScores:
    noise = np.random.default_rng(7).normal(0, 0.5, 20) + np.random.default_rng(seed).normal(0, 0.01, 20)
    ce = (level + noise) * POSITIONS
    return TextScores(POSITIONS, ce, ce / 2, POSITIONS * 0.25, POSITIONS * level / 3)


def row(objective: str, seed: int | None, level: float, tokens: int = 60_000) -> Row:
    trained = seed is not None
    right = tuple(i % 4 == 0 for i in range(40))
    tasks = (
        TaskScore("arc_easy/continuation", 0.25, 0.0693, 0.25, 40, 0, right),
        TaskScore("arc_easy/continuation_norm", 0.4, 0.0784, 0.25, 40, 0, right),
    )
    history = f"runs/{objective}-seed{seed}/history.jsonl" if trained else None
    return Row(objective, seed, 15, scores(level, seed or 0), tasks, tokens if trained else 0, 61.0, 9.3, history)


def results(levels: dict[str, float] = LEVELS, seeds: tuple[int, ...] = (0,), tokens: int = 60_000) -> Results:
    rows = [
        row(objective, seed, level, tokens)
        for objective, level in levels.items()
        for seed in ((None,) if objective in ("teacher", "untrained") else seeds)
    ]
    words = [
        {"text": t, "head": "hot", "relation": r, "points": [[float(i), 1.0], [float(i), 2.5]]}
        for i, (t, r) in enumerate([("hot", "own"), ("warm", "synonym"), ("cold", "antonym")])
    ]
    identity = {"name": "tiny", "version": "7", "content_hash": "c0ffee", "teacher_hash": "beef", "k": 10}
    source = {"name": "moby", "version": "2", "licence": "public domain", "relations": 12}
    return Results({"recipe": {"alpha": 1.0}}, {"dtype": "4-bit GGUF, dequantized"}, identity, [source], rows, words)


def history(objective: str) -> list[dict[str, Any]]:
    extra: dict[str, Any] = {"sense": 2.0, "hinge_active": 0.02, "hit_rate": 0.9, "wait_share": 0.1}
    return [
        {"step": step, "loss": 9.0 / step, "ce": 5.0, "kl": 4.0 / step, "mse": None, "positions": 100}
        | {"grad_share": {"ce": 0.5, "kl": 0.5}, "relation_positions": 36}
        | (extra if objective == "dskd" else {})
        for step in range(1, 30)
    ]


def material(value: Results) -> Material:
    edges = [{"word": "hot", "other": "<script>alert(1)</script>", "type": "antonym", "licence": "CC0", "rule": None}]
    lexicon = {"lexicon": "english@1", "totals": {"synonym": 1234}, "edges": edges}
    histories = {objective: [history(objective)] for objective in ("kd", "dskd", "kd+mse")}
    return Material(value, histories, lexicon, [{"stage": "dictionary", "seconds": 125.4}])


def test_table_holds_what_was_measured() -> None:
    table = results_table(results())
    cells = {cells[0]: dict(zip(table.header, cells, strict=True)) for cells in table.rows}
    assert list(cells) == [
        "Teacher", "Untrained layer-cut student", "KD", "DSKD", "KD + hidden MSE (control)", "chance",
    ]  # fmt: skip
    expected = scores(5.2)
    assert cells["DSKD"]["CE"] == f"{expected.cross_entropy.sum() / 1000:.3f}"
    assert cells["DSKD"]["perplexity"] == f"{np.exp(expected.cross_entropy.sum() / 1000):.2f}"
    assert cells["DSKD"]["agreement"] == "25.0%"
    assert cells["KD"]["arc_easy/continuation_norm"] == "40.0% ± 7.8"
    assert cells["KD"]["trained tokens"] == "60,000"
    assert cells["KD"]["time"] == "1 min 01 s"
    assert cells["Teacher"]["trained tokens"] == "–"
    assert cells["chance"]["arc_easy/continuation"] == "25.0%"
    assert "Seed of training: 0." in table.caption


def test_several_seeds_give_mean_and_spread() -> None:
    table = results_table(results(seeds=(0, 1, 5)))
    kd = next(cells for cells in table.rows if cells[0] == "KD")
    values = [scores(5.4, seed).mean("cross_entropy") for seed in (0, 1, 5)]
    assert kd[2] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert "Seeds of training: 0, 1, 5" in table.caption


@pytest.mark.parametrize(("control", "ahead"), [(5.1, "**The control is ahead of DSKD here.**"), (5.3, None)])
def test_control_is_named_when_it_is_ahead(control: float, ahead: str | None) -> None:
    text = verdict.control_against_dskd(results({**LEVELS, "kd+mse": control}))
    assert (ahead in text) if ahead else ("ahead" not in text and "higher than" in text)


def test_a_lead_within_the_interval_is_called_that() -> None:
    found = results()
    swing = np.where(np.arange(20) % 2, 0.30, -0.31) * POSITIONS  # by turns, a little better on average
    text = replace(scores(5.2), cross_entropy=scores(5.2).cross_entropy + swing)
    rows = [replace(row, text=text) if row.objective == "kd+mse" else row for row in found.rows]
    said = verdict.control_against_dskd(replace(found, rows=rows))
    assert "ahead of DSKD here, by less than the interval's width" in said
    assert "not told apart from" in said


def test_dskd_behind_kd_is_said() -> None:
    assert "CE lower than the other's, -0.200 [" in verdict.dskd_against_kd(results())
    assert "CE higher than the other's, +0.100 [" in verdict.dskd_against_kd(results({**LEVELS, "dskd": 5.5}))
    assert verdict.dskd_against_kd(results({"teacher": 3.0, "kd": 5.0})) == ""


def test_scale_of_the_run_is_said() -> None:
    assert "shows the path, not the effect" in verdict.scale(results())
    assert "60,000 training tokens, with 1 seed (0)" in verdict.scale(results())
    assert "shows the path" not in verdict.scale(results(tokens=20_000_000))


class _Fetches(HTMLParser):
    """Collects what a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "data") and v and not v.startswith("#")
        ]


def test_page_stands_alone_and_escapes(tmp_path: Path) -> None:
    write_report(build_report(material(results())), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parser = _Fetches()
    parser.feed(page)
    assert parser.found == []
    assert not re.search(r"@import|url\((?!#)", page)
    assert "script" not in parser.tags
    assert "&lt;script&gt;alert(1)" in page
    assert parser.tags.count("svg") == 4
    for needle in ("tiny@7", "c0ffee", "4-bit GGUF, dequantized", "public domain", "36.0%", "2 min 05 s", "1,234"):
        assert needle in page, needle


def test_markdown_links_the_pictures_it_writes(tmp_path: Path) -> None:
    write_report(build_report(material(results())), tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((figures/\w+\.svg)\)", text)
    assert len(linked) == 4
    for name in linked:
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<svg")
    assert not list(tmp_path.rglob("*.tmp"))


def test_report_without_extras(tmp_path: Path) -> None:
    bare = results()
    bare = Results(bare.settings, bare.teacher, bare.dictionary, [], bare.rows, [])
    write_report(build_report(Material(bare, {}, None, [])), tmp_path)
    assert "No sample of the lexicon was given" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_results_come_back_from_disk(tmp_path: Path) -> None:
    value = results(seeds=(0, 1))
    value.write(tmp_path / "results.json")
    back = Results.read(tmp_path / "results.json")
    assert results_table(back) == results_table(value)
    assert verdict.control_against_dskd(back) == verdict.control_against_dskd(value)
    assert [r.to_json() for r in back.rows] == [r.to_json() for r in value.rows]
    (tmp_path / "results.json").write_text('{"format": 1, "rows": 3}')
    with pytest.raises(Corrupt, match="does not hold the results"):
        Results.read(tmp_path / "results.json")


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert (tmp_path / "a.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_broken_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "stages.jsonl"
    path.write_text('{"stage": "a", "seconds": 1}\n\n{"stage"\n')
    with pytest.raises(InvalidInput, match=r"stages\.jsonl:3: not JSON"):
        read_json_lines(path)
    path.write_text("3\n")
    with pytest.raises(InvalidInput, match=r"stages\.jsonl:1: not a JSON object"):
        read_json_lines(path)


def test_markdown_table_is_aligned_and_safe() -> None:
    table = Table(["word", "n"], [["a|b", "1"], ["日本", "1,000"]])
    assert markdown_table(table).splitlines() == [
        "| word |     n |",
        "| ---- | ----: |",
        "| a\\|b |     1 |",
        "| 日本 | 1,000 |",
    ]


def test_one_content_two_renderings() -> None:
    document = Document("T <1>", [Section("S", [Paragraph("**a** `b<c`"), Picture("p", "<svg></svg>", "cap")])])
    assert "<strong>a</strong> <code>b&lt;c</code>" in to_html(document)
    assert "<title>T &lt;1&gt;</title>" in to_html(document)
    assert to_markdown(document).startswith("# T <1>\n\n## S\n\n**a** `b<c`\n\n![cap](figures/p.svg)")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (125, "2 min 05 s"), (11520, "3 h 12 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_smoothing_keeps_a_straight_line_and_the_mean() -> None:
    line = np.arange(100.0)
    np.testing.assert_allclose(plots.smooth(line)[5:-5], line[5:-5])
    noise = np.random.default_rng(0).normal(size=200)
    assert plots.smooth(noise).std() < noise.std() / 2
    np.testing.assert_array_equal(plots.smooth(np.array([3.0])), [3.0])


def test_the_same_figure_gives_the_same_file() -> None:
    runs = {"kd": [history("kd")]}
    first, second = (plots.to_svg(plots.losses(runs, {"kd": "KD"})) for _ in range(2))
    assert first == second


def test_labels_of_the_map_do_not_overlap() -> None:
    generator = np.random.default_rng(0)
    words = tuple(
        sense_map.MappedWord(
            f"word{i}", f"word{i - i % 6}", "own" if i % 6 == 0 else "synonym", tuple(map(tuple, points))
        )
        for i, points in enumerate(generator.normal(size=(30, 3, 2)) + generator.normal(0, 4, size=(30, 1, 2)))
    )
    figure = sense_map.draw(sense_map.SenseMap(words))
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 30
    assert sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0
    assert json.loads(json.dumps(sense_map.SenseMap(words).to_json()))
