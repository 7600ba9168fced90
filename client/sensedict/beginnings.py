"""Words by how they begin, to be offered while one is typed: the same choice wherever the words are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from unicodedata import normalize

AHEAD = 5  # times the words wanted are looked at for some with senses; all that begin with a letter would take long


@dataclass(frozen=True)
class FoundWord:
    """A word that can be asked for.

    Attributes:
        senses: how many it has; 0: it stands in relations alone.
        occurrences: how often the corpus had its token; None of a word of several tokens.
    """

    word: str
    senses: int
    occurrences: int | None


class Beginnings(Protocol):
    """Texts of a dictionary by how they begin, whatever their case."""

    def tokens_beginning(self, prefix: str, most: int) -> Sequence[FoundWord]:
        """Tokens with senses, their texts as they stand: the prefix itself, then by falling use, then by id."""

    def words_beginning(self, prefix: str, most: int) -> Sequence[FoundWord]:
        """Words of relations, by the characters of the folded text, then by id."""


def as_prefix(typed: str) -> str:
    """What is looked for: a token's blank is not part of its word, and accents are part of their letters."""
    return normalize("NFC", typed.lstrip())


def words_beginning(of: Beginnings, prefix: str, limit: int) -> list[FoundWord]:
    """At most `limit` words that begin so, whatever their case: the word itself, tokens by use, other words by letters.

    Tokens have senses; a word of relations may have none, and of the next few those with senses come first. Tokens that
    begin no word come last: most are pieces of one.
    """

    def found() -> Iterator[FoundWord]:
        tokens = of.tokens_beginning(f" {prefix}", limit)
        inside = [FoundWord(token.word.removeprefix(" "), token.senses, token.occurrences) for token in tokens]
        listed = sorted(of.words_beginning(prefix, AHEAD * limit), key=lambda word: word.senses == 0)
        folded = prefix.casefold()
        yield from (word for word in (*inside, *listed) if word.word == prefix)
        yield from (word for word in (*inside, *listed) if word.word.casefold() == folded)
        yield from inside
        yield from listed
        yield from of.tokens_beginning(prefix, limit)

    unlike: dict[str, FoundWord] = {}
    for word in found():
        unlike.setdefault(word.word, word)
        if len(unlike) == limit:
            break
    return list(unlike.values())
