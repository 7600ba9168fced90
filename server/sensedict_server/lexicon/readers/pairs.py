"""Pairs of words, two a line: separated by a tab, where words hold blanks, or by blanks (as HG2Vec ships them)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN, File, Notes, Reader
from sensedict_server.lexicon.relations import ANTONYM, SYNONYM, Relation

_FAULTS = 100  # HG2Vec's own lists have one line in 360 that is not two words; one in so many is an error


def read(file: File, notes: Notes, *, type: str) -> Iterator[Relation]:
    """Each line's two words as a relation of the type.

    Raises:
        InvalidInput: a line with a tab that has not two fields; or more than one in a hundred of the others that are
            not two words, the first is named. Fewer are counted, and the reason names the first.
    """
    lines = faults = first = 0
    for number, line in file.lines():
        lines += 1
        words = line.split("\t") if "\t" in line else line.split()
        if len(words) == 2 and all(word.strip() for word in words):
            yield Relation(words[0], words[1], type)
            continue
        if "\t" in line:
            raise file.broken(number, f"expected two words and one tab between them, got {line[:80]!r}")
        first = first or number
        faults += 1
    if faults * _FAULTS > lines:
        raise file.broken(
            first,
            f"expected two words ({faults} of {lines} lines are broken); put a tab between words that hold blanks",
        )
    if faults:
        what = "line that is not two words" if faults == 1 else "lines that are not two words"
        notes.skipped[f"{what}, the first is line {first} of {file.path.name}"] += faults


SYNONYMS = Reader("synonyms", LICENCE_UNKNOWN, "", partial(read, type=SYNONYM), several=True)
ANTONYMS = Reader("antonyms", LICENCE_UNKNOWN, "", partial(read, type=ANTONYM), several=True)
