"""`sensedict experiment`: a table or a figure of the paper, or a comparison past it, from data to a rendered table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensedict_trainer.experiments.command_options import Given, order_options
from sensedict_trainer.text_sources import KINDS

if TYPE_CHECKING:
    from sensedict_trainer.experiments.order import Bench, Order
    from sensedict_trainer.experiments.spec import Experiment


def _list(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from sensedict_trainer.experiments.reading import experiment_names, load_experiment

    for name in experiment_names():
        experiment = load_experiment(name)
        click.echo(f"{name:<12}{experiment.title}" + (f" ({experiment.source})" if experiment.source else ""))
    context.exit()


@click.command()
@click.argument("name")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Print what there is.")
@click.option(
    "--held-out",
    multiple=True,
    metavar="SOURCE",
    help=f"Text to score on, which is not trained on; as --text. Repeatable. {KINDS}",
)
@click.option("--eval-tokens", type=click.IntRange(8), help="Tokens of the held-out text to score.  [default: all]")
@click.option(
    "--tuned",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file with a table of settings for each condition, as `sensedict grid` writes it.",
)
@order_options
def experiment(given: Given, name: str, held_out: tuple[str, ...], eval_tokens: int | None, tuned: Path | None) -> None:
    """Run the experiment NAME, or one of a TOML file, and write its table: `sensedict experiment --list` names them.

    What is finished is not made again, and an interrupted run goes on. Start the same command in several terminals, or
    give --jobs, and they share the work. The table is OUT/NAME/report.md, beside it report.html, table.tex, cells.csv.
    """
    from sensedict.errors import InvalidInput
    from sensedict_trainer.experiments.cells import read_tuned
    from sensedict_trainer.experiments.reading import load_experiment
    from sensedict_trainer.text_sources import check_sources

    found = load_experiment(name)
    if found.kind != "training":
        run_counts(given, found)
        return
    if not held_out:
        raise click.UsageError("Missing option '--held-out': text to score on, which is not trained on.")
    check_sources(held_out)
    if found.tasks and given.data is None:
        click.echo("without --task-data no task is scored", err=True)
    for name in untold(given, found):
        click.echo(f"{name} is scored, and {found.name} has no column of it", err=True)
    chosen = read_tuned(tuned)
    unused = sorted(set(chosen) - {condition.base for condition in found.conditions})
    if unused:
        click.echo(f"{tuned} has settings for {', '.join(unused)}: no conditions of {found.name}", err=True)
    without = {c.base: None for c in found.conditions if c.model == "student" and c.base not in chosen}
    if tuned is not None and without:
        raise InvalidInput(
            f"{tuned} has no settings for {', '.join(without)}, which would stand untuned beside tuned ones: search "
            "them too, or add a table for each, an empty one for the recipe's own settings"
        )
    run_order(given.order(found, held_out=held_out, eval_tokens=eval_tokens, tuned=chosen), given.dry_run)


def untold(given: Given, experiment: Experiment) -> list[str]:
    """Tasks that are named and scored, and that no measure of the experiment is of."""
    told = [measure.partition("#")[0] for measure in (*experiment.measures, *experiment.pooled)]
    names = [task.partition(":")[0] for task in given.tasks] if given.data is not None else []
    return [name for name in names if not any(m == name or m.startswith(f"{name}/") for m in told)]


def run_counts(given: Given, experiment: Experiment) -> None:
    """Print a table that takes no training, and write it where a folder is named."""
    from sensedict_trainer.document import Table, markdown_table
    from sensedict_trainer.experiments.counts import count_dictionaries, print_recipes, table_csv
    from sensedict_trainer.experiments.latex import to_latex
    from sensedict_trainer.report import write_report
    from sensedict_trainer.results import write_text

    recipes = experiment.kind == "recipes"
    document = print_recipes(experiment) if recipes else count_dictionaries(given.order(experiment, held_out=()))
    table = next(block for block in document.sections[0].blocks if isinstance(block, Table))
    click.echo(markdown_table(table))
    if given.out is not None:
        folder = given.out / experiment.name
        write_report(document, folder)
        write_text(folder / "table.tex", to_latex(table, f"tab:{experiment.name}"))
        write_text(folder / "cells.csv", table_csv(table))


def run_order(order: Order, dry_run: bool) -> None:
    """Make what is missing, then write and print the table."""
    from sensedict_trainer.document import markdown_table
    from sensedict_trainer.experiments.order import opened, work
    from sensedict_trainer.experiments.render import results_table, write_outcome
    from sensedict_trainer.experiments.store import claim

    if dry_run:
        with opened(order) as bench:
            click.echo("\n".join(forecast(bench)))
        return
    outcome, made = work(order, click.echo)
    folder = order.out / order.experiment.name
    with claim(order.out, "report", wait=True):  # others that worked on it write the same files now
        write_outcome(outcome, made, folder)
    click.echo(
        f"\n{markdown_table(results_table(outcome))}\n\n{folder / 'report.html'}, report.md, table.tex, cells.csv"
    )


def forecast(bench: Bench) -> list[str]:
    """The cells, which of them are finished, and how long the others would take by those that are."""
    from sensedict_trainer.report import duration

    lines, missing, spent = [], 0, []
    for entry in bench.cells:
        done, failed = bench.store.has(entry.key), bench.store.failure(entry.key) is not None
        state = "done" if done else "failed" if failed else "to do"
        lines.append(f"{state:<8}{entry.key}  {entry.cell.name}")
        missing += state == "to do"
        if done and entry.cell.seed is not None:
            costs = bench.store.read(entry.key).costs
            spent.append(sum(v for n, v in costs.items() if n in ("training_seconds", "text_seconds") or "/" in n))
    lines.append(f"{len(bench.cells)} cells, {missing} to do")
    if missing and spent:
        mean = sum(spent) / len(spent)
        lines.append(f"about {duration(missing * mean)} in one process, at {duration(mean)} a finished cell")
    return lines
