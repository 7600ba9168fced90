"""What the commands of `sensedict query` share: whom they ask, and how they print."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, TypeVar

import click
from pydantic import BaseModel

from sensedict import wire
from sensedict.client import SenseClient, open_dictionary
from sensedict.dictionary import Dictionary
from sensedict.errors import DictionaryNotFound, InvalidInput

Command = TypeVar("Command", bound=Callable[..., Any])
LIMITS = wire.OWN_LIMITS
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the service answers it.")


def limit_option(default: int, most: int | None = None) -> Callable[[Command], Command]:
    """`--limit`, how many are shown: from 1 to `most`."""
    return click.option(
        "--limit",
        type=click.IntRange(1, most),
        default=default,
        metavar="N",
        show_default=True,
        help="How many at most.",
    )


@dataclass(frozen=True)
class Target:
    """The service, or the folder in its place, and the dictionary that the options name."""

    server: str
    dictionary: str | None
    snapshot: Path | None = None

    def client(self, name: str | None = None) -> Dictionary:
        """For questions about a dictionary: the one that was named, or the only one that the service has."""
        named = name or self.dictionary
        if self.snapshot is not None:
            return open_dictionary(self.snapshot, named)
        return self._client(named or _only_name(self.listed()))

    def listed(self) -> list[wire.DictionaryInfo]:
        """Every dictionary of the service, or the one of the file set."""
        with self.service() as client:
            return client.dictionaries()

    def service(self) -> Dictionary:
        """For questions about no dictionary."""
        return self._client("") if self.snapshot is None else self.client()

    def _client(self, dictionary: str) -> SenseClient:
        return SenseClient(self.server, dictionary, timeout=10.0, patience=0.0)  # who waits at a prompt asks again


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show what the service warns of as a line, without the place in our code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: click.echo(f"sensedict: {message}", err=True)
        yield


def print_json(found: BaseModel | Sequence[BaseModel]) -> None:
    """Print answers as the service gives them."""
    plain = (
        found.model_dump(mode="json")
        if isinstance(found, BaseModel)
        else [entry.model_dump(mode="json") for entry in found]
    )
    click.echo(json.dumps(plain, ensure_ascii=False, indent=2))


def print_json_list(found: Iterable[BaseModel]) -> None:
    """Print answers as one list, each as soon as it is there."""
    begun = False
    for entry in found:
        text = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False, indent=2)
        click.echo((",\n" if begun else "[\n") + indent(text, "  "), nl=False)
        begun = True
    click.echo("\n]" if begun else "[]")


def print_match(asked: str, found: str, matched: wire.Matched) -> None:
    """Say how a word was found that was not asked for as it is spelt."""
    how = {"case": "as its case folds", "form": "by a listed form", "lemma": "by the rules of inflection"}
    if matched != "exact":
        click.echo(f"{printable(asked)} → {printable(found)}, found {how[matched]}")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; numbers to the right; columns without content are left out."""
    cells = [[printable(cell) for cell in row] for row in rows]
    kept = [i for i in range(len(heads)) if not cells or any(row[i] for row in cells)]
    for line in [list(heads), *cells]:
        texts = []
        for i in kept:
            width = max(len(heads[i]), *(len(row[i]) for row in cells)) if cells else len(heads[i])
            number = bool(cells) and all(_is_number(row[i]) for row in cells)
            texts.append(line[i].rjust(width) if number else line[i].ljust(width))
        click.echo("  ".join(texts).rstrip())


def printable(cell: object) -> str:
    """Text that a terminal shows and does not obey: corpora hold control characters."""
    return "".join(c if c.isprintable() else " " for c in str(cell))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _only_name(found: Sequence[wire.DictionaryInfo]) -> str:
    """The name that all versions there share; a bare name means its latest."""
    names = sorted({info.name for info in found})
    if not names:
        raise DictionaryNotFound("the service has no dictionary yet: `sensedict build` makes one")
    if len(names) > 1:
        raise InvalidInput(f"the service has the dictionaries {', '.join(names)}: choose one with --dictionary")
    return names[0]
