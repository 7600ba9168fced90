"""Pictures of a comparison: losses, gradient shares, hinges, the cache. Drawn without a display, for a light page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

# One run's steps as `history.jsonl` holds them, oldest first.
History = Sequence[Mapping[str, Any]]

# Okabe and Ito's colours, told apart by colour-blind readers; runs also differ by dash, terms by place.
RUN_STYLES: Mapping[str, tuple[str, Any]] = {
    "kd": ("#0072B2", "solid"),
    "dskd": ("#D55E00", "solid"),
    "kd+mse": ("#009E73", (0, (5, 1.5))),
}
TERM_COLOURS: Mapping[str, str] = {"ce": "#999999", "kl": "#56B4E9", "sense": "#D55E00", "mse": "#009E73"}
TERM_NAMES: Mapping[str, str] = {
    "loss": "whole loss",
    "ce": "cross-entropy (nats)",
    "kl": "KL to the teacher (nats)",
    "sense": "sense loss (d²)",
    "mse": "hidden-state MSE (d²)",
}
_HEALTH_NAMES: Mapping[str, str] = {
    "hinge_active": "active hinges (d² < margin)",
    "hit_rate": "senses found in the cache",
    "wait_share": "time spent waiting for senses",
}
_INK = "#333333"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "sensedict",  # the same figure gives the same file
}


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element, without the XML prologue, so that it can stand inside HTML."""
    with rc_context(STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def losses(runs: Mapping[str, Sequence[History]], names: Mapping[str, str]) -> Figure:
    """Each term of the loss over steps, a panel a term, a line a run, smoothed over its faint raw values.

    Args:
        runs: histories by objective (`kd`, `dskd`, `kd+mse`), one a seed.
        names: what to call each objective.
    """
    return _panels(runs, names, TERM_NAMES, percent=False)


def health(runs: Mapping[str, Sequence[History]], names: Mapping[str, str]) -> Figure:
    """The share of active hinges, the cache's hit rate and the share of time spent waiting for the dictionary."""
    return _panels(runs, names, _HEALTH_NAMES, percent=True)


def gradient_shares(runs: Mapping[str, Sequence[History]], names: Mapping[str, str]) -> Figure:
    """Each term's share of the gradient over steps, a panel a run (its first seed), shares on top of one another."""
    shown = {
        objective: group[0]
        for objective, group in runs.items()
        if any(len(row.get("grad_share") or {}) > 0 for row in group[0])
    }
    with rc_context(STYLE):
        figure, axes = _grid(len(shown), columns=3, height=2.5)
        terms = [
            t for t in TERM_COLOURS if any((row.get("grad_share") or {}).get(t) for h in shown.values() for row in h)
        ]
        for axis, (objective, history) in zip(axes, shown.items(), strict=True):
            rows = [row for row in history if row.get("grad_share")]
            steps = [row["step"] for row in rows]
            shares = [smooth(np.array([row["grad_share"].get(term) or 0.0 for row in rows])) for term in terms]
            axis.stackplot(steps, *shares, colors=[TERM_COLOURS[t] for t in terms], edgecolor="white", linewidth=0.8)
            axis.set(title=names[objective], ylim=(0, 1), xlim=_span(steps))
            axis.yaxis.set_major_formatter(PercentFormatter(1.0))
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.set_xlabel("step")
            axis.grid(False)
        for axis in axes[:1]:
            axis.set_ylabel("share of the gradient")
        _legend(
            figure,
            [Patch(color=TERM_COLOURS[term]) for term in terms],
            [TERM_NAMES[t].partition(" (")[0] for t in terms],
        )
    return figure


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a centred window of a tenth of the steps, cut at the ends to what there is."""
    half = len(values) // 20
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    start, end = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    means: NDArray[np.float64] = (sums[end] - sums[start]) / (end - start)
    return means


def _panels(
    runs: Mapping[str, Sequence[History]], names: Mapping[str, str], titles: Mapping[str, str], percent: bool
) -> Figure:
    """A panel for each key of `titles` that any run has, a line a run."""
    histories = [(objective, history) for objective, group in runs.items() for history in group]
    keys = [key for key in titles if any(_has(history, key) for _, history in histories)]
    drawn = [objective for objective, group in runs.items() if any(_has(h, key) for h in group for key in keys)]
    with rc_context(STYLE):
        figure, axes = _grid(len(keys), columns=3, height=2.4)
        for axis, key in zip(axes, keys, strict=True):
            for objective, history in histories:
                _line(axis, history, key, *RUN_STYLES[objective])
            axis.set_title(titles[key])
            axis.set_xlabel("step")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if percent:
                axis.set_ylim(0, 1.02)
                axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        lines = [
            Line2D([], [], color=colour, linestyle=dash, linewidth=1.8)
            for colour, dash in (RUN_STYLES[objective] for objective in drawn)
        ]
        _legend(figure, lines, [names[objective] for objective in drawn])
    return figure


def _line(axis: Axes, history: History, key: str, colour: str, dash: Any) -> None:
    points = [(row["step"], row[key]) for row in history if row.get(key) is not None]
    if not points:
        return
    steps, values = np.array(points, dtype=np.float64).T
    axis.plot(steps, values, color=colour, alpha=0.22, linewidth=0.7)
    axis.plot(steps, smooth(values), color=colour, linewidth=1.6, linestyle=dash)


def _has(history: History, key: str) -> bool:
    return any(row.get(key) is not None for row in history)


def _span(steps: Sequence[int]) -> tuple[float, float]:
    return (min(steps), max(steps)) if len(set(steps)) > 1 else (steps[0] - 1, steps[0] + 1)


def _grid(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of `columns`, at least an empty one."""
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(9.6, rows * height + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=9)
