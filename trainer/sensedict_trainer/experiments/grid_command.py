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
@order_options
def grid(given: Given, name: str, share: float) -> None:
    """Search the settings of every condition of NAME, an experiment with axes, or a TOML file.  [default: grid]

    A share of the training text is set aside; what does best on it is chosen, and no held-out text is read. OUT/NAME
    has tuned.toml, for `sensedict experiment --tuned`, and the tables that it was chosen by. Stopped and started again,
    it goes on. Give another --out than that of the experiments: theirs is another text.
    """
    from sensedict_trainer.experiments.command import forecast
    from sensedict_trainer.experiments.grid import search, stages
    from sensedict_trainer.experiments.order import opened
    from sensedict_trainer.experiments.reading import load_experiment

    found = load_experiment(name)
    first = next(stages(found))
    order = given.order(found, held_out=(), tune_share=share)
    if given.dry_run:
        with opened(given.order(first, held_out=(), tune_share=share)) as bench:
            click.echo("\n".join(["the first axis:", *forecast(bench)]))
        return
    search(order, click.echo)
    click.echo(f"{order.out / found.name / 'tuned.toml'}, for `sensedict experiment … --tuned`")
