"""`sensedict tasks`: training text out of the tasks' train splits."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def tasks() -> None:
    """Make training text of the tasks' train splits."""


@tasks.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the tasks' files, those that are evaluated too: what stands in them is not trained on.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File .jsonl of chats.")
@click.option(
    "--task",
    "names",
    multiple=True,
    metavar="NAME",
    help="arc_challenge, commonsense_qa, piqa, mmlu or squad_v2. Repeatable.  [default: all]",
)
@click.option("--fraction", default=0.25, show_default=True, help="Of each train split.")
@click.option("--shots", default=5, show_default=True, help="Examples before a question; squad_v2 has at most one.")
@click.option("--seed", default=0, show_default=True, help="Of every choice.")
@click.option(
    "--hold-back",
    default=0.0,
    show_default=True,
    help="Share of the fraction that goes into tuning.jsonl beside --out, to choose settings on.",
)
def prepare(
    data: Path, out: Path, names: tuple[str, ...], fraction: float, shots: int, seed: int, hold_back: float
) -> None:
    """Write chats to train on: few-shot prompts as evaluation asks them, with the right answers.

    Prints one line of JSON: rows a task, rows that were dropped and why, and the files' sha256.
    """
    import hashlib
    import json

    from sensedict.errors import InvalidInput
    from sensedict.paths import write_whole
    from sensedict_trainer.tasks.training_parts import TRAIN_FILES, Settings
    from sensedict_trainer.tasks.training_text import json_lines, make_chats, manifest

    tuning = out.with_name("tuning.jsonl")
    if out.suffix != ".jsonl" or (hold_back and out == tuning):
        raise InvalidInput(f"--out {out}: name a file .jsonl other than tuning.jsonl")
    settings = Settings(fraction, shots, seed, hold_back)
    chats = make_chats(data, names or tuple(TRAIN_FILES), settings)
    files = {out: json_lines(chats.train)}
    if hold_back:
        files[tuning] = json_lines(chats.tuning)
    for path, content in files.items():
        write_whole(path, content)
    hashes = {path.name: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    click.echo(json.dumps({**manifest(chats, settings), "sha256": hashes}))
