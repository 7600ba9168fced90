"""`sensedict build`: from a teacher and text to a published dictionary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from sqlalchemy import Engine

from sensedict_server.build.places import is_of_one_process
from sensedict_server.lexicon.relations import ANTONYM_TYPES, SYNONYM_TYPES
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings

if TYPE_CHECKING:
    from sensedict_server.build.plan import BuildSettings

_DATA_SET = "datasets:"
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _bytes(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no number of bytes: write e.g. 500MB or 2GB")
    return int(float(found[1]) * _UNITS[found[2]])


@click.command()
@click.option("--teacher", required=True, help="Folder (config.json, *.safetensors, tokenizer) or transformers name.")
@click.option(
    "--corpus",
    required=True,
    multiple=True,
    help="Text: .txt or .jsonl, also compressed, .parquet, wiki extracts, a folder of them, or "
    "datasets:NAME[:CONFIG][#SPLIT]. Repeatable.",
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
@click.option("--adaptive", is_flag=True, help="Choose the number of senses of each token by its states.")
@click.option(
    "--k-most", default=50, show_default=True, type=click.IntRange(1), help="With --adaptive: most senses a token has."
)
@click.option(
    "--budget",
    type=click.IntRange(1),
    help="With --adaptive: senses of all tokens together.  [default: as many as --k gives]",
)
@click.option(
    "--key",
    default="next",
    show_default=True,
    type=click.Choice(["next", "predicted", "input"]),
    help="The token a hidden state is kept under: the one that follows, the one predicted, or the one read.",
)
@click.option(
    "--layer", type=click.IntRange(1), help="Read states at the output of this layer.  [default: after the final norm]"
)
@click.option("--cap", default=2000, show_default=True, type=click.IntRange(1), help="Most hidden states a token.")
@click.option(
    "--mode",
    default="exact",
    show_default=True,
    type=click.Choice(["exact", "streaming"]),
    help="Cluster all kept states, or the --first of a token, whose means later states move.",
)
@click.option(
    "--first", default=500, show_default=True, type=click.IntRange(1), help="In mode streaming: states clustered."
)
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
    "--training-text",
    multiple=True,
    help="Text that a student will be trained on: says how often it finds its own states among the senses. Repeatable.",
)
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the teacher's weights as run.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the teacher runs, e.g. cuda.")
@click.option(
    "--batch-size",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Windows a forward pass; decides the rounding.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Of every worker; decides the rounding.  [default: those that it was begun with, else all cores]",
)
@click.option(
    "--memory",
    default="2GB",
    show_default=True,
    callback=_bytes,
    help="Most of a process beside the teacher's weights; decides how the work is cut.",
)
@click.option(
    "--work",
    metavar="FOLDER|URL",
    help="Where the finished parts are kept, e.g. s3://bucket/build; a stopped build goes on from there.  "
    "[default: build-NAME@VERSION]",
)
@click.option(
    "--draft",
    is_flag=True,
    help="Leave it a draft, which administrators alone see: `sensedict dictionary publish` publishes it.",
)
@click.option("--fresh", is_flag=True, help="Throw away what earlier builds left there.")
@click.option("--queue", is_flag=True, help="Leave the work to `sensedict worker`: enter the build and end.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan and stop: tokens, keys, disk, FLOPs. Reads no weights and stores nothing; with --without it "
    "counts the whole lexicon.",
)
def build(
    teacher: str,
    corpus: tuple[str, ...],
    lexicon: str,
    without: tuple[str, ...],
    name: str,
    version: str,
    tokens: int | None,
    k: int,
    adaptive: bool,
    k_most: int,
    budget: int | None,
    key: str,
    layer: int | None,
    cap: int,
    mode: str,
    first: int,
    window: int,
    seed: int,
    contexts: int,
    synonym_type: tuple[str, ...],
    antonym_type: tuple[str, ...],
    training_text: tuple[str, ...],
    dtype: str,
    device: str,
    batch_size: int,
    threads: int | None,
    memory: int,
    work: str | None,
    draft: bool,
    fresh: bool,
    queue: bool,
    dry_run: bool,
) -> None:
    """Build a dictionary: the teacher reads the corpus, its hidden states are clustered by token, words are composed.

    Its plan is printed first; a build that the disk has no room for is refused.
    Stopped, or killed, and started again with the same options, it goes on where it was. Started twice, both work on
    it, and so does every `sensedict worker` of the database.
    """
    from sensedict_server.build.plan import BuildSettings

    if queue and is_of_one_process(work or ""):
        raise click.UsageError(f"--queue leaves the work to other processes, and none shares {work}: name a folder")
    _check_used({"allocation": "adaptive" if adaptive else "fixed", "mode": mode})
    settings = Settings.from_environment()
    with migrated(settings) as database:
        lexicon = _lexicon(database, lexicon, () if dry_run else without)
        threads = threads or _threads(database, name, version)
        build_settings = BuildSettings(
            teacher=_whole_path(teacher) if Path(teacher).is_dir() else teacher,
            corpus=tuple(map(_whole_path, corpus)),
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
            state_point="final_norm" if layer is None else f"layer:{layer}",
            mode=mode,  # type: ignore[arg-type] # as above
            first=first,
            allocation="adaptive" if adaptive else "fixed",
            k_most=k_most,
            budget=budget,
            training_text=tuple(map(_whole_path, training_text)),
            threads=threads,
            memory=memory,
            draft=draft,
        )
        _run(database, settings.files, build_settings, work or f"build-{name}@{version}", fresh, queue, dry_run)


def _check_used(chosen: Mapping[str, str]) -> None:
    """Let pass options all of which do something.

    Args:
        chosen: the settings that make use of others, see `USED_WITH`.
    """
    from sensedict_server.build.settings_check import USED_WITH

    context = click.get_current_context()
    for name, (setting, value) in USED_WITH.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT and chosen[setting] != value:
            needed = "--adaptive" if value == "adaptive" else f"--{setting} {value}"
            raise click.UsageError(
                f"--{name.replace('_', '-')} does nothing without {needed}: add that, or leave it out"
            )


def _whole_path(source: str) -> str:
    """A path that workers elsewhere understand; the name of a data set as it is."""
    return source if source.startswith(_DATA_SET) else str(Path(source).absolute())


def _lexicon(database: Engine, lexicon: str, without: Sequence[str]) -> str:
    """The lexicon, or the one that is made of it by leaving sources out."""
    from sensedict_server.build.lexicon import lexicon_without

    if without:
        lexicon = lexicon_without(database, lexicon, without).ref
        click.echo(f"lexicon: {lexicon}")
    return lexicon


def _threads(database: Engine, name: str, version: str) -> int:
    """Those that a build of the dictionary was begun with; for a new one all cores."""
    from sensedict_server.build.identity import known_threads
    from sensedict_server.build.plan import cores

    with database.connect() as connection:
        return known_threads(connection, name, version) or cores()


def _run(
    database: Engine, files: Path, build: BuildSettings, work: str, fresh: bool, queue: bool, dry_run: bool
) -> None:
    from sensedict_server.build.pipeline import build_dictionary, enter_build, plan_build
    from sensedict_server.build.shard_queue import quiet
    from sensedict_server.queries.builds import Build

    quiet()
    if dry_run:
        plan_build(database, files, build, work, click.echo)
        return
    if queue:
        entered = enter_build(database, build, work, fresh, click.echo)
        if isinstance(entered, Build):
            click.echo(f"job {entered.id}: workers make it, `sensedict jobs show {entered.id} --follow` shows it")
            return
        dictionary, made = entered, False
    else:
        dictionary, made = build_dictionary(database, files, build, work, fresh, click.echo)
    if dictionary.state == "draft":
        there = "is" if made else "is there already, from the same settings, as"
        click.echo(
            f"{dictionary.ref} {there} a draft: {dictionary.senses:,} senses, {files / dictionary.ref}; "
            f"`sensedict dictionary publish {dictionary.ref} --reason …` publishes it"
        )
    elif made:
        click.echo(f"published {dictionary.ref}: {dictionary.senses:,} senses, {files / dictionary.ref}")
    else:
        click.echo(f"{dictionary.ref} is published already, from the same settings: nothing to do")
