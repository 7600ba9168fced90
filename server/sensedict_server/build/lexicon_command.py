"""`sensedict lexicon`: load relations, list them, look at them, judge them."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from sqlalchemy import Connection

from sensedict_server import lifecycle
from sensedict_server.build import judgements
from sensedict_server.build.coverage_command import coverage, totals
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import DEFAULT, PRESETS, RELEASE, Recipe
from sensedict_server.build.sources import parse_source, with_preset, with_stated
from sensedict_server.dictionary_command import because_options, yes_option
from sensedict_server.lexicon.affixes import SHIPPED
from sensedict_server.lexicon.readers import READERS
from sensedict_server.lifecycle import Because
from sensedict_server.queries import lexicons as queries
from sensedict_server.queries.sources import judgements_on
from sensedict_server.removal import remove_withdrawn
from sensedict_server.schema import connected, migrated
from sensedict_server.settings import Settings


@click.group()
def lexicon() -> None:
    """Load, list, look at, count, judge or delete relations."""


@lexicon.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option(
    "--source",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="KIND:FILE, as `sensedict lexicon sources` lists the kinds; FILE may be package:NAME/FILE, .gz, .xz or .zst. "
    "Repeatable.",
)
@click.option(
    "--from",
    "base",
    metavar="NAME@VERSION",
    help="Carry over the sources of this lexicon; a --source of the same name takes the place of the old one.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="SOURCE",
    help="Leave out sources of --from, by name, kind or licence, with what was derived from them; * stands for any "
    "letters, as in 'CC BY-NC*'. Repeatable.",
)
@click.option(
    "--derive",
    multiple=True,
    metavar="SOURCE",
    help="Derive by negation over this source (unkind–friendly antonyms: kind–friendly synonyms). Needs a morpholex "
    "source. That un- and dis- undo a verb (untie), and derive reversals, is known from its parts of speech, from a "
    "morphynet source, or from relations of type reversal. Repeatable.",
)
@click.option(
    "--licence",
    "licences",
    multiple=True,
    metavar="NAME=TEXT",
    help="The licence of a list of your own (synonyms, antonyms, typed); NAME is its KIND, or KIND:STEM where there "
    "are several (synonyms:mine for synonyms:data/mine.txt). Repeatable.  [default: not stated]",
)
@click.option(
    "--source-version",
    "versions",
    multiple=True,
    metavar="NAME=TEXT",
    help="The version of a source, where its file does not say it: for wiktextract the date of the dump and the "
    "version of the extractor. Repeatable.",
)
@click.option(
    "--affixes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A table of negating affixes in place of the shipped one; docs/negation.md says how it is written.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default=DEFAULT,
    show_default=True,
    help="release counts as the paper's scripts do, for comparing with them: risky affixes too, derived relations in "
    "place of originals, Wiktionary at sense level only.",
)
def load(
    ref: str,
    specs: tuple[str, ...],
    base: str | None,
    without: tuple[str, ...],
    derive: tuple[str, ...],
    licences: tuple[str, ...],
    versions: tuple[str, ...],
    affixes: Path | None,
    preset: str,
) -> None:
    """Load relations as the lexicon NAME@VERSION, which never changes afterwards.

    A source is added, replaced or removed by making a new version of what is there:

        sensedict lexicon load english@2 --from english@1 --source typed:mine.tsv --without moby
    """
    name, version = queries.split_ref(ref)
    sources = with_preset(with_stated([parse_source(spec) for spec in specs], licences, versions), preset == RELEASE)
    recipe = Recipe(sources, derive, base, without, affixes, preset)
    with migrated(Settings.from_environment()) as database:
        found, made = load_lexicon(database, name, version, recipe, partial(click.echo, err=True))
        if not made:
            click.echo(f"{found.ref} is there already, from the same sources: `sensedict lexicon show {found.ref}`")
            return
        click.echo(f"{found.ref} is loaded.")
        read = {source.name for source in sources}
        with database.connect() as connection:
            _print_totals(connection, found)
            for source in queries.list_lexicon_sources(connection, found.id):
                if source.name in read:
                    _print_counts(source, f"{source.name}: ")
    if len(read) < len(found.settings["sources"]):
        click.echo(f"What was skipped of the sources carried over: `sensedict lexicon show {found.ref}`")


@lexicon.command()
def sources() -> None:
    """List the kinds of sources that can be read, with their licences and options."""
    for reader in READERS.values():
        takes = "" if reader.takes == "nothing" else f":{reader.takes.upper()}"
        version = f", {reader.version}" if reader.version else ""
        click.echo(f"{reader.kind + takes:<20} {reader.licence}{version}")
        for option, what in reader.options.items():
            click.echo(f"  {reader.kind},{option}{takes}: {what}")


@lexicon.command()
def affixes() -> None:
    """Print the shipped table of negating affixes, to make one of your own for `load --affixes`."""
    click.echo(SHIPPED.read_text("utf-8"), nl=False)


@lexicon.command("list")
def list_() -> None:
    """List the lexicons with the number of their relations."""
    with connected(Settings.from_environment()) as connection:
        lexicons = queries.list_lexicons(connection)
        if not lexicons:
            click.echo("there is no lexicon yet: `sensedict lexicon load` makes one")
        for found in lexicons:
            counts = queries.count_relations(connection, found.id)
            relations = sum(count.relations for count in counts)
            click.echo(f"{found.ref}\t{relations:,} relations\t{', '.join(sorted({c.source for c in counts}))}")


@lexicon.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option("--count", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many relations.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another seed, another sample.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the totals.")
def sample(ref: str, count: int, seed: int, as_json: bool) -> None:
    """Print relations of NAME@VERSION drawn at random, some of every type and source."""
    with connected(Settings.from_environment()) as connection:
        found = queries.find_lexicon(connection, ref)
        edges = queries.sample_relations(connection, found.id, count, seed)
        if as_json:
            totals = {
                **queries.totals(queries.count_relations(connection, found.id)),
                "conflicts": queries.count_conflicts(connection, found.id),
            }
            document = {"lexicon": found.ref, "totals": totals, "edges": [asdict(edge) for edge in edges]}
            click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        else:
            for edge in edges:
                click.echo("\t".join((edge.word, edge.type, edge.other, edge.source, edge.rule or "")).rstrip())


@lexicon.command()
@click.argument("ref", metavar="NAME@VERSION")
def show(ref: str) -> None:
    """Show what NAME@VERSION holds: relations by type and source, conflicts, what was skipped and why, licences."""
    with connected(Settings.from_environment()) as connection:
        found = queries.find_lexicon(connection, ref)
        _print_totals(connection, found)
        for source in queries.list_lexicon_sources(connection, found.id):
            click.echo(f"\n{source.name} ({source.version}), licence: {source.licence}")
            _print_counts(source)


@lexicon.command()
@click.argument("ref", metavar="NAME@VERSION")
@yes_option
@because_options
def delete(ref: str, yes: bool, reason: str, by: str) -> None:
    """Delete a lexicon that no dictionary uses; its name, version and hash stay, and are never given again.

    Where a source has to go: make a version without it (`load NEW --from OLD --without SOURCE`), build the dictionaries
    anew with that one, delete the old dictionaries, then the old lexicon. Words and judgements stay.
    """
    because = Because(by, reason)
    with migrated(Settings.from_environment()) as database:
        if not yes:
            lifecycle.check_removable(database, "lexicon", ref, because)
            click.confirm(f"Delete {ref} for good?", abort=True)
        tombstone = lifecycle.withdraw(database, "lexicon", ref, because)
        click.echo(f"{ref} is deleted" + ("" if tombstone is None else f"; its hash was {tombstone.content_hash}"))
        rows = sum(remove_withdrawn(database, "lexicon", older_than=0.0))  # no service reads what has no dictionary
    click.echo(f"removed {rows:,} rows")


def _judging(verdict: str, what: str) -> click.Command:
    @click.argument("name")
    @click.argument("word")
    @click.argument("type", metavar="TYPE")
    @click.argument("other")
    @click.option("--reason", required=True, help="Why, for those who come after.")
    @click.option("--by", "author", default=getpass.getuser, show_default="your user name", help="Who judges.")
    def command(name: str, word: str, type: str, other: str, reason: str, author: str) -> None:
        with migrated(Settings.from_environment()) as database:
            made = judgements.judge(database, name, verdict, word, type, other, reason=reason, author=author)
        click.echo(
            f"judgement {made.id}: versions of {name} made from now on obey; make one with "
            f"`sensedict lexicon load {name}@NEW --from {name}@OLD`"
        )

    command.__doc__ = f"""{what}, in all versions of NAME made from now on, whatever its sources say.

    WORD TYPE OTHER as in: hot antonym cold."""
    return click.command(verdict)(command)


lexicon.add_command(totals)
lexicon.add_command(coverage)
lexicon.add_command(_judging(judgements.ADD, "Add a relation"))
lexicon.add_command(_judging(judgements.REJECT, "Reject a relation"))


@lexicon.command()
@click.argument("judgement_id", metavar="ID", type=click.IntRange(1))
def withdraw(judgement_id: int) -> None:
    """End the judgement ID; versions made from now on do not obey it."""
    with migrated(Settings.from_environment()) as database:
        ended = judgements.withdraw(database, judgement_id)
    click.echo(f"judgement {ended.id} is withdrawn: {ended.verdict} {ended.word!r} {ended.type} {ended.other!r}")


@lexicon.command("judgements")
@click.argument("name")
def judgements_(name: str) -> None:
    """List the judgements on the lexicon NAME, with those that are withdrawn."""
    with connected(Settings.from_environment()) as connection:
        judgements.check_lexicon(connection, name)
        for judgement in judgements_on(connection, name, in_force=False):
            edge = f"{judgement.verdict} {judgement.word!r} {judgement.type} {judgement.other!r}"
            ended = f"  withdrawn {judgement.withdrawn_at:%Y-%m-%d}" if judgement.withdrawn_at else ""
            made = f"{judgement.author}, {judgement.created_at:%Y-%m-%d}"
            click.echo(f"{judgement.id}\t{edge}\t{judgement.reason}\t({made}){ended}")


def _print_totals(connection: Connection, found: queries.Lexicon) -> None:
    counts = queries.count_relations(connection, found.id)
    for count in counts:
        kind = f"{count.type} (derived)" if count.derived else count.type
        click.echo(f"{count.relations:>11,}  {kind:<20}  {count.source}")
    click.echo(f"{sum(count.relations for count in counts):>11,}  relations")
    conflicts = queries.count_conflicts(connection, found.id)
    click.echo(f"{conflicts:>11,}  pairs are both synonyms and antonyms: not used in training")


def _print_counts(source: queries.LexiconSource, before: str = "") -> None:
    for verb, counts in (("skipped", source.skipped), ("counted", source.counted)):
        for what, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
            click.echo(f"  {verb} {count:>11,}  {before}{what}")
