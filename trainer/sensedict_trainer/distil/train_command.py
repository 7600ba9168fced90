"""`sensedict train`: distil one student."""

from __future__ import annotations

from pathlib import Path

import click

from sensedict.errors import ConfigurationError
from sensedict_trainer.distillation import Distillation
from sensedict_trainer.options import dictionary_options, is_first, run_options, setting_option
from sensedict_trainer.text_sources import KINDS


@click.command()
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@click.option("--text", required=True, multiple=True, metavar="SOURCE", help=f"Text to train on. Repeatable. {KINDS}")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.  [required but for --dry-run]",
)
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
@click.option(
    "--held-out",
    multiple=True,
    metavar="SOURCE",
    help="Text that is not trained on: the student that does best on it is kept in OUT/best. Repeatable.",
)
@click.option("--evaluate-every", default=100, show_default=True, type=click.IntRange(1), help="Steps; of --held-out.")
@click.option("--checkpoint-every", default=100, show_default=True, type=click.IntRange(1), help="Steps.")
@click.option("--keep", default=1, show_default=True, type=click.IntRange(1), help="Checkpoints, the last ones.")
@click.option("--tensorboard", is_flag=True, help="Also log for TensorBoard, into OUT/tensorboard.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print parameters, FLOPs, memory, time and what is read of the dictionary; write nothing.",
)
@run_options
def train(
    teacher: str,
    text: tuple[str, ...],
    out: Path | None,
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
    held_out: tuple[str, ...],
    evaluate_every: int,
    checkpoint_every: int,
    keep: int,
    tensorboard: bool,
    dry_run: bool,
    fresh: bool,
) -> None:
    """Distil a student, with the dictionary or without.

    Stopped, or killed, and started again with the same options, it goes on from its last checkpoint. OUT/student is a
    plain model folder. Several processes share a run: `torchrun --no-python --nproc-per-node 2 sensedict train …`, or
    `accelerate launch --no_python`, there with --use_fsdp to split the layers over them.
    """
    if out is None and not dry_run:
        raise click.UsageError("Missing option '--out': the folder of the run.")
    distillation = Distillation(
        teacher=teacher,
        text=text,
        dictionary=_dictionary(dictionary, snapshot),
        server=None if snapshot else server,
        patience=0.0 if dry_run else patience,  # whoever looks first is told at once that no service is there
        recipe=recipe,
        objective=objective,
        seed=seed,
        settings=settings,
        tokens=tokens,
        dtype=dtype,
        device=device,
        micro_batch=micro_batch,
        cache_mb=cache_mb,
        activations=activations,
        teacher_states=teacher_states,
        held_out=held_out,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
        keep=keep,
        tensorboard=tensorboard,
        tell=click.echo if is_first() else lambda _line: None,
    )
    if out is None or dry_run:
        for line in distillation.plan().lines():
            click.echo(line)
        return
    result = distillation.train(out, fresh)
    if is_first():
        click.echo(f"{result.student}: {result.tokens:,} tokens in {result.seconds:.0f} s; {result.history}")


def _dictionary(named: str | None, snapshot: Path | None) -> str | Path | None:
    if named is not None and snapshot is not None:
        raise ConfigurationError("name the dictionary: either --dictionary (and --server), or --snapshot FOLDER")
    return snapshot or named
