"""`sensedict query`: ask a service from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sensedict import wire
from sensedict.asking import LIMITS, Target, json_option, print_json, print_match, print_table, printable
from sensedict.query_jobs import job, jobs
from sensedict.query_relations import explain, path, relations

_WIDTH = 80  # characters of a context; the rest is in --json


@click.group()
@click.option("--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service's root.")
@click.option(
    "--dictionary",
    metavar="NAME",
    help="name@version or name@alias; a bare name means name@latest.  [default: the service's only dictionary]",
)
@click.pass_context
def query(context: click.Context, server: str, dictionary: str | None) -> None:
    """Ask a service for dictionaries, senses, relations and builds."""
    context.obj = Target(server, dictionary)


@query.command()
@json_option
@click.pass_obj
def dictionaries(target: Target, as_json: bool) -> None:
    """List the dictionaries that the service has."""
    found = target.listed()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            f"{info.name}@{info.version}",
            ", ".join(info.aliases),
            info.teacher,
            info.state_point,
            info.key_policy,
            info.dim,
            info.k,
            info.senses,
            info.tokens_with_senses,
            info.words_with_senses,
            info.lexicon,
        )
        for info in found
    ]
    heads = ("dictionary", "aliases", "teacher", "states", "key", "D", "k", "senses", "tokens", "words", "lexicon")
    print_table(heads, rows)


@query.command()
@click.argument("word")
@click.option("--pos", help="Only as this part of speech, e.g. noun or verb, where the sources have it.")
@click.option(
    "--neighbours",
    type=click.IntRange(0, LIMITS.max_neighbours),
    metavar="N",
    default=0,
    help="Show each sense's N nearest words too.",
)
@json_option
@click.pass_obj
def senses(target: Target, word: str, pos: str | None, neighbours: int, as_json: bool) -> None:
    """Show the senses of WORD, spelt as it stands in text, and what the sources say that it means."""
    with target.client() as client:
        found = client.word(word, pos=pos, neighbours=neighbours)
    if as_json:
        print_json(found)
        return
    print_match(word, found.word, found.matched)
    made = "composed of the tokens" if found.composed else "tokens"
    tokens = zip(found.tokens, found.token_texts, strict=True)
    click.echo(f"{printable(found.word)}: {made} {', '.join(f'{token} {text!r}' for token, text in tokens)}")
    if found.reason is not None:
        click.echo(f"no senses: {found.reason}")
    _print_senses(found.senses, [", ".join(_listed(sense.neighbours or [])) for sense in found.senses])
    if found.glosses:
        rows = [(gloss.pos or "", gloss.text, gloss.source, gloss.licence) for gloss in found.glosses]
        print_table(("pos", "gloss", "source", "licence"), rows)


@query.command()
@click.argument("token_id", metavar="ID", type=click.IntRange(min=0))
@json_option
@click.pass_obj
def token(target: Target, token_id: int, as_json: bool) -> None:
    """Show the senses of the token with this id."""
    with target.client() as client:
        found = client.token(token_id)
    if as_json:
        print_json(found)
        return
    click.echo(f"token {found.token} {found.text!r}: {found.occurrences} times in the corpus")
    _print_senses(found.senses)


@query.command()
@click.argument("sense_id", metavar="ID", type=click.IntRange(min=0))
@json_option
@click.pass_obj
def sense(target: Target, sense_id: int, as_json: bool) -> None:
    """Show one sense with its contexts and the start of its vector."""
    with target.client() as client:
        found = client.sense(sense_id)
    if as_json:
        print_json(found)
        return
    owner = f"token {found.token}" if found.owner == "token" else "word"
    click.echo(f"sense {found.id}: number {found.ordinal} of the {owner} {found.text!r}")
    click.echo(f"count {found.count}, inertia {found.inertia:.4g}")
    start = ", ".join(f"{value:.4g}" for value in found.vector[:6])
    click.echo(f"vector of {len(found.vector)}: {start}, …")
    for context in found.contexts:
        click.echo(f"  {_marked(context)}")


@query.command()
@click.argument("sense_id", metavar="SENSE", type=click.IntRange(min=0))
@click.option(
    "--limit",
    type=click.IntRange(1, LIMITS.max_neighbours),
    default=10,
    metavar="N",
    show_default=True,
    help="How many at most.",
)
@json_option
@click.pass_obj
def neighbours(target: Target, sense_id: int, limit: int, as_json: bool) -> None:
    """Show the senses of other words and tokens that lie nearest to this one."""
    with target.client() as client:
        found = client.neighbours(sense_id, limit)
    if as_json:
        print_json(found)
        return
    click.echo(f"nearest to sense {found.id} of the {found.owner} {found.text!r}:")
    rows = [(one.id, f"{one.distance:.4g}", one.owner, repr(one.text)) for one in found.neighbours]
    if rows:
        print_table(("sense", "distance", "of", "text"), rows)
    else:
        click.echo("none: the dictionary has no other senses")


@query.command("id-map")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", required=True, metavar="NAME", help="name@version or name@alias of the newer dictionary.")
@click.pass_obj
def id_map(target: Target, file: Path, to: str) -> None:
    """Write the map of sense ids to another dictionary to FILE (Parquet), as `sensedict diff --publish` made it."""
    with target.client() as client:
        client.download_id_map(to, file)
        old = client.identity
    click.echo(f"{file}: from {old.name}@{old.version} to {to}, {file.stat().st_size:,} bytes")


for _command in (relations, path, explain, jobs, job):
    query.add_command(_command)


def _print_senses(found: Sequence[wire.Sense], nearest: Sequence[str] = ()) -> None:
    near = nearest or [""] * len(found)
    rows = [
        (sense.id, sense.count, f"{sense.inertia:.4g}", words, _marked(sense.contexts[0]) if sense.contexts else "")
        for sense, words in zip(found, near, strict=True)
    ]
    if rows:
        print_table(("sense", "count", "inertia", "nearest words", "first context"), rows)


def _listed(near: Sequence[wire.NearWord]) -> list[str]:
    return [printable(one.text).strip() for one in near]


def _marked(context: wire.Context) -> str:
    """The passage on one line, cut around the word, which stands in brackets."""
    before, after = printable(context.text[: context.start]), printable(context.text[context.end :])
    use = printable(context.text[context.start : context.end]).strip()
    room = max(1, (_WIDTH - len(use)) // 2)
    return f"{before[-room:]}[{use}]{after[:room]}"
