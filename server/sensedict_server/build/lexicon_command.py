"""`sensedict lexicon`: load relations, list them, look at them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from sqlalchemy import Connection

from sensedict_server.build.lexicon import load_lexicon, parse_source, with_licences
from sensedict_server.queries import lexicons as queries
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings


@click.group()
def lexicon() -> None:
    """Load, list or sample relations."""


@lexicon.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option(
    "--source",
    "specs",
    required=True,
    multiple=True,
    metavar="SPEC",
    help="opposites, or KIND:FILE with KIND moby, morphynet, synonyms, antonyms (two words a line), typed (word, other "
    "and type with tabs between) or morpholex; FILE may be package:NAME/FILE, .gz or .xz. Repeatable.",
)
@click.option(
    "--derive",
    multiple=True,
    metavar="SOURCE",
    help="Derive by negation over this source (unkind–friendly antonyms: kind–friendly synonyms). Needs a morpholex "
    "source. That un- and dis- undo a verb (untie), and derive reversals, is known from a morphynet source, or from "
    "relations of type reversal; without, such verbs derive antonyms. Repeatable.",
)
@click.option(
    "--licence",
    "licences",
    multiple=True,
    metavar="NAME=TEXT",
    help="The licence of a list of your own (synonyms, antonyms, typed); NAME is its KIND, or KIND:STEM where there "
    "are several (synonyms:mine for synonyms:data/mine.txt). Repeatable.  [default: not stated]",
)
def load(ref: str, specs: tuple[str, ...], derive: tuple[str, ...], licences: tuple[str, ...]) -> None:
    """Load relations as the lexicon NAME@VERSION, which never changes afterwards."""
    name, version = queries.split_ref(ref)
    sources = with_licences([parse_source(spec) for spec in specs], licences)
    with migrated(Settings.from_environment()) as database:
        found, made = load_lexicon(database, name, version, sources, derive)
        click.echo(f"{found.ref} is loaded." if made else f"{found.ref} is there already, from the same sources.")
        with database.connect() as connection:
            _print_totals(connection, found)
            for source in queries.list_lexicon_sources(connection, found.id):
                _print_skipped(source, f"{source.name}: ")


@lexicon.command("list")
def list_() -> None:
    """List the lexicons with the number of their relations."""
    with _connected() as connection:
        for found in queries.list_lexicons(connection):
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
    with _connected() as connection:
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
    with _connected() as connection:
        found = queries.find_lexicon(connection, ref)
        _print_totals(connection, found)
        for source in queries.list_lexicon_sources(connection, found.id):
            click.echo(f"\n{source.name} ({source.version}), licence: {source.licence}")
            _print_skipped(source)


def _print_totals(connection: Connection, found: queries.Lexicon) -> None:
    counts = queries.count_relations(connection, found.id)
    for count in counts:
        kind = f"{count.type} (derived)" if count.derived else count.type
        click.echo(f"{count.relations:>11,}  {kind:<20}  {count.source}")
    click.echo(f"{sum(count.relations for count in counts):>11,}  relations")
    conflicts = queries.count_conflicts(connection, found.id)
    click.echo(f"{conflicts:>11,}  pairs are both synonyms and antonyms: not used in training")


def _print_skipped(source: queries.LexiconSource, before: str = "") -> None:
    for reason, count in source.skipped.items():
        click.echo(f"  skipped {count:>11,}  {before}{reason}")


@contextmanager
def _connected() -> Iterator[Connection]:
    with migrated(Settings.from_environment()) as database, database.connect() as connection:
        yield connection
