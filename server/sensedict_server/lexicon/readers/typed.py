"""A user's own relations, one a line: `word<TAB>other<TAB>type`, or CSV with quotes in a file named `.csv`.

Synonym, antonym, negation, reversal, coordinate and related hold both ways. A relation of any other type runs from the
word to the other: `dog, animal, hypernym` says that animal is the hypernym of dog. Hyponym and meronym are turned round
into hypernym and holonym: `animal, dog, hyponym` says the same.

A first line `word,other,type` makes it a table with a header: columns in any order, and perhaps `pos` (noun, verb,
adjective, adverb or your own) and `gloss` (of the word's sense) beside them, empty where unknown.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN, File, Notes, Reader
from sensedict_server.lexicon.readers.parts import part_of_speech
from sensedict_server.lexicon.relations import Gloss, Relation
from sensedict_server.lexicon.types import directed, type_fault

_COLUMNS = ("word", "other", "type")
_FURTHER = ("pos", "gloss")
_MOST_CHARACTERS = 64  # of a part of speech
_COMPRESSED = (".gz", ".xz", ".zst")


def read(file: File, notes: Notes) -> Iterator[Relation | Gloss]:
    """Each line as a relation of its own type, or of the inverse one.

    Raises:
        InvalidInput: a header with a column of another name, a line of another number of fields, an empty word, or a
            type that is no lower-case name or a known one misspelt; names the line.
    """
    rows = _csv_rows(file) if _is_csv(file) else _tsv_rows(file)
    columns: tuple[str, ...] = ()
    sound: set[str] = set()
    for number, cells in rows:
        if not columns:
            columns = _header(file, number, cells)
            if columns:
                continue
            columns = _COLUMNS
        if len(cells) != len(columns):
            between = "commas" if _is_csv(file) else "tabs"
            wanted = f"{', '.join(columns[:-1])} and {columns[-1]} with {between} between them"
            raise file.broken(number, f"expected {wanted}, got {_shown(cells)}")
        values = dict(zip(columns, cells, strict=True))
        if not values["word"].strip() or not values["other"].strip():
            raise file.broken(number, f"expected two words, got {_shown(cells)}")
        type_ = values["type"].strip()
        if type_ not in sound:
            fault = type_fault(type_)
            if fault:
                raise file.broken(number, f"type {type_[:80]!r}: {fault}")
            sound.add(type_)
        pos = values.get("pos", "").strip()
        if len(pos) > _MOST_CHARACTERS or not pos.isprintable():
            raise file.broken(number, f"part of speech {pos[:80]!r}: use a name such as noun, verb, adjective, adverb")
        yield from _turned(values["word"], values["other"], type_, part_of_speech(pos), values.get("gloss", "").strip())


def _turned(word: str, other: str, type: str, pos: str | None, gloss: str) -> Iterator[Relation | Gloss]:
    """The relation in the direction that its type has in a lexicon."""
    first, second, turned = directed(word, other, type)
    if turned == type:
        yield Relation(word, other, type, pos=pos, gloss=gloss or None)
        return
    yield Relation(first, second, turned, pos=pos)
    if gloss:  # it is the first word's, and a relation holds that of its own word alone
        yield Gloss(word, gloss, pos)


def _is_csv(file: File) -> bool:
    suffixes = [suffix.lower() for suffix in file.path.suffixes if suffix not in _COMPRESSED]
    return bool(suffixes) and suffixes[-1] == ".csv"


def _header(file: File, number: int, cells: list[str]) -> tuple[str, ...]:
    """Names of the columns; nothing where the line is a relation.

    Raises:
        InvalidInput: a column of a name that is not known, or named twice.
    """
    names = tuple(cell.strip().lower() for cell in cells)
    if not set(_COLUMNS) <= set(names):
        return ()
    for at, name in enumerate(names):
        if name not in (*_COLUMNS, *_FURTHER):
            known = ", ".join((*_COLUMNS, *_FURTHER))
            raise file.broken(number, f"column {name[:80]!r} of the header is none of {known}; leave it out")
        if name in names[:at]:
            raise file.broken(number, f"column {name!r} stands in the header twice")
    return names


def _tsv_rows(file: File) -> Iterator[tuple[int, list[str]]]:
    for number, line in file.lines():
        yield number, line.split("\t")


def _csv_rows(file: File) -> Iterator[tuple[int, list[str]]]:
    """Rows and the line each begins at; a field in quotes may hold line ends."""
    begin = 0

    def lines() -> Iterator[str]:
        nonlocal begin
        for number, line in file.lines():
            begin = begin or number
            yield f"{line}\n"

    try:
        for cells in csv.reader(lines(), strict=True):
            yield begin, cells
            begin = 0
    except csv.Error as error:
        raise file.broken(begin, f"no CSV: {error}; is a quote left open?") from error


def _shown(cells: list[str]) -> str:
    return repr(" | ".join(cell[:40] for cell in cells[:6]))


READER = Reader("typed", LICENCE_UNKNOWN, "", read, several=True)
