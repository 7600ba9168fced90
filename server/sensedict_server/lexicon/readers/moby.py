"""Moby Thesaurus: `root,term,term,…` a line. Its terms are related words; only pairs that list each other are taken."""

from __future__ import annotations

from collections.abc import Iterator

from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.relations import SYNONYM, Relation


def read(file: File, notes: Notes) -> Iterator[Relation]:
    """Synonyms: roots that stand in each other's lists. The file is read twice.

    Raises:
        InvalidInput: a line without a comma, or with an empty root; names it.
    """
    roots: dict[str, int] = {}
    for number, line in file.lines():
        root, comma, rest = line.partition(",")
        if not comma or not root.strip() or not rest.strip():
            raise file.broken(number, "expected root,term,term,… with a root and at least one term")
        roots.setdefault(root, len(roots))
    names = list(roots)
    waiting: set[int] = set()  # root · n + term, for want of the other direction
    for _, line in file.lines():
        first, *terms = line.split(",")
        a = roots[first]
        for term in terms:
            b = roots.get(term)
            if b is None:
                notes.skipped["term without a list of its own"] += 1
            elif b == a:
                notes.skipped["same word at both ends"] += 1
            elif b * len(names) + a in waiting:
                waiting.remove(b * len(names) + a)
                yield Relation(names[b], names[a], SYNONYM)
            else:
                waiting.add(a * len(names) + b)
    notes.skipped["listed one way only"] += len(waiting)


READER = Reader("moby", "public domain", "Moby Thesaurus II", read, passes=2)
