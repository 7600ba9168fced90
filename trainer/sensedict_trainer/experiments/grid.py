"""The search for each condition's settings, on text that no result is ever taken from (DSKD appendix C.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sensedict.errors import InvalidInput
from sensedict_trainer.experiments.measures import Measure, measure_of
from sensedict_trainer.experiments.order import Order, work
from sensedict_trainer.experiments.outcome import Outcome
from sensedict_trainer.experiments.render import write_outcome
from sensedict_trainer.experiments.spec import Condition, Experiment
from sensedict_trainer.experiments.store import claim
from sensedict_trainer.results import write_text


@dataclass(frozen=True)
class Choice:
    """The best place of a condition on an axis.

    Attributes:
        value: mean of the measure over seeds.
        edges: settings whose best value is the least or the greatest that was tried.
    """

    condition: Condition
    value: float
    edges: tuple[str, ...]


def search(order: Order, say: Callable[[str], object]) -> dict[str, dict[str, Any]]:
    """Settings by condition: the best of every combination, or of one axis after another.

    Where the experiment's axes are not crossed, each is searched at the best places of those before it. What was chosen
    is written to `OUT/NAME/tuned.toml`, with the tables that it was chosen by beside it.

    Raises:
        InvalidInput: an experiment without axes, or a point that is another dictionary: a recipe cannot say that.
    """
    experiment = order.experiment
    measure = measure_of((experiment.primary or experiment.measures)[0], experiment.pooled)
    tuned: dict[str, dict[str, Any]] = {}
    for number, stage in enumerate(stages(experiment), start=1):
        staged = replace(order, experiment=stage, tuned={**order.tuned, **tuned})
        outcome, made = work(staged, say)
        with claim(order.out, "report", wait=True):  # others that worked on it write the same files now
            write_outcome(outcome, made, order.out / experiment.name / f"axis-{number}")
        for choice in best(outcome, measure):
            base = choice.condition.base
            tuned[base] = {**tuned.get(base, {}), **choice.condition.point}
            value = measure.text(choice.value)
            say(f"{choice.condition.label}: {measure.label} {value}" + _edge(choice.edges))
    with claim(order.out, "report", wait=True):
        write_text(order.out / experiment.name / "tuned.toml", tuned_toml(tuned, order, measure))
    return tuned


def stages(experiment: Experiment) -> Iterator[Experiment]:
    """The experiment an axis at a time, or whole where its axes are crossed; without comparisons.

    Raises:
        InvalidInput: see `search`.
    """
    placed = [condition for condition in experiment.conditions if condition.axis]
    if not placed:
        raise InvalidInput(f"{experiment.name} has no axes: there is nothing to choose from")
    for condition in placed:
        if len({other.variant for other in placed if other.base == condition.base}) > 1:
            raise InvalidInput(f"{experiment.name}, {condition.name}: a grid chooses settings, and not a dictionary")
    axes = [""] if experiment.cross else list(dict.fromkeys(condition.axis for condition in placed))
    for axis in axes:
        own = tuple(condition for condition in placed if axis in ("", condition.axis))
        yield replace(experiment, conditions=own, against=())


def best(outcome: Outcome, measure: Measure) -> list[Choice]:
    """The place of each condition where the mean over seeds is best: the least, of accuracies the greatest.

    Raises:
        InvalidInput: a condition has no result at any place.
    """
    sign = -1.0 if measure.unit == "share" else 1.0
    found = []
    for base in dict.fromkeys(condition.base for condition in outcome.experiment.conditions):
        places = [condition for condition in outcome.experiment.conditions if condition.base == base]
        spreads = {c.name: spread for c in places if (spread := outcome.spread(c, measure)) is not None}
        seeds = max((spread.count for spread in spreads.values()), default=0)
        # A place where some seed's loss was no number is none to choose.
        means = {name: spread.mean for name, spread in spreads.items() if spread.count == seeds}
        if not means:
            raise InvalidInput(f"no place of {base} ended with a number: give the axis other values")
        chosen = min((c for c in places if c.name in means), key=lambda c: sign * means[c.name])
        found.append(Choice(chosen, means[chosen.name], tuple(_edges(chosen, places))))
    return found


def tuned_toml(tuned: Mapping[str, Mapping[str, Any]], order: Order, measure: Measure) -> str:
    """The settings as `--tuned` reads them."""
    lines = [
        f"# {order.command}",
        f"# chosen by {measure.label}, over the seeds {', '.join(map(str, order.seeds))}",
    ]
    for base, settings in tuned.items():
        lines += ["", f"[{json.dumps(base)}]"]
        lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join([*lines, ""])


def _edges(chosen: Condition, places: Sequence[Condition]) -> Iterator[str]:
    for name, value in chosen.point.items():
        tried = {place.point[name] for place in places}
        if (
            len(tried) > 2
            and all(isinstance(each, int | float) for each in tried)
            and value in (min(tried), max(tried))
        ):
            yield name


def _edge(edges: Sequence[str]) -> str:
    return f"; {' and '.join(edges)} at the edge of what was tried: widen the axis" if edges else ""
