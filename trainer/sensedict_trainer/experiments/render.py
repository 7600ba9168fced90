"""An outcome as a reader has it: Markdown, HTML, LaTeX, CSV and pictures, the paper's numbers beside ours."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensedict_trainer.document import Document, Paragraph, Picture, Section, Table
from sensedict_trainer.experiments.figures import draw
from sensedict_trainer.experiments.latex import to_latex
from sensedict_trainer.experiments.measures import Measure, measure_of
from sensedict_trainer.experiments.outcome import Comparison, Outcome
from sensedict_trainer.experiments.statistics import Paired
from sensedict_trainer.plots import to_svg
from sensedict_trainer.report import write_report
from sensedict_trainer.results import write_json, write_text
from sensedict_trainer.work import flatten

_PAPER = "paper: "


def document_of(outcome: Outcome, made: Mapping[str, Any]) -> Document:
    """The whole document; `made` says with what, as JSON."""
    experiment = outcome.experiment
    source = f" ({experiment.source})" if experiment.source else ""
    first: list[Paragraph | Table | Picture] = [
        Paragraph(text) for text in (experiment.about, _primary(outcome)) if text
    ]
    first += [results_table(outcome), *map(Paragraph, experiment.notes)]
    if outcome.failed:
        first.append(
            Paragraph(f"The loss of these was no number, and they have no results: {', '.join(outcome.failed)}.")
        )
    figure = draw(outcome)
    if figure is not None:
        caption = "Means over training seeds; bars are one standard deviation to both sides."
        first.append(Picture(experiment.name, to_svg(figure), caption))
    sections = [Section("Results", first)]
    comparisons = [comparison for measure in outcome.compared for comparison in outcome.compare(measure)]
    if comparisons:
        sections.append(Section("Differences over training seeds", _over_seeds(comparisons)))
        sections.append(Section("Differences over windows and questions", _over_items(comparisons)))
        sections.append(Section("At equal wall-clock", _at_equal_time(comparisons)))
    checks = [each for group in outcome.cells.values() for result in group.values() for each in result.checks.items()]
    if checks:
        sections.append(Section("How questions were asked", _checked(checks)))
    sections.append(Section("How it was made", [pairs_table(made)]))
    return Document(f"{experiment.title}{source}", sections)


def results_table(outcome: Outcome) -> Table:
    """A row a condition, a column a measure, then the paper's columns."""
    experiment, measures = outcome.experiment, outcome.measures
    header = ["condition", "seeds", *(m.label for m in measures), *(_PAPER + c for c in experiment.paper.columns)]
    rows = []
    for condition in experiment.conditions:
        seeds = len([seed for seed in outcome.of(condition) if seed is not None])
        count = "–" if condition.model != "student" else str(seeds)
        printed = [str(value) for value in experiment.paper.rows.get(condition.name, ())]
        printed = printed or ["" for _ in experiment.paper.columns]
        rows.append([condition.label, count, *(_cell(outcome, condition.name, m) for m in measures), *printed])
    return Table(header, rows, caption=_caption(outcome))


def write_outcome(outcome: Outcome, made: Mapping[str, Any], folder: Path) -> None:
    """Write `report.md`, `report.html`, `table.tex`, `cells.csv`, `experiment.json` and the pictures."""
    write_report(document_of(outcome, made), folder)
    write_text(folder / "table.tex", to_latex(results_table(outcome), f"tab:{outcome.experiment.name}"))
    write_text(folder / "cells.csv", cells_csv(outcome))
    write_json(folder / "experiment.json", summary(outcome, made))


def cells_csv(outcome: Outcome) -> str:
    """A line for each condition and seed, and for each row of the paper; shares from 0 to 1, times in seconds."""
    measures = [measure_of(name, outcome.experiment.pooled) for name in outcome.experiment.measures]
    paper = outcome.experiment.paper
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    printed_header = [_PAPER + column for column in paper.columns]
    writer.writerow(["condition", "axis", "place", "seed", *(measure.name for measure in measures), *printed_header])
    for condition in outcome.experiment.conditions:
        printed = paper.rows.get(condition.name, ("",) * len(paper.columns))
        place = [condition.name, condition.axis, condition.place]
        for seed, result in outcome.of(condition).items():
            values = [measure.of(result) for measure in measures]
            shown = ["" if value is None else repr(value) for value in values]
            writer.writerow([*place, "" if seed is None else seed, *shown, *printed])
    return text.getvalue()


def summary(outcome: Outcome, made: Mapping[str, Any]) -> dict[str, Any]:
    """Means, spreads and comparisons as JSON: what is kept of an experiment when its cells are gone."""
    rows = []
    for condition in outcome.experiment.conditions:
        spreads = {measure.name: outcome.spread(condition, measure) for measure in outcome.measures}
        numbers = {name: vars(spread) for name, spread in spreads.items() if spread is not None}
        rows.append({"condition": condition.name, "label": condition.label, **numbers})
    compared = [
        {
            "first": c.first.name,
            "second": c.second.name,
            "measure": c.measure.name,
            "over seeds": None if c.seeds is None else {**vars(c.seeds), "holm": c.holm},
            "over windows or questions": c.items,
            "at equal wall-clock": None if c.equal_time is None else vars(c.equal_time),
            "may be slower": c.slower,
        }
        for measure in outcome.compared
        for c in outcome.compare(measure)
    ]
    return {"experiment": outcome.experiment.name, "rows": rows, "comparisons": compared, "made": dict(made)}


def pairs_table(values: Mapping[str, Any]) -> Table:
    """Nested settings as rows of name and value."""
    return Table(["what", "value"], [[name, _plain(value)] for name, value in flatten(values).items()], left=2)


def _primary(outcome: Outcome) -> str:
    experiment = outcome.experiment
    if not experiment.primary:
        return ""
    names = " and ".join(measure_of(name, experiment.pooled).label for name in experiment.primary)
    return f"**Primary measures, named before the runs: {names}.** The others are told for completeness."


def _caption(outcome: Outcome) -> str:
    parts = [
        f"Seeds of training: {', '.join(map(str, outcome.seeds)) or 'none yet'}; mean ± standard deviation over them."
    ]
    results = [result for group in outcome.cells.values() for result in group.values()]
    if results:
        text = results[0].text
        parts.append(
            f"Held-out text: {int(text.positions.sum()):,} positions in {len(text.positions):,} windows; CE and "
            "KL(teacher ‖ student) in nats a token at T = 1."
        )
        tasks = {score.name: score for result in results for score in result.tasks}
        parts += [
            f"{score.name}: {score.questions:,} questions, {score.shots}-shot, chance {score.chance:.1%}."
            for score in tasks.values()
        ]
    if outcome.experiment.pooled:
        parts.append(f"Pooled: all questions of {', '.join(outcome.experiment.pooled)}.")
    if outcome.experiment.paper.columns:
        parts.append("The paper's numbers are of other teachers, text and sizes.")
    return " ".join(parts)


def _cell(outcome: Outcome, name: str, measure: Measure) -> str:
    spread = outcome.spread(outcome.experiment.named(name), measure)
    if spread is None:
        return ""
    mean = measure.text(spread.mean)
    return mean if spread.deviation is None or not spread.deviation else f"{mean} ± {measure.text(spread.deviation)}"


def _between(comparison: Comparison) -> str:
    return f"{comparison.first.label} − {comparison.second.label}"


def _over_seeds(comparisons: Sequence[Comparison]) -> list[Paragraph | Table | Picture]:
    text = (
        "Would runs with other seeds come out the same way? Paired by training seed: the mean difference with the 95% "
        "interval of a paired t test, its p, and that corrected by Holm over the comparisons of the same measure with "
        "the same condition; the exact sign test, and the permutation test of sign flips, which assume no normal "
        "distribution and cannot go below 2^(1 − n) with n seeds. Windows and questions are the same throughout, and "
        "their choice is not in these intervals."
    )
    header = [
        "difference",
        "measure",
        "mean",
        "95% interval",
        "lower in",
        "p, t",
        "p, Holm",
        "p, sign",
        "p, permutation",
    ]
    rows = []
    for c in comparisons:
        if c.seeds is not None and c.holm is not None:
            interval = f"[{c.measure.text(c.seeds.low, True)}, {c.measure.text(c.seeds.high, True)}]"
            tests = [_p(p) for p in (c.seeds.t, c.holm, c.seeds.sign, c.seeds.permutation)]
            lower = f"{c.seeds.lower} of {c.seeds.count}"
            mean = c.measure.text(c.seeds.difference, signed=True)
            rows.append([_between(c), c.measure.label, mean, interval, lower, *tests])
    if not rows:
        return [Paragraph("With one seed nothing is known of the spread over seeds.")]
    return [Paragraph(text), Table(header, rows, left=2)]


def _over_items(comparisons: Sequence[Comparison]) -> list[Paragraph | Table | Picture]:
    text = (
        "Would other text, or other questions, come out the same way for these runs? A paired bootstrap over windows "
        "of the held-out text, or over questions, of values that are means over the common seeds. Windows of one "
        "document are alike: where the text is a few documents, the intervals are too narrow for other text."
    )
    rows = [
        [
            _between(c),
            c.measure.label,
            c.measure.text(c.items[0], signed=True),
            f"[{c.measure.text(c.items[1], True)}, {c.measure.text(c.items[2], True)}]",
        ]
        for c in comparisons
        if c.items is not None
    ]
    return [Paragraph(text), Table(["difference", "measure", "mean", "95% interval"], rows, left=2)]


def _at_equal_time(comparisons: Sequence[Comparison]) -> list[Paragraph | Table | Picture]:
    text = (
        "Each pair of runs at the second of training at which the quicker one ended: the slower one's held-out loss is "
        "taken there on the line between the points of its curve beside it. The frozen pass that all students share is "
        "not in the time. Curves are of a part of the held-out text. The learning rate falls along the whole run, so a "
        "run that is looked at before its end is somewhat worse than one that was planned to end there: the comparison "
        "is against the slower one. Times of runs that shared a machine with others are no measure of speed. The last "
        "column needs no two runs' times: so many times as long could each run have taken, by the shares of its own "
        "time, and still be ahead of the other's end, in the seed where that is least; a load of the machine that "
        "changed along the run moves it."
    )
    rows = [
        [_between(c), c.measure.label, *_test(c.measure, c.equal_time), "–" if c.slower is None else f"{c.slower:.2f}"]
        for c in comparisons
        if c.equal_time
    ]
    if not rows:
        return [Paragraph("No two seeds have curves in common: nothing is known.")]
    header = ["difference", "measure", "mean", "95% interval", "p, permutation", "may be slower, times"]
    return [Paragraph(text), Table(header, rows, left=2)]


def _checked(checks: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Paragraph | Table | Picture]:
    text = (
        "Over all models of the table: answers to questions that lost examples, or a part of their own, for the "
        "model's context; and of those that were asked again, one by one and whole, how many were answered otherwise. "
        "`answers` in the folder of results has every answer to every question."
    )
    rows = []
    for name in dict.fromkeys(name for name, _ in checks):
        own = [check for task, check in checks if task == name]
        again = [check["asked_again"] for check in own]
        counts = [sum(check[key] for check in own) for key in ("questions_without_some_examples", "questions_cut")]
        differing, asked = sum(len(each["differing"]) for each in again), sum(each["questions"] for each in again)
        largest = max(each["largest_difference"] for each in again)
        rows.append([name, *map(str, counts), f"{differing} of {asked}", f"{largest:.1e}"])
    header = ["task", "fewer shots", "cut", "differ at batch 1", "log-likelihoods by up to (nats)"]
    return [Paragraph(text), Table(header, rows)]


def _test(measure: Measure, test: Paired | None) -> list[str]:
    assert test is not None
    interval = f"[{measure.text(test.low, True)}, {measure.text(test.high, True)}]"
    return [measure.text(test.difference, signed=True), interval, _p(test.permutation)]


def _p(value: float) -> str:
    return f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
