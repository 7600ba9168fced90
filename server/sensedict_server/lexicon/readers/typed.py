"""A user's own relations: `word<TAB>other<TAB>type` a line, without a header."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN, File, Notes, Reader
from sensedict_server.lexicon.relations import ANTONYM, NEGATION, REVERSAL, SYNONYM, Relation

_KNOWN = (SYNONYM, ANTONYM, NEGATION, REVERSAL)
_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def read(file: File, notes: Notes) -> Iterator[Relation]:
    """Each line as a relation of its own type.

    Raises:
        InvalidInput: a line that has not three fields, an empty word, or a type that is no lower-case name or a known
            one misspelt; names it.
    """
    sound = set(_KNOWN)
    for number, line in file.lines():
        fields = line.split("\t")
        if len(fields) != 3 or not all(field.strip() for field in fields):
            raise file.broken(number, f"expected word, other and type with a tab between them, got {line[:80]!r}")
        word, other, type_ = fields[0], fields[1], fields[2].strip()
        if type_ not in sound:
            fault = _fault(type_)
            if fault:
                raise file.broken(number, f"type {type_[:80]!r}: {fault}")
            sound.add(type_)
        yield Relation(word, other, type_)


def _fault(type_: str) -> str | None:
    """What is wrong with the name of a type; a misspelt one would be published as a type of its own, for ever."""
    meant = difflib.get_close_matches(type_.casefold(), _KNOWN, 1, cutoff=0.8)
    if meant:
        return f"write {meant[0]!r}, which is meant, or a name of your own that is less like it"
    if not _TYPE.fullmatch(type_):
        return "use lower-case letters, digits, '-', '_', first a letter"
    return None


READER = Reader("typed", LICENCE_UNKNOWN, "", read, several=True)
