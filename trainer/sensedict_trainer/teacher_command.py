"""`sensedict teacher`: convert and look at a teacher's weights."""

from __future__ import annotations

from pathlib import Path

import click

from sensedict.paths import package_path


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
