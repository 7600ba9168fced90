"""`sensedict query dictionaries`, `id-map`, `moves` and `history`: which there are, what one is, what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from sensedict import wire
from sensedict.asking import Target, json_option, print_json, print_table, printable


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def dictionaries(context: click.Context, as_json: bool) -> None:
    """List the dictionaries that there are, or show one."""
    if context.invoked_subcommand is not None:
        return
    target: Target = context.obj
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
            _life(info),
        )
        for info in found
    ]
    heads = ("dictionary", "aliases", "teacher", "states", "key", "D", "k", "senses", "tokens", "words", "lexicon", "")
    print_table(heads, rows)


@dictionaries.command()
@click.argument("name", required=False)
@json_option
@click.pass_obj
def show(target: Target, name: str | None, as_json: bool) -> None:
    """Show what the dictionary NAME is: identity, size, settings and sources; else the one of --dictionary."""
    with target.client(name) as client:
        found = client.info()
    if as_json:
        print_json(found)
        return
    print_table(("dictionary", f"{found.name}@{found.version}"), _facts(found))
    click.echo()
    rows = [(source.name, source.version, source.licence, source.relations) for source in found.sources]
    print_table(("source", "version", "licence", "relations"), rows)


@click.command("id-map")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", required=True, metavar="NAME", help="name@version or name@alias of the newer dictionary.")
@json_option
@click.pass_obj
def id_map(target: Target, file: Path, to: str, as_json: bool) -> None:
    """Write the map of sense ids to another dictionary to FILE (Parquet), as `sensedict diff --publish` made it."""
    with target.client() as client:
        client.download_id_map(to, file)
        old = client.identity
    told = {"file": str(file), "from": f"{old.name}@{old.version}", "to": to, "bytes": file.stat().st_size}
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        click.echo(f"{file}: from {told['from']} to {to}, {told['bytes']:,} bytes")


@click.command()
@click.argument("word")
@click.option("--to", required=True, metavar="NAME", help="name@version or name@alias of the newer dictionary.")
@json_option
@click.pass_obj
def moves(target: Target, word: str, to: str, as_json: bool) -> None:
    """Show what became of the senses of WORD in another dictionary, as `sensedict diff --publish` found."""
    with target.client() as client:
        found = client.moves(word, to)
    if as_json:
        print_json(found)
        return
    click.echo(f"{printable(found.word)}:")
    rows = [
        tuple("" if cell is None else cell for cell in (one.old, one.new, one.state, one.distance))
        for one in found.moves
    ]
    print_table(("old", "new", "state", "distance"), rows)


@click.command()
@json_option
@click.pass_obj
def history(target: Target, as_json: bool) -> None:
    """Show who did what with the dictionary, when and why."""
    with target.client() as client:
        found = client.history()
    if as_json:
        print_json(found)
        return
    rows = [(f"{event.at.astimezone():%Y-%m-%d %H:%M}", event.action, event.actor, event.reason) for event in found]
    print_table(("when", "what", "who", "why"), rows)


def _facts(info: wire.DictionaryInfo) -> Iterator[tuple[str, object]]:
    if info.aliases:
        yield "aliases", ", ".join(info.aliases)
    if _life(info):
        yield "state", _life(info)
    if info.published_at is not None:
        yield "published", f"{info.published_at.astimezone():%Y-%m-%d %H:%M:%S}"
    yield "lexicon", info.lexicon
    yield "teacher", f"{info.teacher} ({info.teacher_hash[:12]})"
    yield "tokenizer", f"{info.vocabulary_size:,} tokens ({info.tokenizer_hash[:12]})"
    yield "senses", f"{info.senses:,} of {info.dim} numbers, {info.k} at most of a token"
    yield "of", f"{info.tokens_with_senses:,} tokens, {info.words_with_senses:,} words"
    yield "hidden states", f"{info.state_point}, gathered by {info.key_policy} token"
    yield "content hash", info.content_hash
    for name, value in info.settings.items():
        yield f"setting {name}", printable(json.dumps(value, ensure_ascii=False))


def _life(info: wire.DictionaryInfo) -> str:
    if info.state == "draft":
        return "draft"
    if info.deprecated_at is None:
        return ""
    end = "" if info.sunset_at is None else f", may be gone from {info.sunset_at:%Y-%m-%d} on"
    return f"deprecated{end}"
