"""Pictures of an experiment: its measures along an axis, or condition by condition."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensedict_trainer.experiments.measures import Measure
from sensedict_trainer.experiments.outcome import Outcome
from sensedict_trainer.experiments.spec import Condition
from sensedict_trainer.plots import STYLE

# Okabe and Ito's colours, told apart by colour-blind readers; lines differ by mark too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_MOST = 4  # measures drawn


def draw(outcome: Outcome) -> Figure | None:
    """A panel for each axis and measure; where there is no axis a panel a measure. None where nothing is finished.

    Points are means over seeds, bars a standard deviation to both sides.
    """
    measures = _drawn(outcome)
    axes = list(dict.fromkeys(condition.axis for condition in outcome.experiment.conditions if condition.axis))
    panels = [(axis, measure) for axis in axes or [""] for measure in measures]
    if not panels:
        return None
    with rc_context(STYLE):
        columns = min(len(measures), 2)
        rows = -(-len(panels) // columns)
        tall = 2.9 if axes else 0.6 + 0.24 * len(outcome.experiment.conditions)
        figure = Figure(figsize=(9.6, rows * tall + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        for number, (axis, measure) in enumerate(panels, start=1):
            panel = figure.add_subplot(rows, columns, number)
            if axis:
                _along(panel, outcome, axis, measure)
            else:
                _by_condition(panel, outcome, measure)
    return figure


def _drawn(outcome: Outcome) -> list[Measure]:
    """The primary measures, else the first ones."""
    primary = [measure for measure in outcome.measures if measure.name in outcome.experiment.primary]
    return (primary or outcome.measures)[:_MOST]


def _scaled(measure: Measure, value: float) -> float:
    return 100 * value if measure.unit == "share" else value


def _along(panel: Axes, outcome: Outcome, axis: str, measure: Measure) -> None:
    conditions = [condition for condition in outcome.experiment.conditions if condition.axis == axis]
    places = list(dict.fromkeys(condition.place for condition in conditions))
    rising = all(place.startswith(f"{axis}=") for place in places)  # numbers of one axis; others are no line
    for number, base in enumerate(dict.fromkeys(condition.base for condition in conditions)):
        points = [_point(outcome, c, measure, places.index(c.place)) for c in conditions if c.base == base]
        known = [point for point in points if point is not None]
        if known:
            x, y, error = zip(*known, strict=True)
            panel.errorbar(
                x,
                y,
                yerr=error,
                label=base,
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKS[number % len(_MARKS)],
                capsize=2,
                linewidth=1.4,
                linestyle="-" if rising else "none",
                markersize=4,
            )
    levels = [c for c in outcome.experiment.conditions if not c.axis and c.model == "student"]
    for number, condition in enumerate(levels):
        spread = outcome.spread(condition, measure)
        if spread is not None:
            panel.axhline(
                _scaled(measure, spread.mean), color=_COLOURS[-1 - number % 2], linestyle="--", label=condition.label
            )
    names = [place.removeprefix(f"{axis}=") for place in places]
    panel.set_xticks(range(len(names)), names, rotation=30 if sum(map(len, names)) > 60 else 0)
    panel.set(title=measure.label, xlabel=axis)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, fontsize=8)


def _point(outcome: Outcome, condition: Condition, measure: Measure, x: int) -> tuple[float, float, float] | None:
    spread = outcome.spread(condition, measure)
    if spread is None:
        return None
    return float(x), _scaled(measure, spread.mean), _scaled(measure, spread.deviation or 0.0)


def _by_condition(panel: Axes, outcome: Outcome, measure: Measure) -> None:
    shown: Sequence[Condition] = [
        condition
        for condition in outcome.experiment.conditions
        if condition.model == "student" and outcome.values(condition, measure)
    ]
    for place, condition in enumerate(shown):
        values = [_scaled(measure, value) for value in outcome.values(condition, measure).values()]
        panel.scatter(values, [place] * len(values), s=9, color=_COLOURS[0], alpha=0.45, linewidths=0)
        spread = outcome.spread(condition, measure)
        assert spread is not None  # there are values
        panel.errorbar(
            _scaled(measure, spread.mean),
            place,
            xerr=_scaled(measure, spread.deviation or 0.0),
            color=_COLOURS[1],
            marker="|",
            markersize=10,
            capsize=2,
        )
    panel.set_yticks(range(len(shown)), [condition.label for condition in shown])
    panel.invert_yaxis()
    panel.set_title(measure.label)
