"""Our own list of common opposites, shipped with the package: `word<TAB>other` a line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sensedict_server.lexicon.readers import pairs
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.relations import ANTONYM

PATH = Path(__file__).with_name("opposites.tsv")
READER = Reader("opposites", "Apache-2.0", "1", partial(pairs.read, type=ANTONYM), takes="nothing", own=PATH)


def pairs_of_opposites() -> frozenset[frozenset[str]]:
    """The pairs of the list, for readers that must not take one for synonyms."""
    return frozenset(frozenset((r.word, r.other)) for r in pairs.read(File(PATH), Notes(), type=ANTONYM))
