"""What sources say of words, made uniform (DSKD §3.2)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

MOST_CHARACTERS = 256  # of a word; also what the service answers for (`sensedict.wire.Limits`)

SYNONYM = "synonym"
ANTONYM = "antonym"
NEGATION = "negation"  # a word and its morphological negation, happy–unhappy; trains as an antonym
REVERSAL = "reversal"  # a verb and its undoing, tie–untie: a type of its own, trained on where a build says so
HYPERNYM = "hypernym"  # dog → animal: the other is the wider word
HOLONYM = "holonym"  # wheel → car: the other is the whole
COORDINATE = "coordinate"  # words under one hypernym
RELATED = "related"
ANTONYMOUS = frozenset({ANTONYM, NEGATION})
# Any other type runs from its word to the other.
SYMMETRIC = frozenset({SYNONYM, ANTONYM, NEGATION, REVERSAL, COORDINATE, RELATED})
# What training counts as synonymy and as antonymy, where a build's settings say nothing else.
SYNONYM_TYPES = (SYNONYM,)
ANTONYM_TYPES = (ANTONYM, NEGATION)


class UnusableWord(ValueError):
    """A text that cannot be a word; the message is the reason, fit for counting."""


_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True)
def _entry(cls: type[_Class]) -> type[_Class]:
    """A dataclass that is frozen for the type checker alone: at run time a frozen one takes four times as long to make.

    Sources have them by the million, and readers are held to the rate of parsing.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_entry
class Relation:
    """A relation of two words.

    Attributes:
        word, other: its ends; in any order where the type is one of `SYMMETRIC`, else from `word` to `other`.
        type: synonym, antonym, negation, reversal, hypernym … or a name of the source's own.
        rule: how a derived relation was derived, e.g. `negation:un-`.
        parent: place of the relation that a derived one comes from, in the list it was derived from.
        pos: part of speech, where the source has it: noun, verb, adjective, adverb, else as the source says.
        gloss: of the sense of `word` that the relation stands at, where the source has it.
        via: the source whose segmentations a derived relation leans on.
    """

    word: str
    other: str
    type: str
    rule: str | None = None
    parent: int | None = None
    pos: str | None = None
    gloss: str | None = None
    via: str | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The ends in order."""
        return (self.word, self.other) if self.word < self.other else (self.other, self.word)

    @property
    def directed(self) -> bool:
        """Whether it runs from `word` to `other` and not back."""
        return self.type not in SYMMETRIC


@_entry
class Form:
    """An inflected form of a word: walked of walk."""

    form: str
    lemma: str
    pos: str | None = None


@_entry
class Gloss:
    """What a source says that a word means; for words without a relation to hang it on."""

    word: str
    text: str
    pos: str | None = None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How a word is built, as MorphoLEX writes it: `<un<(kind)`.

    Attributes:
        pos: the parts of speech that the source lists, of noun, verb, adjective, adverb; empty where it lists none.
    """

    word: str
    text: str
    pos: frozenset[str] = frozenset()


Entry = Relation | Form | Gloss | Segmentation
RelationKey = tuple[str, str, str]  # word, other, type; the ends in order where the type is symmetric


def normalise(text: str) -> str:
    """The word as it is stored: NFC, trimmed, blanks inside single; capitals stay.

    >>> normalise("  ice   cream ")
    'ice cream'

    Raises:
        UnusableWord: nothing is left, it holds a control character or half a character, or is too long.
    """
    word = text if text.isascii() else unicodedata.normalize("NFC", text)
    word = " ".join(word.split())
    if not word:
        raise UnusableWord("empty word")
    if not word.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in word):
        raise UnusableWord("control character in a word")
    if len(word) > MOST_CHARACTERS:
        raise UnusableWord(f"word longer than {MOST_CHARACTERS} characters")
    return word


def relation_key(word: str, other: str, type: str) -> RelationKey:
    """The same for both ways to write a symmetric relation; a judgement and the relations it judges share it."""
    return (other, word, type) if other < word and type in SYMMETRIC else (word, other, type)
