"""Relations between words, made uniform: words normalised, each unordered pair once a source and type (DSKD §3.2)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

MOST_CHARACTERS = 256  # of a word; also what the service answers for (`sensedict.wire.Limits`)

SYNONYM = "synonym"
ANTONYM = "antonym"
NEGATION = "negation"  # a word and its morphological negation, happy–unhappy; trains as an antonym
REVERSAL = "reversal"  # a verb and its undoing, tie–untie: a type of its own, trained on where a build says so
ANTONYMOUS = frozenset({ANTONYM, NEGATION})
# What training counts as synonymy and as antonymy, where a build's settings say nothing else.
SYNONYM_TYPES = (SYNONYM,)
ANTONYM_TYPES = (ANTONYM, NEGATION)


class UnusableWord(ValueError):
    """A text that cannot be a word; the message is the reason, fit for counting."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A symmetric relation of two words.

    Attributes:
        word, other: its ends, in any order until a `Collection` has sorted them.
        type: synonym, antonym, negation, reversal or a name of the source's own.
        rule: how a derived relation was derived, e.g. `negation:un-`.
        parent: place of the relation that a derived one comes from, in the list it was derived from.
    """

    word: str
    other: str
    type: str
    rule: str | None = None
    parent: int | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The ends in order."""
        return (self.word, self.other) if self.word < self.other else (self.other, self.word)


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


@dataclass
class Collection:
    """The relations of several sources, gathered one source after the other.

    Attributes:
        relations: all that were kept, ends in order; `parent` is a place in this list.
        sources: the source of each.
        skipped: source to reason to count, of what was not kept.
    """

    relations: list[Relation] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    skipped: dict[str, Counter[str]] = field(default_factory=dict)
    _known: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)

    def add(self, source: str, relations: Iterable[Relation]) -> None:
        """Keep the relations that are sound and new to the source; count the others."""
        skipped = self.skipped.setdefault(source, Counter())
        known = self._known.setdefault(source, set())
        for relation in relations:
            try:
                word, other = normalise(relation.word), normalise(relation.other)
            except UnusableWord as reason:
                skipped[str(reason)] += 1
                continue
            if word == other:
                skipped["same word at both ends"] += 1
                continue
            if word > other:
                word, other = other, word
            key = (word, other, relation.type)
            if key in known:
                skipped["listed before"] += 1
                continue
            known.add(key)
            self.relations.append(replace(relation, word=word, other=other))
            self.sources.append(source)

    def of_source(self, source: str) -> list[int]:
        """Places of a source's relations."""
        return [place for place, name in enumerate(self.sources) if name == source]

    def words(self) -> set[str]:
        """Every word that stands in a relation."""
        return {word for relation in self.relations for word in (relation.word, relation.other)}

    def conflicts(self) -> set[tuple[str, str]]:
        """Pairs that are synonyms and antonyms at once, over all sources; not used in training (METHOD: relations)."""
        synonyms = {relation.pair for relation in self.relations if relation.type == SYNONYM}
        return {
            relation.pair for relation in self.relations if relation.type in ANTONYMOUS and relation.pair in synonyms
        }

    def in_conflict(self, place: int, conflicts: set[tuple[str, str]]) -> bool:
        """Whether the relation there is one of those that contradict each other."""
        relation = self.relations[place]
        return (relation.type == SYNONYM or relation.type in ANTONYMOUS) and relation.pair in conflicts
