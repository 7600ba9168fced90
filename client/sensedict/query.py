"""`sensedict query`: ask a service from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click
from pydantic import BaseModel

from sensedict import wire
from sensedict.client import SenseClient
from sensedict.errors import DictionaryNotFound, InvalidInput

_WIDTH = 80  # characters of a context; the rest is in --json

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the service answers it.")


@dataclass(frozen=True)
class _Target:
    server: str
    dictionary: str | None

    def client(self) -> SenseClient:
        """For questions about a dictionary: the one that was named, or the only one that the service has."""
        return self._client(self.dictionary or _only_name(self.listed()))

    def listed(self) -> list[wire.DictionaryInfo]:
        with self._client("") as client:  # this question is about no dictionary
            return client.dictionaries()

    def _client(self, dictionary: str) -> SenseClient:
        return SenseClient(self.server, dictionary, timeout=10.0, patience=0.0)  # who waits at a prompt asks again


@click.group()
@click.option("--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service's root.")
@click.option(
    "--dictionary",
    metavar="NAME",
    help="name@version or name@alias; a bare name means name@latest.  [default: the service's only dictionary]",
)
@click.pass_context
def query(context: click.Context, server: str, dictionary: str | None) -> None:
    """Ask a service for dictionaries, senses and relations."""
    context.obj = _Target(server, dictionary)


@query.command()
@_json_option
@click.pass_obj
def dictionaries(target: _Target, as_json: bool) -> None:
    """List the dictionaries that the service has."""
    found = target.listed()
    if as_json:
        _print_json(found)
        return
    rows = [
        (
            f"{info.name}@{info.version}",
            ", ".join(info.aliases),
            info.teacher,
            info.dim,
            info.k,
            info.senses,
            info.tokens_with_senses,
            info.words_with_senses,
            info.lexicon,
        )
        for info in found
    ]
    _print_table(("dictionary", "aliases", "teacher", "D", "k", "senses", "tokens", "words", "lexicon"), rows)


@query.command()
@click.argument("word")
@_json_option
@click.pass_obj
def senses(target: _Target, word: str, as_json: bool) -> None:
    """Show the senses of WORD, spelt as it stands in text."""
    with target.client() as client:
        found = client.word(word)
    if as_json:
        _print_json(found)
        return
    made = "composed of the tokens" if found.composed else "tokens"
    tokens = zip(found.tokens, found.token_texts, strict=True)
    click.echo(f"{_printable(found.word)}: {made} {', '.join(f'{token} {text!r}' for token, text in tokens)}")
    if found.reason is not None:
        click.echo(f"no senses: {found.reason}")
    _print_senses(found.senses)


@query.command()
@click.argument("token_id", metavar="ID", type=click.IntRange(min=0))
@_json_option
@click.pass_obj
def token(target: _Target, token_id: int, as_json: bool) -> None:
    """Show the senses of the token with this id."""
    with target.client() as client:
        found = client.token(token_id)
    if as_json:
        _print_json(found)
        return
    click.echo(f"token {found.token} {found.text!r}: {found.occurrences} times in the corpus")
    _print_senses(found.senses)


@query.command()
@click.argument("word")
@click.option("--type", "kind", metavar="TYPE", help="Only relations of this type, e.g. synonym or antonym.")
@_json_option
@click.pass_obj
def relations(target: _Target, word: str, kind: str | None, as_json: bool) -> None:
    """List the relations of WORD with their sources."""
    with target.client() as client:
        found = list(client.relations(word, kind))
    if as_json:
        _print_json(found)
        return
    rows = [
        (
            relation.type,
            relation.other,
            relation.source,
            relation.licence,
            relation.rule or "",
            "both synonym and antonym: not trained on" if relation.conflict else "",
        )
        for relation in found
    ]
    if rows:
        _print_table(("type", "word", "source", "licence", "rule", "note"), rows)
    else:
        click.echo("none" if kind is None else f"none of type {kind!r}")


@query.command()
@click.argument("sense_id", metavar="ID", type=click.IntRange(min=0))
@_json_option
@click.pass_obj
def sense(target: _Target, sense_id: int, as_json: bool) -> None:
    """Show one sense with its contexts and the start of its vector."""
    with target.client() as client:
        found = client.sense(sense_id)
    if as_json:
        _print_json(found)
        return
    owner = f"token {found.token}" if found.owner == "token" else "word"
    click.echo(f"sense {found.id}: number {found.ordinal} of the {owner} {found.text!r}")
    click.echo(f"count {found.count}, inertia {found.inertia:.4g}")
    start = ", ".join(f"{value:.4g}" for value in found.vector[:6])
    click.echo(f"vector of {len(found.vector)}: {start}, …")
    for context in found.contexts:
        click.echo(f"  {_marked(context)}")


def _only_name(found: Sequence[wire.DictionaryInfo]) -> str:
    """The name that all versions there share; a bare name means its latest."""
    names = sorted({info.name for info in found})
    if not names:
        raise DictionaryNotFound("the service has no dictionary yet: `sensedict build` makes one")
    if len(names) > 1:
        raise InvalidInput(f"the service has the dictionaries {', '.join(names)}: choose one with --dictionary")
    return names[0]


def _print_senses(found: Sequence[wire.Sense]) -> None:
    rows = [
        (sense.id, sense.count, f"{sense.inertia:.4g}", _marked(sense.contexts[0]) if sense.contexts else "")
        for sense in found
    ]
    if rows:
        _print_table(("sense", "count", "inertia", "first context"), rows)


def _marked(context: wire.Context) -> str:
    """The passage on one line, cut around the word, which stands in brackets."""
    before, after = _printable(context.text[: context.start]), _printable(context.text[context.end :])
    use = _printable(context.text[context.start : context.end]).strip()
    room = max(1, (_WIDTH - len(use)) // 2)
    return f"{before[-room:]}[{use}]{after[:room]}"


def _print_json(found: BaseModel | Sequence[BaseModel]) -> None:
    plain = (
        found.model_dump(mode="json")
        if isinstance(found, BaseModel)
        else [entry.model_dump(mode="json") for entry in found]
    )
    click.echo(json.dumps(plain, ensure_ascii=False, indent=2))


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; numbers to the right; columns without content are left out."""
    cells = [[_printable(cell) for cell in row] for row in rows]
    kept = [i for i in range(len(heads)) if not cells or any(row[i] for row in cells)]
    for line in [list(heads), *cells]:
        texts = []
        for i in kept:
            width = max(len(heads[i]), *(len(row[i]) for row in cells)) if cells else len(heads[i])
            number = bool(cells) and all(_is_number(row[i]) for row in cells)
            texts.append(line[i].rjust(width) if number else line[i].ljust(width))
        click.echo("  ".join(texts).rstrip())


def _printable(cell: object) -> str:
    """Text that a terminal shows and does not obey: corpora hold control characters."""
    return "".join(c if c.isprintable() else " " for c in str(cell))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
