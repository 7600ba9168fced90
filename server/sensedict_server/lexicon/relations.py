"""What sources say of words, made uniform: each pair once a source, type and part of speech (DSKD §3.2)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar, dataclass_transform

MOST_CHARACTERS = 256  # of a word; also what the service answers for (`sensedict.wire.Limits`)
MOST_GLOSS_CHARACTERS = 2_000  # the rest of a longer gloss is cut off

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


@dataclass
class Collection:
    """What several sources say, gathered one source after the other.

    Attributes:
        rejected: relations that a lexicographer has rejected; none of them is kept, whichever source lists it.
        relations: all that were kept; `parent` is a place in this list.
        sources: the source of each.
        forms, glosses: (source, form or gloss), each once.
        segmentations: source to word, in lower case, to segmentation; the first one of a word counts.
        skipped: source to reason to count, of what was not kept.
    """

    rejected: frozenset[RelationKey] = frozenset()
    relations: list[Relation] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    forms: dict[tuple[str, Form], None] = field(default_factory=dict)
    glosses: dict[tuple[str, Gloss], None] = field(default_factory=dict)
    segmentations: dict[str, dict[str, Segmentation]] = field(default_factory=dict)
    skipped: dict[str, Counter[str]] = field(default_factory=dict)
    _known: dict[str, set[tuple[str, str, str, str | None]]] = field(default_factory=dict)
    _spelt: dict[str, str] = field(default_factory=dict)  # text as listed to word; one string a word in memory

    def add(self, source: str, entries: Iterable[Entry]) -> None:
        """Keep the entries that are sound and new to the source; count the others."""
        skipped = self.skipped.setdefault(source, Counter())
        for entry in entries:
            try:
                if isinstance(entry, Relation):
                    reason = self._add_relation(source, entry)
                elif isinstance(entry, Form):
                    reason = self._add_form(source, entry)
                elif isinstance(entry, Gloss):
                    gloss = Gloss(self._word(entry.word), _short(entry.text), entry.pos)
                    self.glosses.setdefault((source, gloss))
                    reason = None
                else:
                    reason = self._add_segmentation(source, entry)
            except UnusableWord as unusable:
                reason = str(unusable)
            if reason is not None:
                derived = isinstance(entry, Relation) and entry.parent is not None
                skipped[f"derived: {reason}" if derived else reason] += 1

    def remove(self, places: set[int]) -> None:
        """Take out relations; those that were derived from them stay, without a parent."""
        kept = [place for place in range(len(self.relations)) if place not in places]
        moved = {place: at for at, place in enumerate(kept)}
        self.relations = [
            relation if relation.parent is None else replace(relation, parent=moved.get(relation.parent))
            for relation in (self.relations[place] for place in kept)
        ]
        self.sources = [self.sources[place] for place in kept]

    def of_source(self, source: str) -> list[int]:
        """Places of a source's relations."""
        return [place for place, name in enumerate(self.sources) if name == source]

    def words(self) -> set[str]:
        """Every word that stands in a relation."""
        return {word for relation in self.relations for word in (relation.word, relation.other)}

    def all_words(self) -> set[str]:
        """Every word of a relation, a form, a gloss or a segmentation."""
        words = self.words()
        words.update(word for _, form in self.forms for word in (form.form, form.lemma))
        words.update(gloss.word for _, gloss in self.glosses)
        words.update(word for segmented in self.segmentations.values() for word in segmented)
        return words

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

    def _add_relation(self, source: str, relation: Relation) -> str | None:
        """Why it is not kept; None where it is."""
        word, other = self._word(relation.word), self._word(relation.other)
        if word == other:
            return "same word at both ends"
        key = relation_key(word, other, relation.type)
        if key in self.rejected:
            return "rejected by a judgement"
        known = self._known.setdefault(source, set())
        if (*key, relation.pos) in known:
            return "listed before"
        known.add((*key, relation.pos))
        gloss = relation.gloss and _short(relation.gloss)
        if gloss:
            self.glosses.setdefault((source, Gloss(word, gloss, relation.pos)))
        if relation.word is not word or relation.other is not other or relation.gloss is not gloss:
            relation = replace(relation, word=word, other=other, gloss=gloss)
        self.relations.append(relation)
        self.sources.append(source)
        return None

    def _add_form(self, source: str, form: Form) -> str | None:
        form = Form(self._word(form.form), self._word(form.lemma), form.pos)
        if form.form == form.lemma:
            return "form that is its own lemma"
        if (source, form) in self.forms:
            return "form listed before"
        self.forms[source, form] = None
        return None

    def _add_segmentation(self, source: str, segmentation: Segmentation) -> str | None:
        word = self._word(segmentation.word.lower())
        segmented = self.segmentations.setdefault(source, {})
        if word in segmented:
            return "segmentation listed before"
        segmented[word] = Segmentation(word, segmentation.text, segmentation.pos)
        return None

    def _word(self, text: str) -> str:
        word = self._spelt.get(text)
        if word is None:
            word = normalise(text)
            word = self._spelt.setdefault(word, word)
            self._spelt[text] = word
        return word


def _short(gloss: str) -> str:
    """The gloss on one line, without characters that a database or a terminal refuses."""
    text = " ".join(gloss.split())[:MOST_GLOSS_CHARACTERS]
    return text if text.isprintable() else "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs"))
