"""Sources of relations, one module each; `READERS` names them."""

from __future__ import annotations

from sensedict_server.lexicon.readers import (
    moby,
    morpholex,
    morphynet,
    mythes,
    opposites,
    pairs,
    roget,
    typed,
    wiktextract,
    wn_library,
    wordnet,
)
from sensedict_server.lexicon.readers.files import File, Notes, Reader

READERS = {
    reader.kind: reader
    for reader in (
        moby.READER,
        morphynet.READER,
        opposites.READER,
        pairs.SYNONYMS,
        pairs.ANTONYMS,
        typed.READER,
        morpholex.READER,
        wordnet.READER,
        wn_library.READER,
        mythes.READER,
        roget.READER,
        wiktextract.READER,
    )
}

__all__ = ["READERS", "File", "Notes", "Reader"]
