"""How a word is found: as spelt, else as its case folds, else by its inflected forms or its lemma (DSKD §3.3).

The order is the same wherever the words are; `WordIndex` is what a database or a file set must be able to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from unicodedata import normalize

from sensedict.lemmas import lemma_candidates
from sensedict.wire import Matched

MOST_FORMS = 20  # of one word that are tried
NO_SENSES = "token without senses"


@dataclass(frozen=True)
class Word:
    """A word under a dictionary's tokenizer.

    Attributes:
        word_id: its number in the lexicon; None where the word stands in no relation and is known as a token alone.
        text: as the dictionary spells it.
        token_ids: its tokens as it stands inside a sentence.
        first_sense, sense_count: the range of its senses.
        reason: why it has no senses.
        matched: how it was found: as spelt, as its case folds, by a form that a source lists, by a rule of inflection.
    """

    word_id: int | None
    text: str
    token_ids: tuple[int, ...]
    first_sense: int
    sense_count: int
    reason: str | None
    matched: Matched = "exact"


class WordIndex(Protocol):
    """Words of a dictionary and of its lexicon."""

    def in_relations(self, word: str, *, folded: bool) -> Word | None:
        """The word of relations that is spelt so, or that folds to the same: the plain spelling, then the oldest."""

    def as_token(self, word: str, *, folded: bool) -> Word | None:
        """The token that makes the word: its text is a space and the word, as inside a sentence, or else the word."""

    def listed_forms(self, word: str, pos: str | None) -> Sequence[str]:
        """Lemmas of the word, then its forms, as sources list them; those of this spelling before those that fold."""

    def parts_of_speech(self, text: str) -> list[str]:
        """What the sources know the word as, in alphabetical order; empty where they do not say."""


def find_word(words: WordIndex, word: str, pos: str | None = None) -> Word | None:
    """The word whose senses are wanted.

    In each way a word of relations comes before a bare token, but a token spelt exactly so comes before a word of
    relations that only folds to it: its senses are those of this very spelling. `find_related_word` decides otherwise.
    A word typed with combining accents that is not found is looked up with whole letters (NFC), as text has them.

    Where `pos` is given, what the sources know as other parts of speech only is passed over.
    """

    def ways() -> Iterator[Word | None]:
        for spelling in _spellings(word):
            yield words.in_relations(spelling, folded=False)
            yield words.as_token(spelling, folded=False)
            yield _matched("case", words.in_relations(spelling, folded=True))
            yield _matched("case", words.as_token(spelling, folded=True))
        for match, text in _inflections(words, word, pos):
            yield _matched(match, words.in_relations(text, folded=False))
            yield _matched(match, words.as_token(text, folded=False))

    return _first_of(words, ways(), pos)


def find_related_word(words: WordIndex, word: str) -> Word | None:
    """The word whose relations are wanted: a word of relations, matches in the same order; else a bare token.

    A token spelt exactly so has no relations, so it does not hide the word of relations that folds to it.
    """

    def ways() -> Iterator[Word | None]:
        for spelling in _spellings(word):
            yield words.in_relations(spelling, folded=False)
            yield _matched("case", words.in_relations(spelling, folded=True))
        for match, text in _inflections(words, word, None):
            yield _matched(match, words.in_relations(text, folded=False))
        for spelling in _spellings(word):
            yield words.as_token(spelling, folded=False)
            yield _matched("case", words.as_token(spelling, folded=True))

    return _first_of(words, ways(), None)


def token_word(token_id: int, text: str, first_sense: int, sense_count: int) -> Word:
    """A bare token as a word."""
    reason = None if sense_count else f"{NO_SENSES}: {text!r}"
    return Word(None, text.removeprefix(" "), (token_id,), first_sense, sense_count, reason)


def word_not_found(word: str, ref: str, pos: str | None = None) -> str:
    """What to say of a word that the dictionary does not know."""
    told = f"the word {word!r} is in no relation of {ref} and no single token of it, nor is a form or lemma of it"
    return told if pos is None else f"{told}, as {pos!r}: ask without pos"


def _first_of(words: WordIndex, found: Iterable[Word | None], pos: str | None) -> Word | None:
    for word in found:
        if word is None:
            continue
        known = [] if pos is None else words.parts_of_speech(word.text)
        if not known or pos in known:
            return word
    return None


def _matched(match: Matched, found: Word | None) -> Word | None:
    return None if found is None else replace(found, matched=match)


def _inflections(words: WordIndex, word: str, pos: str | None) -> Iterator[tuple[Matched, str]]:
    """What the word may be a form of, or have as a form: first as sources list it, then by the rules."""
    spelling = normalize("NFC", word)
    yield from (("form", text) for text in words.listed_forms(spelling, pos))
    folded = [spelling, *([spelling.lower()] if spelling.lower() != spelling else [])]
    guesses = (guess for text in folded for guess in lemma_candidates(text))
    yield from (("lemma", lemma) for lemma in dict.fromkeys(lemma for lemma, of in guesses if pos in (None, of)))


def _spellings(word: str) -> Sequence[str]:
    return list(dict.fromkeys((word, normalize("NFC", word))))
