"""`sensedict evaluate`: a model's scores in tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensedict.errors import ConfigurationError
from sensedict_trainer.options import is_first, own_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensedict_trainer.tasks.evaluation import Evaluation
    from sensedict_trainer.teacher import Teacher


@click.command()
@click.argument("model")
@click.option(
    "--task",
    "tasks",
    required=True,
    multiple=True,
    metavar="NAME[/FORM][:SOURCE]",
    help="As arc_challenge/letter; without a form both of continuation. SOURCE: a file of JSON lines, or "
    "datasets:NAME#SPLIT, in place of the one in --data. Repeatable.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of the data sets' files, as arc_challenge_test.jsonl.xz.",
)
@click.option("--shots", default=0, show_default=True, type=click.IntRange(0), help="Examples before a question.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of examples and of --limit."
)
@click.option("--limit", type=click.IntRange(1), help="Questions of a task, chosen by seed.  [default: all]")
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1), help="Rows a forward pass.")
@click.option(
    "--sample",
    default=16,
    show_default=True,
    type=click.IntRange(0),
    help="Questions of a task to ask again one by one, to see that batches change no answer.",
)
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write a JSON object a question.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the weights.",
)
@click.option("--device", default="cpu", show_default=True, help="Where it runs, e.g. cuda.")
def evaluate(
    model: str,
    tasks: tuple[str, ...],
    data: Path | None,
    shots: int,
    seed: int,
    limit: int | None,
    batch_size: int,
    sample: int,
    log: Path | None,
    as_json: bool,
    dtype: str,
    device: str,
) -> None:
    """Score MODEL, a folder or a transformers name, in tasks.

    Several processes share the questions: `torchrun --no-python --nproc-per-node 2 -- sensedict evaluate …`, where the
    two dashes keep torchrun from taking --log for its own.
    """
    from sensedict_trainer.distil.ranks import Ranks
    from sensedict_trainer.tasks.evaluation import evaluate as run
    from sensedict_trainer.tasks.evaluation import write_log
    from sensedict_trainer.tasks.registry import load_tasks
    from sensedict_trainer.teacher import load_teacher

    if device == "auto":
        raise ConfigurationError("a model is scored on one device, or on one a process: name it, as cuda")
    asked = load_tasks(tasks, data, shots, seed, limit)  # what is wrong with a file is found before the model is loaded
    loaded = load_teacher(model, dtype, own_device(device))
    ranks = Ranks(loaded.device)
    found = run(loaded.model, loaded.tokenizer, asked, ranks, batch_size, sample, progress=ranks.main)
    if log is not None:
        ranks.first(lambda: write_log(log, found))
    if is_first():
        _show(loaded, found, as_json, ranks.count)


def _show(model: Teacher, found: Sequence[Evaluation], as_json: bool, processes: int) -> None:
    import json

    from sensedict_trainer.document import markdown_table
    from sensedict_trainer.tasks.evaluation import details, table

    if as_json:
        about: dict[str, Any] = {
            "model": model.name,
            "weights": model.fingerprint,
            "tokenizer": model.tokenizer_hash,
            "dtype": model.dtype_name,
            "processes": processes,
        }
        click.echo(json.dumps({**about, "tasks": [each.to_json() for each in found]}, indent=1, ensure_ascii=False))
        return
    click.echo(model.summary)
    click.echo(markdown_table(table(found)))
    for each in found:
        for line in details(each):
            click.echo(line)
