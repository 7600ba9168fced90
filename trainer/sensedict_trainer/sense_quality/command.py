"""`sensedict eval-senses`: how good a dictionary's senses are as senses of words."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sensedict_trainer.options import describe_senses, dictionary_options, open_source


@click.command("eval-senses")
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@dictionary_options
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose folder senses/ holds the archives of the data sets.",
)
@click.option(
    "--only",
    metavar="NAMES",
    help="Data sets, with commas: wic, wic_tsv, wsd, ant_syn, simlex, simverb, men, wordsim.  [default: all]",
)
@click.option(
    "--other",
    type=click.Path(file_okay=False, path_type=Path),
    help="File set of the same build with another --seed: how stable senses are.",
)
@click.option(
    "--semcor-sentences",
    default=4000,
    show_default=True,
    type=click.IntRange(1),
    help="Sentences of SemCor that the teacher reads for wsd, chosen by seed.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of every choice.")
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the teacher's weights.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the teacher runs, e.g. cuda.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the results.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def eval_senses(
    teacher: str,
    dictionary: str | None,
    server: str,
    snapshot: Path | None,
    patience: float,
    data: Path,
    only: str | None,
    other: Path | None,
    semcor_sentences: int,
    seed: int,
    dtype: str,
    device: str,
    out: Path,
    as_json: bool,
) -> None:
    """Measure a dictionary's senses: word in context, disambiguation, synonyms against antonyms, similarity, stability.

    Beside each number stand those of the teacher's input embeddings, of one centroid a token, of the hidden state
    itself and of the most frequent sense, and on how many items it stands.
    """
    from sensedict_trainer.document import markdown_table
    from sensedict_trainer.sense_quality.evaluation import Choices, evaluate_senses
    from sensedict_trainer.sense_quality.rendering import coverage_table, measures_table, write_quality
    from sensedict_trainer.teacher import load_teacher

    choices = Choices(data / "senses", _names(only), semcor_sentences, seed, other)
    with open_source(dictionary, server, snapshot, patience) as source:
        click.echo(describe_senses(source.identity), err=True)
        loaded = load_teacher(teacher, dtype, device)
        click.echo(loaded.summary, err=True)
        found = evaluate_senses(choices, loaded, source)
    write_quality(found, out)
    if as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False))
        return
    click.echo(f"\n{markdown_table(measures_table(found))}\n\n{markdown_table(coverage_table(found))}\n")
    click.echo(f"{out / 'sense-quality.md'}, {out / 'sense-quality.json'}")


def _names(only: str | None) -> tuple[str, ...]:
    from sensedict_trainer.sense_quality.evaluation import DATA_SETS

    if only is None:
        return DATA_SETS
    names = tuple(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    unknown = [name for name in names if name not in DATA_SETS]
    if unknown or not names:
        raise click.BadParameter(
            f"{only!r}: some of {', '.join(DATA_SETS)}, with commas" + (f"; not {unknown[0]!r}" if unknown else ""),
            param_hint="--only",
        )
    return names
