"""The report of a comparison: from results on disk to a table, `report.md` and one `report.html`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensedict.errors import InvalidInput
from sensedict_trainer import plots, sense_map, verdict
from sensedict_trainer.distil.recipe import OBJECTIVES
from sensedict_trainer.document import Document, Paragraph, Picture, Section, Table, to_html, to_markdown
from sensedict_trainer.evaluate import Measure
from sensedict_trainer.results import NAMES, Results, Row, read_json, read_json_lines, write_text
from sensedict_trainer.work import flatten

Histories = Mapping[str, Sequence[plots.History]]


@dataclass(frozen=True)
class Material:
    """Everything a report is made of.

    Attributes:
        results: the scores.
        histories: steps of each trained objective, one a seed.
        lexicon: what `sensedict lexicon sample --json` wrote, or None.
        stages: `{"stage": …, "seconds": …}` in order, of the work before the comparison.
    """

    results: Results
    histories: Histories
    lexicon: Mapping[str, Any] | None
    stages: Sequence[Mapping[str, Any]]


def read_lexicon(path: Path) -> Mapping[str, Any]:
    """What `sensedict lexicon sample --json` wrote. Raises `InvalidInput` when the file is something else."""
    value = read_json(path)
    edges = value.get("edges") if isinstance(value, dict) else None
    if not isinstance(edges, list) or not all(isinstance(edge, dict) for edge in edges):
        raise InvalidInput(f"{path} is not what `sensedict lexicon sample --json` writes: it has no list of `edges`")
    if not isinstance(value.get("totals", {}), dict):
        raise InvalidInput(f"{path} is not what `sensedict lexicon sample --json` writes: `totals` is no object")
    return dict(value)


def read_stages(path: Path) -> list[dict[str, Any]]:
    """The work before, `{"stage": …, "seconds": …}` a line. Raises `InvalidInput` naming a broken line."""
    rows = read_json_lines(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("stage"), str) or not isinstance(row.get("seconds"), int | float):
            raise InvalidInput(f"{path}:{number}: a `stage` and its `seconds` are needed")
    return rows


def results_table(results: Results) -> Table:
    """A row a model, a column a measure; mean ± standard deviation over seeds where there are several."""
    task_names = list(dict.fromkeys(score.name for row in results.rows for score in row.tasks))
    header = ["model", "perplexity", "CE", "KL to teacher", "agreement", "d²"]
    header += [*task_names, "trained tokens", "time"]
    rows = []
    for objective, name in NAMES.items():
        group = results.of(objective)
        if group:
            rows.append([name, *_text_cells(group), *_task_cells(group, task_names), *_cost_cells(group)])
    if task_names:
        rows.append(["chance", "", "", "", "", "", *_chance_cells(results, task_names), "", ""])
    return Table(header, rows, caption=_table_caption(results))


def build_report(material: Material) -> Document:
    """The whole report."""
    results = material.results
    sections = [
        Section(
            "Results", [Paragraph(verdict.scale(results)), results_table(results), *map(Paragraph, _verdicts(results))]
        ),
        Section("Training", _training(material.histories)),
        Section("A map of senses", _map(results)),
        Section("Settings", [_pairs(results.settings, "setting")]),
        Section("Teacher and dictionary", _dictionary(results)),
        Section("Lexicon", _lexicon(material)),
        Section("Time", _time(material)),
    ]
    return Document("KD, DSKD and a control: one comparison", sections)


def write_report(document: Document, folder: Path) -> None:
    """Write `report.html`, `report.md` and the pictures that the latter links to."""
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                write_text(folder / "figures" / f"{block.name}.svg", block.svg)
    write_text(folder / "report.md", to_markdown(document))
    write_text(folder / "report.html", to_html(document))


def duration(seconds: float) -> str:
    """Seconds as a person says them: `9.3 s`, `2 min 05 s`, `3 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _verdicts(results: Results) -> list[str]:
    return [text for text in (verdict.dskd_against_kd(results), verdict.control_against_dskd(results)) if text]


def _spread(values: Sequence[float], digits: int, percent: bool = False) -> str:
    scale, unit = (100.0, "%") if percent else (1.0, "")
    mean = f"{statistics.fmean(values) * scale:.{digits}f}"
    if len(values) == 1:
        return mean + unit
    return f"{mean} ± {statistics.stdev(values) * scale:.{digits}f}{unit}"


def _text_cells(group: Sequence[Row]) -> list[str]:
    def cell(measure: Measure, digits: int, percent: bool = False) -> str:
        return _spread([row.text.mean(measure) for row in group], digits, percent)

    perplexities = [row.text.perplexity for row in group]
    # An untrained cut may be off by nine orders of magnitude.
    perplexity = _spread(perplexities, 2) if max(perplexities) < 1e6 else f"{statistics.fmean(perplexities):.1e}"
    return [
        perplexity,
        cell("cross_entropy", 3),
        cell("kl", 3),
        cell("agreement", 1, percent=True),
        cell("distance", 3),
    ]


def _task_cells(group: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Accuracy with its standard error over questions, or with its spread over seeds."""
    cells = []
    for name in names:
        scores = [score for row in group for score in row.tasks if score.name == name]
        if len(scores) == 1:
            cells.append(f"{scores[0].value:.1%} ± {scores[0].standard_error * 100:.1f}")
        else:
            cells.append(_spread([score.value for score in scores], 1, percent=True) if scores else "")
    return cells


def _chance_cells(results: Results, names: Sequence[str]) -> list[str]:
    chances = {score.name: score.chance for row in results.rows for score in row.tasks}
    return [f"{chances[name]:.1%}" for name in names]


def _cost_cells(group: Sequence[Row]) -> list[str]:
    if group[0].seed is None:
        return ["–", "–"]
    return [f"{group[0].trained_tokens:,}", duration(statistics.fmean(row.seconds for row in group))]


def _table_caption(results: Results) -> str:
    row = results.rows[0]
    seeds = verdict.seeds(results)
    parts = [
        f"Held-out text: {int(row.text.positions.sum()):,} positions in {len(row.text.positions):,} windows.",
        "CE and KL(teacher ‖ student) in nats a token at T = 1, perplexity a token of this tokenizer, agreement of the "
        "most likely next token with the teacher's, d² = ‖h_s − h_t‖² / D after the final norm.",
        f"Seed{'s' if len(seeds) > 1 else ''} of training: {', '.join(map(str, seeds))}"
        + ("; mean ± standard deviation over seeds." if len(seeds) > 1 else "."),
    ]
    if len({row.objective for row in results.rows if row.seed is not None}) > 1:
        parts.append("The teacher reads the training text once, in the time of the run that comes first.")
    if row.tasks:
        shots = ", ".join(
            dict.fromkeys(f"{s.name.split('/')[0]} {s.questions} questions, {s.shots}-shot" for s in row.tasks)
        )
        parts.append(
            f"Tasks: {shots}; plain prompts, no chat template. `continuation` takes the likeliest answer "
            "(lm-eval's acc), `continuation_norm` the likeliest per character (acc_norm)"
            + ("; ± is the standard error over questions where one seed was run." if len(seeds) == 1 else ".")
        )
    return " ".join(parts)


def _training(histories: Histories) -> list[Paragraph | Table | Picture]:
    drawn: Histories = {objective: histories[objective] for objective in OBJECTIVES if histories.get(objective)}
    positions = _relation_share(histories.get("dskd", ()))
    return [
        Picture(
            "losses",
            plots.to_svg(plots.losses(drawn, NAMES)),
            "The losses by term, a line a run: smoothed over a tenth of the steps, raw values faint. "
            "The whole losses of different objectives are sums of different terms and do not compare.",
        ),
        Picture(
            "gradients",
            plots.to_svg(plots.gradient_shares(drawn, NAMES)),
            "Each term's share of the gradient at the student's last hidden states: of each run's first seed, and "
            "where a step is cut into micro-batches of its first.",
        ),
        Picture(
            "health",
            plots.to_svg(plots.health(drawn, NAMES)),
            "How many hinges of the sense loss push at all, how many senses were already on the training device, "
            "and how much of the time training waited for the dictionary.",
        ),
        *([Paragraph(positions)] if positions else []),
    ]


def _relation_share(group: Sequence[plots.History]) -> str:
    total = sum(row.get("positions") or 0 for history in group for row in history)
    related = sum(row.get("relation_positions") or 0 for history in group for row in history)
    if not total:
        return ""
    return (
        f"Of {total:,} target positions that DSKD trained on, {related:,} ({related / total:.1%}) have a target with "
        "relations that the dictionary can use (the paper has about 14%)."
    )


def _map(results: Results) -> list[Paragraph | Table | Picture]:
    words = sense_map.SenseMap.from_json(results.sense_map)
    if not words.words:
        return [
            Paragraph("No word of this dictionary has senses, synonyms and antonyms of one token: there is no map.")
        ]
    caption = (
        "Senses of some words with those of their synonyms and antonyms (DSKD Figure 1): one mark a sense, by PCA and "
        "t-SNE; only neighbours of one token are drawn. Distances between far groups mean nothing."
    )
    return [Picture("senses", plots.to_svg(sense_map.draw(words)), caption)]


def _dictionary(results: Results) -> list[Paragraph | Table | Picture]:
    identity = dict(results.dictionary)
    address = f"{identity.pop('name')}@{identity.pop('version')}"
    return [
        _pairs(results.teacher, "teacher"),
        _pairs({"dictionary": address, **identity}, "dictionary"),
    ]


def _lexicon(material: Material) -> list[Paragraph | Table | Picture]:
    blocks: list[Paragraph | Table | Picture] = []
    sources = material.results.sources
    if sources:
        keys = list(dict.fromkeys(key for source in sources for key in source))
        rows = [[_plain(source.get(key)) for key in keys] for source in sources]
        blocks.append(Table(keys, rows, left=len(keys), caption="The sources of the relations, and their licences."))
    lexicon = material.lexicon
    if lexicon is None:
        return blocks or [Paragraph("No sample of the lexicon was given (`--edges`).")]
    totals = lexicon.get("totals") or {}
    if totals:
        blocks.append(_pairs(totals, f"lexicon {lexicon.get('lexicon', '')}".strip()))
    edges = lexicon.get("edges") or []
    if edges:
        keys = [
            key for key in dict.fromkeys(key for edge in edges for key in edge) if any(edge.get(key) for edge in edges)
        ]
        rows = [[_plain(edge.get(key)) for key in keys] for edge in edges]
        blocks.append(Table(keys, rows, left=len(keys), caption=f"A sample of {len(edges)} relations."))
    return blocks


def _time(material: Material) -> list[Paragraph | Table | Picture]:
    rows = [[str(entry["stage"]), duration(float(entry["seconds"]))] for entry in material.stages]
    for row in material.results.rows:
        name = NAMES[row.objective] + (f", seed {row.seed}" if row.seed is not None else "")
        if row.seed is not None:
            rows.append([f"train {name}", duration(row.seconds)])
        rows.append([f"evaluate {name}", duration(row.evaluation_seconds)])
    return [Table(["stage", "time"], rows)]


def _pairs(values: Mapping[str, Any], name: str) -> Table:
    rows = [[key, _plain(value)] for key, value in flatten(values).items()]
    return Table([name, "value"], rows, left=2)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)
