"""`sensedict train`: distil one student."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensedict.errors import ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sensedict.source import SenseSource


@click.command()
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@click.option(
    "--text",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Text to train on: .txt or .jsonl, also .gz and .xz, or a folder of them. Repeatable.",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the run.")
@click.option(
    "--objective",
    default="dskd",
    show_default=True,
    type=click.Choice(["kd", "dskd", "kd+mse"]),
    help="kd: no dictionary. kd+mse: the control, pulled to the teacher's own states.",
)
@click.option("--dictionary", help="name@version or name@alias, for dskd and kd+mse.")
@click.option("--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service's root.")
@click.option(
    "--snapshot",
    type=click.Path(file_okay=False, path_type=Path),
    help="A dictionary's file set, in place of a service.",
)
@click.option("--recipe", default="paper-llama3", show_default=True, help="Name of a recipe, or a TOML file.")
@click.option("--tokens", type=click.IntRange(8), help="Tokens of the text to train on.  [default: all]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of draws and order.")
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16"]),
    help="Of the teacher's weights and the student's.",
)
@click.option("--device", default="cpu", show_default=True, help="Where both run, e.g. cuda.")
@click.option("--cache-mb", default=256, show_default=True, type=click.IntRange(1), help="Sense vectors on the device.")
@click.option("--micro-batch", type=click.IntRange(1), help="Windows a forward pass.  [default: the recipe's batch]")
@click.option("--patience", default=300.0, show_default=True, help="Seconds to wait for a service that is away.")
@click.option("--fresh", is_flag=True, help="Throw away what an earlier run left in the folder.")
def train(
    teacher: str,
    text: tuple[Path, ...],
    out: Path,
    objective: str,
    dictionary: str | None,
    server: str,
    snapshot: Path | None,
    recipe: str,
    tokens: int | None,
    seed: int,
    dtype: str,
    device: str,
    cache_mb: int,
    micro_batch: int | None,
    patience: float,
    fresh: bool,
) -> None:
    """Distil a student, with the dictionary or without.

    Stopped, or killed, and started again with the same options, it goes on from its last checkpoint. OUT/student is a
    plain model folder.
    """
    from sensedict_trainer.loop import TrainOptions
    from sensedict_trainer.loop import train as run
    from sensedict_trainer.recipe import load_recipe
    from sensedict_trainer.teacher import load_teacher
    from sensedict_trainer.text import cut_windows, read_documents

    chosen = load_recipe(recipe, objective=objective, seed=seed)
    opened = open_source(dictionary, server, snapshot, patience) if chosen.uses_dictionary else nullcontext()
    with opened as source:
        loaded = load_teacher(teacher, dtype, device)
        click.echo(f"teacher {teacher}: {type(loaded.model).__name__}, {loaded.layers} layers, {dtype} on {device}")
        windows = cut_windows(read_documents(text), loaded.tokenizer, chosen.window, tokens)
        options = TrainOptions(cache_bytes=cache_mb * 2**20, micro_batch=micro_batch, fresh=fresh, name=objective)
        result = run(chosen, loaded, windows, source, out, options=options)
    click.echo(f"{result.student}: {result.tokens:,} tokens in {result.seconds:.0f} s; {result.history}")


def open_source(
    dictionary: str | None, server: str, snapshot: Path | None, patience: float
) -> AbstractContextManager[SenseSource]:
    """The dictionary that the options name: a file set where one is given, else a service's.

    Raises:
        ConfigurationError: neither is named, or both.
    """
    from sensedict.client import SenseClient
    from sensedict.snapshot import Snapshot

    if (dictionary is None) == (snapshot is None):
        raise ConfigurationError("name the dictionary: either --dictionary (and --server), or --snapshot FOLDER")
    if snapshot is not None:
        return Snapshot.open(snapshot)
    return SenseClient(server, str(dictionary), patience=patience)
