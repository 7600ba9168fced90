"""Names of relation types, and what is wrong with one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from sensedict_server.lexicon.relations import HOLONYM, HYPERNYM, SYMMETRIC

# Types that say what a known one says, from the other end.
INVERSES: Mapping[str, str] = MappingProxyType({"hyponym": HYPERNYM, "meronym": HOLONYM})
_KNOWN = sorted({*SYMMETRIC, HYPERNYM, HOLONYM, *INVERSES})
# Names of other relations, much like those: not taken for misspelt.
_OTHERS = frozenset({"homonym", "autonym", "metonym", "retronym", "cohyponym", "co-hyponym", "cohypernym", "unrelated"})
_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def type_fault(type: str) -> str | None:
    """What is wrong with the name of a type, None for a sound one.

    A misspelt one would be published as a type of its own, for ever.

    >>> type_fault("synonim")
    "write 'synonym', which is meant, or a name of your own that is less like it"
    """
    if type in _KNOWN or type in _OTHERS:
        return None
    meant = difflib.get_close_matches(type[:80].casefold(), _KNOWN, 1, cutoff=0.8)
    if meant:
        return f"write {meant[0]!r}, which is meant, or a name of your own that is less like it"
    if not _TYPE.fullmatch(type):
        return "use lower-case letters, digits, '-', '_', first a letter"
    return None


def directed(word: str, other: str, type: str) -> tuple[str, str, str]:
    """The relation as a lexicon has it: a hyponym is the hypernym's other end, a meronym the holonym's.

    >>> directed("animal", "dog", "hyponym")
    ('dog', 'animal', 'hypernym')
    """
    return (other, word, INVERSES[type]) if type in INVERSES else (word, other, type)
