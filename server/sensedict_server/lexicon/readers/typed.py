"""A user's own relations: `word<TAB>other<TAB>type` a line, without a header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN, File, Reader
from sensedict_server.lexicon.relations import Relation

_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def read(file: File, skipped: Counter[str]) -> Iterator[Relation]:
    """Each line as a relation of its own type.

    Raises:
        InvalidInput: a line that has not three fields, an empty word, or a type that is no lower-case name; names it.
    """
    for number, line in file.lines():
        fields = line.split("\t")
        if len(fields) != 3 or not all(field.strip() for field in fields):
            raise file.broken(number, f"expected word, other and type with a tab between them, got {line[:80]!r}")
        word, other, type_ = fields[0], fields[1], fields[2].strip()
        if not _TYPE.fullmatch(type_):
            raise file.broken(number, f"type {type_[:80]!r}: use lower-case letters, digits, '-', '_', first a letter")
        yield Relation(word, other, type_)


READER = Reader("typed", LICENCE_UNKNOWN, "", read)
