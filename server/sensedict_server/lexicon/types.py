"""Names of relation types, and what is wrong with one."""

from __future__ import annotations

import difflib
import re

from sensedict_server.lexicon.relations import SYMMETRIC

_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def type_fault(type: str) -> str | None:
    """What is wrong with the name of a type, None for a sound one.

    A misspelt one would be published as a type of its own, for ever.

    >>> type_fault("synonim")
    "write 'synonym', which is meant, or a name of your own that is less like it"
    """
    if type in SYMMETRIC:
        return None
    meant = difflib.get_close_matches(type[:80].casefold(), sorted(SYMMETRIC), 1, cutoff=0.8)
    if meant:
        return f"write {meant[0]!r}, which is meant, or a name of your own that is less like it"
    if not _TYPE.fullmatch(type):
        return "use lower-case letters, digits, '-', '_', first a letter"
    return None
