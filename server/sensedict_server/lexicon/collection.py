"""What several sources say, gathered: each pair once a source, type and part of speech (DSKD §3.2)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sensedict_server.lexicon.relations import (
    ANTONYMOUS,
    SYMMETRIC,
    SYNONYM,
    Entry,
    Form,
    Gloss,
    Relation,
    RelationKey,
    Segmentation,
    UnusableWord,
    normalise,
    relation_key,
)

MOST_GLOSS_CHARACTERS = 2_000  # the rest of a longer gloss is cut off
GlossKey = tuple[str, str, str, str | None]  # source, word, text, part of speech
_WORD_BITS = 30  # of a word's number: a pair's is then an int of 32 bytes, a tuple of two words takes 56


@dataclass
class Collection:
    """What several sources say, gathered one source after the other.

    A relation is kept once a source, type and part of speech, with all the glosses that it is listed under, of either
    of its words. A derived one is kept once a parent, unless its source lists such a relation itself.

    Attributes:
        rejected: relations that a lexicographer has rejected; none of them is kept, whichever source lists it.
        relations: all that were kept; `parent` is a place in this list, `gloss` the first of those of `glosses_of`.
        sources: the source of each.
        glosses: each once.
        forms: (source, form), each once.
        segmentations: source to word, in lower case, to segmentation; the first one of a word counts.
        skipped: source to reason to count, of what was not kept.
    """

    rejected: frozenset[RelationKey] = frozenset()
    relations: list[Relation] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    glosses: list[GlossKey] = field(default_factory=list)
    forms: dict[tuple[str, Form], None] = field(default_factory=dict)
    segmentations: dict[str, dict[str, Segmentation]] = field(default_factory=dict)
    skipped: dict[str, Counter[str]] = field(default_factory=dict)
    # source and type to part of speech to pair to relation, of what is listed
    _listed: dict[tuple[str, str], dict[str | None, dict[int, Relation]]] = field(default_factory=dict)
    _derived: set[tuple[int, str, str | None, int | None]] = field(default_factory=set)
    _gloss_places: dict[GlossKey, int] = field(default_factory=dict)
    # source, type, part of speech and pair to the places of glosses beside the relation's first
    _further: dict[tuple[str, str, str | None, int], list[int]] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)  # text as listed to the word's place in the next
    _words: list[str] = field(default_factory=list)  # one string a word in memory
    _text: str = ""  # of the last gloss: sources give the words of a synset one after the other

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
                    place = self._add_gloss(source, self._word(entry.word), entry.text, entry.pos)
                    reason = "empty gloss" if place is None else None
                else:
                    reason = self._add_segmentation(source, entry)
            except UnusableWord as unusable:
                reason = str(unusable)
            if reason is not None:
                derived = isinstance(entry, Relation) and entry.parent is not None
                skipped[f"derived: {reason}" if derived else reason] += 1

    def remove(self, places: set[int]) -> None:
        """Take out relations; those that were derived from them stay, without a parent and so once a rule."""
        kept: list[int] = []
        orphans: set[tuple[str, RelationKey, str | None, str | None]] = set()
        for place, relation in enumerate(self.relations):
            if place in places:
                continue
            if relation.parent in places:
                key = relation_key(relation.word, relation.other, relation.type)
                orphan = (self.sources[place], key, relation.pos, relation.rule)
                if orphan in orphans:
                    continue
                orphans.add(orphan)
            kept.append(place)
        moved = {place: at for at, place in enumerate(kept)}
        self.relations = [
            relation if relation.parent is None else replace(relation, parent=moved.get(relation.parent))
            for relation in (self.relations[place] for place in kept)
        ]
        self.sources = [self.sources[place] for place in kept]

    def glosses_of(self, place: int) -> list[int]:
        """Places of the glosses that the relation there is listed under, in order."""
        return self._glosses_of(self.sources[place], self.relations[place])

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
        words.update(word for _, word, _, _ in self.glosses)
        words.update(word for segmented in self.segmentations.values() for word in segmented)
        return words

    def conflicts(self) -> set[tuple[str, str]]:
        """Pairs that are synonyms and antonyms at once, over all sources; not used in training (METHOD: relations)."""
        opposed = {relation.pair for relation in self.relations if relation.type in ANTONYMOUS}  # the fewer
        return {relation.pair for relation in self.relations if relation.type == SYNONYM and relation.pair in opposed}

    def in_conflict(self, place: int, conflicts: set[tuple[str, str]]) -> bool:
        """Whether the relation there is one of those that contradict each other."""
        relation = self.relations[place]
        return (relation.type == SYNONYM or relation.type in ANTONYMOUS) and relation.pair in conflicts

    def _add_relation(self, source: str, relation: Relation) -> str | None:
        """Why nothing of it is kept; None where it is, or the gloss that it is listed under now."""
        first, second = self._number(relation.word), self._number(relation.other)
        if first == second:
            return "same word at both ends"
        word, other = self._words[first], self._words[second]
        if self.rejected and relation_key(word, other, relation.type) in self.rejected:
            return "rejected by a judgement"
        pair = self._pair(relation)
        listed = self._listed.setdefault((source, relation.type), {})
        if relation.parent is not None:
            derived = (pair, relation.type, relation.rule, relation.parent)
            if derived in self._derived or any(pair in known for known in listed.values()):
                return "listed before"
            self._derived.add(derived)
        else:
            before = listed.setdefault(relation.pos, {}).get(pair)
            if before is not None:
                return self._add_sense(source, before, word, relation.gloss)
        gloss = relation.gloss
        if gloss is not None:
            at = self._add_gloss(source, word, gloss, relation.pos)
            gloss = None if at is None else self.glosses[at][2]
        if relation.word is not word or relation.other is not other or relation.gloss is not gloss:
            relation = replace(relation, word=word, other=other, gloss=gloss)
        if relation.parent is None:
            listed[relation.pos][pair] = relation
        self.relations.append(relation)
        self.sources.append(source)
        return None

    def _add_sense(self, source: str, relation: Relation, word: str, gloss: str | None) -> str | None:
        """Hang the relation on a gloss of one of its words too; why not, where that is nothing new."""
        place = None if gloss is None else self._add_gloss(source, word, gloss, relation.pos)
        if place is None or place in self._glosses_of(source, relation):
            return "listed before"
        self._further.setdefault((source, relation.type, relation.pos, self._pair(relation)), []).append(place)
        return None

    def _glosses_of(self, source: str, relation: Relation) -> list[int]:
        more: Sequence[int] = ()
        if self._further and relation.parent is None:
            more = self._further.get((source, relation.type, relation.pos, self._pair(relation)), ())
        if relation.gloss is None:
            return sorted(more)
        return sorted([self._gloss_places[source, relation.word, relation.gloss, relation.pos], *more])

    def _pair(self, relation: Relation) -> int:
        """The same for both ways to write a symmetric relation."""
        first, second = self._number(relation.word), self._number(relation.other)
        if first > second and relation.type in SYMMETRIC:
            first, second = second, first
        return first << _WORD_BITS | second

    def _add_gloss(self, source: str, word: str, gloss: str, pos: str | None) -> int | None:
        """Its place; None where nothing is left of the text."""
        text = _short(gloss)
        if not text:
            return None
        if text == self._text:
            text = self._text
        self._text = text
        key = (source, word, text, pos)
        place = self._gloss_places.setdefault(key, len(self.glosses))
        if place == len(self.glosses):
            self.glosses.append(key)
        return place

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
        return self._words[self._number(text)]

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            word = normalise(text)
            number = self._numbers.setdefault(word, len(self._words))
            if number == len(self._words):
                self._words.append(word)
            if word != text:
                self._numbers[text] = number
        return number


def _short(gloss: str) -> str:
    """The gloss on one line, without characters that a database or a terminal refuses."""
    text = " ".join(gloss.split())[:MOST_GLOSS_CHARACTERS]
    if text == gloss:
        text = gloss  # no second copy
    return text if text.isprintable() else "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs"))
