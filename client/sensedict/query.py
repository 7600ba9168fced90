"""`sensedict query`: ask a service from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sensedict import arrays, wire
from sensedict.asking import (
    LIMITS,
    Target,
    json_option,
    limit_option,
    plain_warnings,
    print_json,
    print_match,
    print_table,
    printable,
)
from sensedict.errors import InvalidInput
from sensedict.lookup import NO_SENSES
from sensedict.query_dictionaries import dictionaries, history, id_map, moves
from sensedict.query_jobs import job, jobs
from sensedict.query_relations import explain, path, relations
from sensedict.service import KEY

_WIDTH = 80  # characters of a context; the rest is in --json


@click.group(epilog=f"A service that wants a key is given the one of {KEY}.")
@click.option("--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service's root.")
@click.option(
    "--dictionary",
    metavar="NAME",
    help="name@version or name@alias; a bare name means name@latest.  [default: the service's only dictionary]",
)
@click.option(
    "--snapshot",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Ask a dictionary's file set, or one of those in FOLDER, and no service.",
)
@click.pass_context
def query(context: click.Context, server: str, dictionary: str | None, snapshot: Path | None) -> None:
    """Ask a service for dictionaries, senses, relations and builds."""
    context.obj = Target(server, dictionary, snapshot)
    context.with_resource(plain_warnings())


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
        why = " (it is the key of no position of the build's text)" if found.reason.startswith(NO_SENSES) else ""
        click.echo(f"no senses: {found.reason}{why}")
    _print_senses(found.senses, [", ".join(_listed(sense.neighbours or [])) for sense in found.senses])
    if found.glosses:
        rows = [(gloss.pos or "", gloss.text, gloss.source, gloss.licence) for gloss in found.glosses]
        print_table(("pos", "gloss", "source", "licence"), rows)


@query.command()
@click.argument("prefix")
@limit_option(12, LIMITS.max_listed_words)
@json_option
@click.pass_obj
def words(target: Target, prefix: str, limit: int, as_json: bool) -> None:
    """Show words that begin with PREFIX: that word itself, then those used most."""
    with target.client() as client:
        found = client.words(prefix, limit)
    if as_json:
        print_json(found)
    elif found.words:
        rows = [(one.word, one.senses, "" if one.occurrences is None else one.occurrences) for one in found.words]
        print_table(("word", "senses", "in the corpus"), rows)
    else:
        click.echo("none")


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
@limit_option(10, LIMITS.max_neighbours)
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


@query.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-p",
    type=click.IntRange(1, LIMITS.max_nearest),
    default=5,
    metavar="N",
    show_default=True,
    help="How many of each vector at most.",
)
@json_option
@click.pass_obj
def nearest(target: Target, file: Path, p: int, as_json: bool) -> None:
    """Show the senses that lie nearest to the vectors in FILE.

    FILE is an array (n, D) as .npy, or safetensors with `vectors` (n, D) and, to look among the senses of one token for
    each vector, `tokens` (n,).
    """
    vectors, tokens = _vectors(file)
    with target.client() as client:
        found = client.nearest_senses(vectors, p, tokens)
    pairs = list(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
    lists = [pairs[start:stop] for start, stop in pairwise(found.offsets.tolist())]
    if as_json:
        rows = [[wire.NearSense(id=id, distance=distance) for id, distance in near] for near in lists]
        errors = [wire.WireItemError(**vars(error)) for error in found.errors]
        print_json(wire.NearestSensesAnswer(nearest=rows, errors=errors))
        return
    print_table(
        ("vector", "sense", "distance"),
        [(at, id, f"{distance:.4g}") for at, near in enumerate(lists) for id, distance in near],
    )
    for error in found.errors:
        click.echo(f"vector {error.index}: {error.detail}", err=True)


for _command in (dictionaries, id_map, moves, history, relations, path, explain, jobs, job):
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


def _vectors(file: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The vectors of a file, and the tokens whose senses are meant, if it says which."""
    if file.suffix == ".safetensors":
        tensors, _ = arrays.decode(bytearray(file.read_bytes()))
        if "vectors" not in tensors:
            raise InvalidInput(f"{file} has no tensor `vectors`, only {', '.join(sorted(tensors)) or 'none'}")
        return tensors["vectors"], tensors.get("tokens")
    try:
        return np.load(file, allow_pickle=False), None
    except (ValueError, EOFError) as error:
        raise InvalidInput(f"{file} is no array of numpy: save one with numpy.save, or as safetensors") from error
