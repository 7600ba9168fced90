"""`sensedict compare`: KD, DSKD and the control, side by side, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensedict_trainer.options import (
    describe_senses,
    dictionary_options,
    enough_memory,
    open_source,
    parse_seeds,
    run_options,
    setting_option,
)
from sensedict_trainer.text_sources import KINDS

if TYPE_CHECKING:
    from sensedict_trainer.distil.recipe import Recipe
    from sensedict_trainer.report import Histories, Material
    from sensedict_trainer.teacher import Teacher
    from sensedict_trainer.text import TokenWindow


@click.command()
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@click.option("--text", required=True, multiple=True, metavar="SOURCE", help=f"Text to train on. Repeatable. {KINDS}")
@click.option(
    "--held-out",
    required=True,
    multiple=True,
    metavar="SOURCE",
    help="Text to score on, which is not trained on; as --text. Repeatable.",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the report.")
@dictionary_options
@click.option("--recipe", default="demo", show_default=True, help="Name of a recipe, or a TOML file.")
@setting_option
@click.option("--train-tokens", type=click.IntRange(8), help="Tokens of the text to train on.  [default: all]")
@click.option("--eval-tokens", type=click.IntRange(8), help="Tokens of the held-out text to score.  [default: all]")
@click.option("--seeds", default="0", show_default=True, help="Seeds of the runs, with commas: 0,1,2.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME[/FORM]:FILE",
    help="Also score this task, as piqa or arc_easy/letter.",
)
@click.option("--task-limit", type=click.IntRange(1), help="Questions of a task, chosen by seed.  [default: all]")
@click.option("--task-shots", default=0, show_default=True, type=click.IntRange(0), help="Examples before a question.")
@click.option(
    "--edges", type=click.Path(path_type=Path), help="What `sensedict lexicon sample --json` wrote, for the report."
)
@click.option("--stages", type=click.Path(path_type=Path), help="JSON lines {stage, seconds} of the work before.")
@run_options
def compare(
    teacher: str,
    text: tuple[str, ...],
    held_out: tuple[str, ...],
    out: Path,
    dictionary: str | None,
    server: str,
    snapshot: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    train_tokens: int | None,
    eval_tokens: int | None,
    seeds: str,
    tasks: tuple[str, ...],
    task_limit: int | None,
    task_shots: int,
    edges: Path | None,
    stages: Path | None,
    dtype: str,
    device: str,
    cache_mb: int,
    micro_batch: int | None,
    patience: float,
    activations: Path | None,
    fresh: bool,
) -> None:
    """Train KD, DSKD and a control on the same text and seeds, score them on held-out text, and write a report.

    Stopped and started again with the same options, it goes on where it was.
    """
    from sensedict_trainer.compare import Experiment
    from sensedict_trainer.compare import compare as run
    from sensedict_trainer.distil.card import relation_sources
    from sensedict_trainer.distil.loop import TrainOptions
    from sensedict_trainer.distil.recipe import OBJECTIVES, load_recipe
    from sensedict_trainer.report import Material, read_lexicon, read_stages
    from sensedict_trainer.results import read_json_lines
    from sensedict_trainer.tasks.registry import load_tasks
    from sensedict_trainer.teacher import check_device, load_teacher
    from sensedict_trainer.text_sources import check_sources

    # Whatever can be wrong with what was typed is found before the teacher is loaded.
    check_sources((*text, *held_out))
    check_device(device)
    chosen = load_recipe(recipe, decided=("objective", "seed"), settings=settings)
    named = parse_seeds(seeds)
    questions = load_tasks(tasks, shots=task_shots, limit=task_limit)
    lexicon = None if edges is None else read_lexicon(edges)
    before = [] if stages is None else read_stages(stages)
    options = TrainOptions(cache_bytes=cache_mb * 2**20, micro_batch=micro_batch, fresh=fresh, activations=activations)
    with open_source(dictionary, server, snapshot, patience) as source:
        click.echo(describe_senses(source.identity))  # asks the service whether it has it
        loaded = load_teacher(teacher, dtype, device)
        click.echo(loaded.summary)
        experiment = Experiment(
            recipe=chosen,
            seeds=named,
            training=_windows(text, loaded, chosen, train_tokens),
            held_out=_windows(held_out, loaded, chosen, eval_tokens),
            tasks=questions,
        )
        with enough_memory(device, micro_batch or chosen.batch_size, cache_mb, chosen.window):
            results = run(experiment, loaded, source, relation_sources(source), out, options)
    histories: Histories = {
        objective: [read_json_lines(out / row.history) for row in results.of(objective) if row.history]
        for objective in OBJECTIVES
    }
    _report(Material(results, histories, lexicon, before), out)


def _report(material: Material, out: Path) -> None:
    from sensedict_trainer import verdict
    from sensedict_trainer.document import markdown_table
    from sensedict_trainer.report import build_report, results_table, write_report

    results = material.results
    write_report(build_report(material), out)
    click.echo(f"\n{markdown_table(results_table(results))}\n")
    for text in (verdict.dskd_against_kd(results), verdict.control_against_dskd(results), verdict.scale(results)):
        click.echo(text.replace("**", ""))
    click.echo(f"\n{out / 'report.html'} (plots), {out / 'report.md'}, {out / 'results.json'}")


def _windows(sources: tuple[str, ...], teacher: Teacher, recipe: Recipe, tokens: int | None) -> list[TokenWindow]:
    from sensedict_trainer.text import cut_windows
    from sensedict_trainer.text_sources import read_documents

    return cut_windows(read_documents(sources), teacher.tokenizer, recipe.window, tokens)
