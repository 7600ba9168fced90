"""`sensedict train`: distil one student."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from sensedict_trainer.options import describe_senses, dictionary_options, open_source, run_options, setting_option
from sensedict_trainer.text_sources import KINDS


@click.command()
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@click.option("--text", required=True, multiple=True, metavar="SOURCE", help=f"Text to train on. Repeatable. {KINDS}")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the run.")
@click.option(
    "--objective",
    help="kd: no dictionary. kd+mse: the control, pulled to the teacher's own states. Or a sum of terms, as "
    "'ce + rkl + sense'.  [default: the recipe's, dskd]",
)
@dictionary_options
@click.option("--recipe", default="paper-llama3", show_default=True, help="Name of a recipe, or a TOML file.")
@setting_option
@click.option("--tokens", type=click.IntRange(8), help="Tokens of the text to train on.  [default: all]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of draws and order.  [default: the recipe's, 0]")
@click.option(
    "--teacher-states",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that `sensedict teacher states` made of this text: the teacher does not run.",
)
@run_options
def train(
    teacher: str,
    text: tuple[str, ...],
    out: Path,
    objective: str | None,
    dictionary: str | None,
    server: str,
    snapshot: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    tokens: int | None,
    seed: int | None,
    dtype: str,
    device: str,
    cache_mb: int,
    micro_batch: int | None,
    patience: float,
    activations: Path | None,
    teacher_states: Path | None,
    fresh: bool,
) -> None:
    """Distil a student, with the dictionary or without.

    Stopped, or killed, and started again with the same options, it goes on from its last checkpoint. OUT/student is a
    plain model folder.
    """
    from sensedict_trainer.distil.loop import TrainOptions
    from sensedict_trainer.distil.loop import train as run
    from sensedict_trainer.distil.recipe import load_recipe
    from sensedict_trainer.teacher import load_teacher
    from sensedict_trainer.text import cut_windows
    from sensedict_trainer.text_sources import check_sources, read_documents

    check_sources(text)
    chosen = load_recipe(recipe, settings=settings, objective=objective, seed=seed)
    opened = open_source(dictionary, server, snapshot, patience) if chosen.uses_dictionary else nullcontext()
    with opened as source:
        if source is not None:
            click.echo(describe_senses(source.identity))
        loaded = load_teacher(teacher, dtype, device)
        click.echo(loaded.summary)
        windows = cut_windows(read_documents(text), loaded.tokenizer, chosen.window, tokens)
        options = TrainOptions(
            cache_bytes=cache_mb * 2**20,
            micro_batch=micro_batch,
            fresh=fresh,
            name=chosen.objective,
            activations=activations,
            teacher_states=teacher_states,
        )
        result = run(chosen, loaded, windows, source, out, options=options)
    click.echo(f"{result.student}: {result.tokens:,} tokens in {result.seconds:.0f} s; {result.history}")
