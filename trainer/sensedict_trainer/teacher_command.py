"""`sensedict teacher`: convert and look at a teacher's weights."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import click

from sensedict.paths import package_path
from sensedict_trainer.options import DTYPES, dictionary_options, open_source, setting_option
from sensedict_trainer.text_sources import KINDS


@click.group()
def teacher() -> None:
    """Convert or look at a teacher's weights."""


@teacher.command()
@click.argument("gguf")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--dtype", default="float32", show_default=True, help="dtype of the weights written.")
def convert(gguf: str, folder: Path, dtype: str) -> None:
    """Dequantize GGUF once into FOLDER, a plain safetensors model with its tokenizer.

    GGUF is a file, or package:NAME/FILE for one inside an installed package. A conversion that is there is kept.
    """
    from sensedict_trainer.gguf import convert_gguf

    written = convert_gguf(package_path(gguf), folder, dtype)
    click.echo(f"{folder}: {'converted' if written else 'already converted'}, {dtype}")


@teacher.command()
@click.option(
    "--teacher", "name", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name."
)
@click.option("--text", required=True, multiple=True, metavar="SOURCE", help=f"Text to train on. Repeatable. {KINDS}")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the states.")
@click.option(
    "--kind", required=True, type=click.Choice(["exact", "senses", "logits"]), help="What is kept of a state."
)
@click.option("--count", type=click.IntRange(1), help="Senses kept a position [default: 5], or tokens [default: 32].")
@dictionary_options
@click.option("--recipe", default="paper-llama3", show_default=True, help="Whose window the text is cut by.")
@setting_option
@click.option("--tokens", type=click.IntRange(8), help="Tokens of the text.  [default: all]")
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(DTYPES), help="Of the weights.")
@click.option("--device", default="cpu", show_default=True, help="Where it runs, e.g. cuda.")
def states(
    name: str,
    text: tuple[str, ...],
    out: Path,
    kind: Literal["exact", "senses", "logits"],
    count: int | None,
    dictionary: str | None,
    server: str,
    snapshot: Path | None,
    patience: float,
    recipe: str,
    settings: tuple[str, ...],
    tokens: int | None,
    dtype: str,
    device: str,
) -> None:
    """Run a teacher over text once and keep its states: `sensedict train --teacher-states OUT` then does not run it.

    exact: last hidden states. senses: 5 bytes a sense, of a dictionary. logits: 6 bytes a token, the likeliest ones.
    """
    from sensedict_trainer.distil.recipe import load_recipe
    from sensedict_trainer.distil.teacher_states import build_teacher_states
    from sensedict_trainer.teacher import check_device, load_teacher
    from sensedict_trainer.text import cut_windows
    from sensedict_trainer.text_sources import check_sources, read_documents

    check_sources(text)
    check_device(device)
    window = load_recipe(recipe, settings=settings).window
    opened = open_source(dictionary, server, snapshot, patience) if kind == "senses" else nullcontext()
    with opened as source:
        loaded = load_teacher(name, dtype, device)
        click.echo(loaded.summary)
        windows = cut_windows(read_documents(text), loaded.tokenizer, window, tokens)
        kept = count or {"senses": 5, "logits": 32}.get(kind, 0)
        build_teacher_states(out, loaded, windows, kind, kept, source)
    click.echo(f"{out}: {sum(len(w.ids) for w in windows):,} tokens")


@teacher.command()
@click.argument("folder")
@click.option("--dtype", default="float32", show_default=True, help="dtype to load the weights in.")
def show(folder: str, dtype: str) -> None:
    """Print what a dictionary will know the teacher FOLDER (or hub name) by."""
    from sensedict_trainer.teacher import load_teacher

    loaded = load_teacher(folder, dtype)
    for name, value in (
        ("architecture", type(loaded.model).__name__),
        ("dtype", loaded.dtype_name),
        ("layers", loaded.layers),
        ("dimension D", loaded.dim),
        ("vocabulary V", loaded.vocabulary_size),
        ("weights", loaded.fingerprint),
        ("tokenizer", loaded.tokenizer_hash),
    ):
        click.echo(f"{name:14}{value}")
