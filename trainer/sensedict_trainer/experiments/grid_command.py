"""`sensedict grid`: each condition's best settings, chosen on a part of the training text."""

from __future__ import annotations

import click

from sensedict_trainer.experiments.command_options import Given, order_options


@click.command()
@click.argument("name", default="grid")
@click.option(
    "--share",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0.001, 0.5),
    help="Of the training text, by documents: not trained on, and scored.",
)
@click.option(
    "--tuning",
    multiple=True,
    metavar="SOURCE",
    help="Text to score, in place of a share of --text: where its documents quote one another, as chats with examples "
    "do, `sensedict tasks prepare --hold-back` writes it. Repeatable.",
)
@order_options
def grid(given: Given, name: str, share: float, tuning: tuple[str, ...]) -> None:
    """Search the settings of every condition of NAME, an experiment with axes, or a TOML file.  [default: grid]

    A share of the training text is set aside, or text given by --tuning; what does best on it is chosen, and no
    held-out text is read. OUT/NAME has tuned.toml, for `sensedict experiment --tuned`, and the tables that it was
    chosen by. Stopped and started again, it goes on. Give another --out than that of the experiments: theirs is another
    text.
    """
    from sensedict_trainer.experiments.command import forecast
    from sensedict_trainer.experiments.grid import search, stages
    from sensedict_trainer.experiments.order import opened
    from sensedict_trainer.experiments.reading import load_experiment
    from sensedict_trainer.text_sources import check_sources

    check_sources(tuning)
    chosen_on = {"held_out": tuning, "tune_share": 0.0 if tuning else share}
    found = load_experiment(name)
    first = next(stages(found))
    order = given.order(found, **chosen_on)
    if given.dry_run:
        with opened(given.order(first, **chosen_on)) as bench:
            click.echo("\n".join(["the first axis:", *forecast(bench)]))
        return
    search(order, click.echo)
    click.echo(f"{order.out / found.name / 'tuned.toml'}, for `sensedict experiment … --tuned`")
