"""Parts of speech by one name each, whatever the tags of a source."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_TAGS = {
    "noun": "n noun",
    "verb": "v verb",
    "adjective": "adj adjective",
    "adverb": "adv adverb",
    "proper noun": "name propn",
    "interjection": "int intj interj interjection exclamation",
    "preposition": "prep preposition adp",
    "postposition": "postp postposition",
    "pronoun": "pron pronoun",
    "conjunction": "conj conjunction cconj sconj",
    "determiner": "det determiner",
    "numeral": "num numeral",
    "phrase": "phr phrase",
    "prepositional phrase": "prep_phrase",
    "adverbial phrase": "adv_phrase",
    "abbreviation": "abbrev abbreviation",
    "punctuation": "punct punctuation",
    "combining form": "combining_form",
}
PARTS: Mapping[str, str] = MappingProxyType(
    {tag: name for name, tags in _TAGS.items() for tag in (name, *tags.split())}
)  # tag in small letters to name


def part_of_speech(tag: str | None) -> str | None:
    """The full name of a part of speech; a tag that is not known stays as it is, and an empty one is None.

    >>> part_of_speech("adj"), part_of_speech("Intj"), part_of_speech("particle")
    ('adjective', 'interjection', 'particle')
    """
    return PARTS.get(tag.casefold(), tag) if tag else None
