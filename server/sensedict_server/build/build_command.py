"""`sensedict build`: from a teacher and text to a published dictionary."""

from __future__ import annotations

from pathlib import Path

import click

from sensedict_server.lexicon.relations import ANTONYM_TYPES, SYNONYM_TYPES
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings


@click.command()
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@click.option(
    "--corpus",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Text: .txt or .jsonl, also .gz and .xz, or a folder of them. Repeatable.",
)
@click.option("--lexicon", required=True, metavar="NAME@VERSION", help="Whose relations the dictionary has.")
@click.option(
    "--without",
    multiple=True,
    metavar="SOURCE",
    help="Leave out sources of the lexicon, by name, kind or licence, with what was derived from them; * stands for "
    "any letters, as in 'CC BY-NC*'. Makes the lexicon NAME@VERSION-without-SOURCE. Repeatable.",
)
@click.option("--name", required=True, help="Name to publish it under.")
@click.option("--version", required=True, help="Version to publish it under.")
@click.option("--tokens", type=click.IntRange(8), help="Tokens of the corpus to read.  [default: all]")
@click.option("--k", default=10, show_default=True, type=click.IntRange(1), help="Most senses a token has.")
@click.option(
    "--key",
    default="next",
    show_default=True,
    type=click.Choice(["next", "predicted", "input"]),
    help="The token a hidden state is kept under: the one that follows, the one predicted, or the one read.",
)
@click.option("--cap", default=2000, show_default=True, type=click.IntRange(1), help="Most hidden states a token.")
@click.option("--window", default=256, show_default=True, type=click.IntRange(8), help="Tokens a window.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of every random choice.")
@click.option("--contexts", default=3, show_default=True, type=click.IntRange(0), help="Example passages a sense.")
@click.option(
    "--synonym-type",
    multiple=True,
    default=SYNONYM_TYPES,
    show_default=True,
    help="Trains as synonymy; a directed type, as hypernym, from its first word to the other alone. Repeatable.",
)
@click.option(
    "--antonym-type",
    multiple=True,
    default=ANTONYM_TYPES,
    show_default=True,
    help="Trains as antonymy; add reversal for do–undo. Repeatable.",
)
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the teacher's weights as run.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the teacher runs, e.g. cuda.")
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1), help="Windows a forward pass.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the finished parts; a stopped build goes on from there.  [default: build-NAME@VERSION]",
)
@click.option("--fresh", is_flag=True, help="Throw away what an earlier build left in the work folder.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan and stop: tokens, keys, disk, FLOPs. Reads no weights and stores nothing; with --without it "
    "counts the whole lexicon.",
)
def build(
    teacher: str,
    corpus: tuple[Path, ...],
    lexicon: str,
    without: tuple[str, ...],
    name: str,
    version: str,
    tokens: int | None,
    k: int,
    key: str,
    cap: int,
    window: int,
    seed: int,
    contexts: int,
    synonym_type: tuple[str, ...],
    antonym_type: tuple[str, ...],
    dtype: str,
    device: str,
    batch_size: int,
    work: Path | None,
    fresh: bool,
    dry_run: bool,
) -> None:
    """Build a dictionary: the teacher reads the corpus, its hidden states are clustered by token, words are composed.

    Its plan is printed first; a build that the disk has no room for is refused.
    Stopped, or killed, and started again with the same options, it goes on where it was.
    """
    from sensedict_server.build.lexicon import lexicon_without
    from sensedict_server.build.pipeline import build_dictionary, plan_build
    from sensedict_server.build.plan import BuildSettings

    settings = Settings.from_environment()
    if without and not dry_run:
        with migrated(settings) as database:
            lexicon = lexicon_without(database, lexicon, without).ref
        click.echo(f"lexicon: {lexicon}")
    build_settings = BuildSettings(
        teacher=teacher,
        corpus=tuple(map(str, corpus)),
        lexicon=lexicon,
        name=name,
        version=version,
        tokens=tokens,
        k=k,
        key=key,  # type: ignore[arg-type] # click.Choice has checked it
        cap=cap,
        window=window,
        seed=seed,
        contexts=contexts,
        synonym_types=synonym_type,
        antonym_types=antonym_type,
        dtype=dtype,
        device=device,
        batch_size=batch_size,
    )
    folder = work or Path(f"build-{name}@{version}")
    with migrated(settings) as database:
        if dry_run:
            plan_build(database, settings.files, build_settings, folder, click.echo)
            return
        dictionary, made = build_dictionary(database, settings.files, build_settings, folder, fresh, click.echo)
    if made:
        click.echo(f"published {dictionary.ref}: {dictionary.senses:,} senses, {settings.files / dictionary.ref}")
    else:
        click.echo(f"{dictionary.ref} is published already, from the same settings: nothing to do")
