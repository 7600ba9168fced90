"""The result as tables and a picture: for a terminal, as Markdown, as SVG."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensedict_trainer.document import Document, Paragraph, Picture, Section, Table, to_markdown
from sensedict_trainer.plots import STYLE, to_svg
from sensedict_trainer.results import write_json, write_text
from sensedict_trainer.sense_quality.evaluation import SenseQuality
from sensedict_trainer.sense_quality.reading import Coverage
from sensedict_trainer.sense_quality.statistics import Measure

_SENSES_COLOUR, _OTHER_COLOUR = "#D55E00", "#0072B2"  # Okabe and Ito's
_CAPTION = (
    "95% intervals by a bootstrap over the items of a data set; n is how many items a number stands on. "
    "Ahead: how far a number is above the first of its group, both on the same items and the same resamples. "
    "Chance is 0.5 of an AUC and 0 of a correlation or an agreement."
)


def measures_table(found: SenseQuality) -> Table:
    """A row a measure."""
    rows = [
        (
            *(m.data_set, m.measure, m.by),
            *(_number(m.value), _interval(m.low, m.high)),
            *(_number(m.ahead), _interval(m.ahead_low, m.ahead_high)),
            *(f"{m.items:,}", f"{m.total:,}"),
        )
        for m in found.measures
    ]
    return Table(
        ("data set", "measure", "by", "value", "95%", "ahead", "95%", "n", "of"), rows, left=3, caption=_CAPTION
    )


def coverage_table(found: SenseQuality) -> Table:
    """A row for each kind of words or uses that were looked up."""
    rows = [(c.of, f"{c.covered:,}", f"{c.total:,}", _percent(c), _missing(c)) for c in found.coverage]
    return Table(("words or uses", "with senses", "of", "share", "the others"), rows)


def write_quality(found: SenseQuality, out: Path) -> None:
    """Write `sense-quality.json`, `sense-quality.md` and `figures/sense-quality.svg` into the folder."""
    picture = to_svg(draw(found))
    write_text(out / "figures" / "sense-quality.svg", picture)
    write_text(out / "sense-quality.md", to_markdown(_document(found, picture)))
    write_json(out / "sense-quality.json", found.to_json())


def draw(found: SenseQuality) -> Figure:
    """A panel a data set and measure: every number with its interval, what uses senses in another colour."""
    groups: dict[tuple[str, str], list[Measure]] = {}
    for measure in found.measures:
        if measure.value is not None:
            groups.setdefault((measure.data_set, measure.measure), []).append(measure)
    with rc_context(STYLE):
        columns = 2
        rows = max(1, -(-len(groups) // columns))
        figure = Figure(figsize=(9.6, 1.9 * rows + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        for place, ((data_set, name), measures) in enumerate(groups.items()):
            axis = figure.add_subplot(rows, columns, place + 1)
            for y, measure in enumerate(reversed(measures)):
                value, low, high = (float(n or 0.0) for n in (measure.value, measure.low, measure.high))
                colour = _SENSES_COLOUR if "sense" in measure.by and "frequent" not in measure.by else _OTHER_COLOUR
                axis.plot([low, high], [y, y], color=colour, linewidth=1.6)
                axis.plot([value], [y], color=colour, marker="o", markersize=4)
            axis.set_yticks(range(len(measures)), [measure.by for measure in reversed(measures)], fontsize=7)
            axis.set_ylim(-0.6, len(measures) - 0.4)
            axis.set_title(f"{data_set}: {name}", fontsize=8)
            axis.grid(visible=False, axis="y")
    return figure


def _document(found: SenseQuality, picture: str) -> Document:
    identity = found.identity
    told = (
        f"{identity.name}@{identity.version} of {identity.teacher}: {identity.senses:,} senses, k = {identity.k}, "
        f"state point {identity.state_point}, key {identity.key_policy}, content {identity.content_hash[:12]}…."
    )
    if found.other is not None:
        told += f" Stability against {found.other.name}@{found.other.version}."
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    return Document(
        "Sense quality",
        [
            Section("Dictionary", [Paragraph(told), Paragraph(f"Settings: {settings}.")]),
            Section("Measures", [measures_table(found), Picture("sense-quality", picture, _CAPTION)]),
            Section("Coverage", [coverage_table(found)]),
        ],
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _percent(coverage: Coverage) -> str:
    return f"{100 * coverage.covered / coverage.total:.1f}%" if coverage.total else "–"


def _missing(coverage: Coverage) -> str:
    return ", ".join(f"{reason}: {number:,}" for reason, number in coverage.missing.most_common()) or "none"
