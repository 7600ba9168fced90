"""The records of wiktextract, as far as they are read, and what becomes of a record that is not as it should be.

The format has no fixed schema. A line is decoded straight into these classes, which takes less time than making the
objects of all that is not read; a line with a field of an unknown name or of a wrong type is parsed again as a whole,
and what is odd in it is counted and left out.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

from msgspec import Raw, Struct

from sensedict_server.lexicon.relations import ANTONYM, COORDINATE, HOLONYM, HYPERNYM, SYNONYM

# Field to type of relation, and whether the ends are swapped: the hyponyms of animal are words whose hypernym it is.
NYMS: dict[str, tuple[str, bool]] = {
    "synonyms": (SYNONYM, False),
    "antonyms": (ANTONYM, False),
    "hypernyms": (HYPERNYM, False),
    "hyponyms": (HYPERNYM, True),
    "holonyms": (HOLONYM, False),
    "meronyms": (HOLONYM, True),
    "coordinate_terms": (COORDINATE, False),
}

NOT_READ = Raw()
_MOST_NAMES = 100  # of unknown fields that are counted each by its own name
_MOST_NAME_CHARACTERS = 60
_Kind = TypeVar("_Kind", bound=Struct)


class Related(Struct, forbid_unknown_fields=True, gc=False):
    """An item of a list of related words; here and below the fields stand in the order that saves comparing."""

    sense: str | None = None
    tags: list[str] | None = None
    topics: Raw = NOT_READ
    word: str | None = None
    source: str | None = None
    alt: Raw = NOT_READ
    english: Raw = NOT_READ
    extra: Raw = NOT_READ
    lang_code: Raw = NOT_READ
    qualifier: Raw = NOT_READ
    raw_tags: Raw = NOT_READ
    roman: Raw = NOT_READ
    ruby: Raw = NOT_READ
    taxonomic: Raw = NOT_READ
    translation: Raw = NOT_READ
    urls: Raw = NOT_READ


class Lemma(Struct, gc=False):
    """What a form is a form of."""

    word: str | None = None


class Listed(Struct, gc=False):
    """An item of an entry's list of forms."""

    form: str | None = None
    tags: list[str] | None = None


class Sense(Struct, forbid_unknown_fields=True, gc=False):
    """A sense of an entry."""

    topics: Raw = NOT_READ
    examples: Raw = NOT_READ
    attestations: Raw = NOT_READ
    categories: Raw = NOT_READ
    links: Raw = NOT_READ
    synonyms: list[Related] | None = None
    antonyms: list[Related] | None = None
    hypernyms: list[Related] | None = None
    hyponyms: list[Related] | None = None
    holonyms: list[Related] | None = None
    meronyms: list[Related] | None = None
    coordinate_terms: list[Related] | None = None
    raw_glosses: Raw = NOT_READ
    glosses: list[str] | None = None
    tags: list[str] | None = None
    form_of: list[Lemma] | None = None
    alt_of: Raw = NOT_READ
    info_templates: Raw = NOT_READ
    qualifier: Raw = NOT_READ
    senseid: Raw = NOT_READ
    wikidata: Raw = NOT_READ
    wikipedia: Raw = NOT_READ
    raw_tags: Raw = NOT_READ
    head_nr: Raw = NOT_READ
    abbreviations: Raw = NOT_READ
    compound_of: Raw = NOT_READ
    derived: Raw = NOT_READ
    instances: Raw = NOT_READ
    proverbs: Raw = NOT_READ
    related: Raw = NOT_READ
    taxonomic: Raw = NOT_READ
    translations: Raw = NOT_READ
    troponyms: Raw = NOT_READ


class Record(Struct, forbid_unknown_fields=True, gc=False):
    """A line: a word with its part of speech and etymology."""

    word: str | None = None
    pos: str | None = None
    senses: list[Sense] | None = None
    head_templates: Raw = NOT_READ
    categories: Raw = NOT_READ
    forms: list[Listed] | None = None
    inflection_templates: Raw = NOT_READ
    derived: Raw = NOT_READ
    related: Raw = NOT_READ
    translations: Raw = NOT_READ
    etymology_number: Raw = NOT_READ
    etymology_text: Raw = NOT_READ
    etymology_templates: Raw = NOT_READ
    descendants: Raw = NOT_READ
    sounds: Raw = NOT_READ
    hyphenation: Raw = NOT_READ
    hyphenations: Raw = NOT_READ
    synonyms: list[Related] | None = None
    antonyms: list[Related] | None = None
    hypernyms: list[Related] | None = None
    hyponyms: list[Related] | None = None
    holonyms: list[Related] | None = None
    meronyms: list[Related] | None = None
    coordinate_terms: list[Related] | None = None
    lang: Raw = NOT_READ
    lang_code: str | None = None
    wikipedia: Raw = NOT_READ
    abbreviations: Raw = NOT_READ
    alt_of: Raw = NOT_READ
    anagrams: Raw = NOT_READ
    etymology_examples: Raw = NOT_READ
    form_of: Raw = NOT_READ
    info_templates: Raw = NOT_READ
    instances: Raw = NOT_READ
    literal_meaning: Raw = NOT_READ
    original_title: Raw = NOT_READ
    proverbs: Raw = NOT_READ
    raw_tags: Raw = NOT_READ
    redirects: Raw = NOT_READ
    tags: Raw = NOT_READ
    topics: Raw = NOT_READ
    troponyms: Raw = NOT_READ
    wikidata: Raw = NOT_READ


_LISTS: dict[str, type[Struct]] = {"senses": Sense, "forms": Listed, "form_of": Lemma, **dict.fromkeys(NYMS, Related)}
_READ: dict[type[Struct], frozenset[str]] = {
    Record: frozenset({"word", "pos", "lang_code", "senses", "forms", *NYMS}),
    Sense: frozenset({"glosses", "tags", "form_of", *NYMS}),
    Related: frozenset({"word", "sense", "source", "tags"}),
    Listed: frozenset({"form", "tags"}),
    Lemma: frozenset({"word"}),
}
_TEXTS = frozenset({"glosses", "tags"})  # lists of texts; what is no list at all is a text
_OPEN = frozenset({Listed, Lemma})  # of which unknown fields are not counted


class Mender:
    """Takes what can be used out of an object that is not as it should be, and counts the rest."""

    def __init__(self, skipped: Counter[str], counted: Counter[str]) -> None:
        self._skipped, self._counted = skipped, counted
        self._named: set[str] = set()

    def record(self, fields: dict[str, Any]) -> Record:
        """The record, without fields that are unknown or of a wrong type."""
        return self._object(Record, fields, "")

    def _object(self, kind: type[_Kind], fields: dict[str, Any], path: str) -> _Kind:
        kept: dict[str, Any] = {}
        for name, value in fields.items():
            if name not in kind.__struct_fields__:
                if kind not in _OPEN:
                    self._counted[self._unknown(path + name[:_MOST_NAME_CHARACTERS])] += 1
            elif name in _READ[kind] and value is not None:
                kept[name] = self._value(name, value, path + name)
        return kind(**kept)

    def _value(self, name: str, value: object, path: str) -> object:
        """The value with what is sound of it; None where it is of another type altogether."""
        objects = _LISTS.get(name)
        if not isinstance(value, list if objects or name in _TEXTS else str):
            self._skipped[f"field {path} of a wrong type"] += 1
            return None
        if not isinstance(value, list):
            return value
        sound = [item for item in value if isinstance(item, dict if objects else str)]
        if len(sound) < len(value):
            self._skipped[f"item of {path} of a wrong type"] += len(value) - len(sound)
        return (
            [self._object(objects, item, f"{path}[].") for item in sound if isinstance(item, dict)]
            if objects
            else sound
        )

    def _unknown(self, path: str) -> str:
        """How an unknown field is counted; only the first hundred by name, lest a strange file fill the memory."""
        if path not in self._named and len(self._named) >= _MOST_NAMES:
            return "unknown fields beyond the first hundred"
        self._named.add(path)
        return f"unknown field {path}"
