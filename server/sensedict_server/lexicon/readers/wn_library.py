"""A WordNet of the library `wn`, by its name there: `wn:oewn:2024`, Open English WordNet.

It must have been fetched with `wn` before; nothing is downloaded here. The relations are those that `wordnet` reads
from WordNet's own files, chosen alike.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from sensedict.errors import ConfigurationError, MissingExtra
from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN, File, Notes, Reader
from sensedict_server.lexicon.readers.wordnet import PARTS, synonyms
from sensedict_server.lexicon.relations import ANTONYM, HOLONYM, HYPERNYM, RELATED, Entry, Form, Relation

_TYPES = {
    "antonym": ANTONYM,
    "hypernym": HYPERNYM,
    "instance_hypernym": HYPERNYM,
    "holonym": HOLONYM,
    "holo_location": HOLONYM,
    "holo_member": HOLONYM,
    "holo_part": HOLONYM,
    "holo_portion": HOLONYM,
    "holo_substance": HOLONYM,
    "similar": RELATED,
}
_PARTS = {**PARTS, "c": "conjunction", "p": "preposition", "t": "phrase"}
_INVERSE = re.compile(r"(?:instance_)?hyponym|meronym|mero_\w+")  # of those; nothing is lost
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)")


def read(file: File, notes: Notes) -> Iterator[Entry]:
    """What `wordnet` gives, from the lexicon of the library that `file.path` names.

    Raises:
        MissingExtra: the library is not installed.
        ConfigurationError: it has no such lexicon, or its database cannot be read.
    """
    with _opened(file) as wordnet:
        [lexicon] = wordnet.lexicons()
        notes.version, notes.licence = f"{lexicon.label} {lexicon.version}", _licence(lexicon.license)
        yield from _entries(wordnet, notes)


def identify(file: File) -> str:
    """Which lexicon the name means there now, by its version and by how much of everything it holds.

    Raises:
        MissingExtra, ConfigurationError: as `read`.
    """
    with _opened(file) as wordnet:
        [lexicon] = wordnet.lexicons()
        return (
            f"{lexicon.specifier()}\n{lexicon.describe()}"  # the counts tell it from one added anew as the same version
        )


@contextmanager
def _opened(file: File) -> Iterator[Any]:
    """The library's lexicon of that name; what goes wrong while it is read is a `ConfigurationError`."""
    name = str(file.path)
    try:
        wn: Any = import_module("wn")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"wn:{name} is read through the library wn: pip install wn") from error
    try:
        yield _wordnet(wn, name)
    except (wn.Error, sqlite3.Error) as error:
        raise ConfigurationError(f"wn:{name}: {wn.config.database_path} cannot be read: {error}") from error


def _wordnet(wn: Any, name: str) -> Any:
    """The one lexicon of the name."""
    try:
        if not wn.config.database_path.is_file():  # the library would make an empty one
            raise wn.Error
        found = wn.Wordnet(name, expand="")
    except wn.DatabaseError:
        raise
    except wn.Error as error:
        raise ConfigurationError(
            f"wn:{name}: the library wn has no such lexicon in {wn.config.database_path}: "
            f"python -m wn download {name if ':' in name else 'oewn:2024'}"
        ) from error
    several = sorted(lexicon.specifier() for lexicon in found.lexicons())
    if len(several) > 1:
        raise ConfigurationError(f"wn:{name} may be any of {', '.join(several)}: write one of them")
    return found


def _entries(wordnet: Any, notes: Notes) -> Iterator[Entry]:
    lemmas: dict[str, str] = {}  # by sense
    for word in wordnet.words():
        lemma, *forms = word.forms()
        lemmas.update((sense.id, lemma) for sense in word.senses())
        yield from (Form(form, lemma, _PARTS.get(word.pos, word.pos)) for form in forms)
    members = {synset.id: synset.senses() for synset in wordnet.synsets()}
    words = {id_: [lemmas[sense.id] for sense in senses] for id_, senses in members.items()}
    for synset in wordnet.synsets():
        pos, gloss = _PARTS.get(synset.pos, synset.pos), synset.definition() or None
        yield from synonyms(words[synset.id], pos, gloss)
        for kind, others in synset.relations().items():
            for other in others:
                if kind == "similar" and (synset.pos, other.pos) == ("a", "s"):
                    continue  # the satellite points back
                if words.get(other.id) and _taken(kind, notes):
                    first = words[other.id][0]
                    yield from (Relation(word, first, _TYPES[kind], pos=pos, gloss=gloss) for word in words[synset.id])
        for sense in members[synset.id]:
            for kind, targets in sense.relations().items():
                for target in targets:
                    if _taken(kind, notes):
                        yield Relation(lemmas[sense.id], lemmas[target.id], _TYPES[kind], pos=pos, gloss=gloss)


def _taken(kind: str, notes: Notes) -> bool:
    if kind in _TYPES:
        return True
    if not _INVERSE.fullmatch(kind):
        notes.skipped[f"relation of another kind: {kind}"] += 1
    return False


def _licence(stated: str) -> str:
    """The licence by the name that other sources have for it, where it is stated as an address.

    >>> _licence("https://creativecommons.org/licenses/by-sa/4.0/")
    'CC BY-SA 4.0'
    """
    if match := _CREATIVE_COMMONS.search(stated):
        return f"CC {match[1].upper()} {match[2]}"
    return "WordNet licence" if "wordnet.princeton.edu" in stated else stated


READER = Reader("wn", LICENCE_UNKNOWN, "", read, takes="name", identify=identify)
