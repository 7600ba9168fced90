"""Senses of tokens and words: with contexts, glosses and neighbours, by the words' beginning, and on a map."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sensedict.wire.model import Model

Matched = Literal["exact", "case", "form", "lemma"]
Owned = Literal["token", "word"]
MapRelation = Literal["own", "synonym", "antonym", "neighbour"]
MATCHED: Any = Field(
    default="exact",
    description="how the word was found: as it is spelt, as its case folds, through an inflected form that a source "
    "lists (either way round), or by the rules of English inflection",
)


class Context(Model):
    """A passage in which a sense was used; `text[start:end]` is the token or word itself."""

    text: str
    start: int
    end: int


class Sense(Model):
    """One sense: a centroid of the teacher's hidden states."""

    id: int
    ordinal: int = Field(description="0 is the most used sense of its owner")
    count: int = Field(description="hidden states in the cluster; 0 for a composed word")
    inertia: float = Field(description="mean d² of the cluster's hidden states to the centroid; 0 for a composed word")
    contexts: list[Context]


class SenseDetail(Sense):
    """One sense with its owner and vector."""

    owner: Owned
    token: int | None
    text: str = Field(description="the token's or word's text")
    vector: list[float]


class TokenSenses(Model):
    """The senses of one token of the teacher's vocabulary (DSKD §3.1)."""

    token: int
    text: str
    occurrences: int = Field(description="times the corpus had this key, kept or not")
    senses: list[Sense]


class NearWord(Model):
    """A sense of another owner that lies near; `distance` is ‖a − b‖² / D."""

    id: int = Field(description="the near sense")
    distance: float
    owner: Owned
    token: int | None
    text: str = Field(description="the owner's text; a token's may begin with a space")


class SenseNeighbours(Model):
    """The nearest senses of other owners, nearest first."""

    id: int
    owner: Owned
    token: int | None
    text: str
    neighbours: list[NearWord]


class WordSense(Sense):
    """A sense of a word that was asked for."""

    neighbours: list[NearWord] | None = Field(
        default=None,
        description="the nearest sense of each of the nearest words, nearest first; null where they were not asked for",
    )


class Gloss(Model):
    """What a source says that a word means."""

    text: str
    pos: str | None
    source: str
    licence: str


class WordSenses(Model):
    """The senses of a word (DSKD §3.3): its token's where it is one token, composed where it is two or three."""

    word: str
    matched: Matched = MATCHED
    tokens: list[int]
    token_texts: list[str]
    composed: bool
    senses: list[WordSense]
    reason: str | None = Field(description="why there are no senses; null where there are some")
    pos: list[str] = Field(default=[], description="parts of speech that the sources know the word as")
    glosses: list[Gloss] = Field(default=[], description="what the sources say that it means")


class FoundWord(Model):
    """A word that can be asked for."""

    word: str
    senses: int = Field(description="0: it stands in relations alone")
    occurrences: int | None = Field(description="times the corpus had its token; null of a word of several tokens")


class WordList(Model):
    """Words that begin so: the word itself, then tokens, most frequent first, then words of relations by letters."""

    prefix: str
    words: list[FoundWord]


class MappedSense(Model):
    """A sense with its place on a map."""

    id: int
    ordinal: int
    count: int
    x: float
    y: float
    nearest: int = Field(description="the sense of the word asked for that lies nearest, in all D dimensions")
    distance: float = Field(description="‖a − b‖² / D to that sense")
    context: Context | None = Field(description="the first passage in which it was used")


class MappedWord(Model):
    """A word or token on a map."""

    text: str = Field(description="a token's may begin with a space")
    owner: Owned
    token: int | None
    relation: MapRelation = Field(description="to the word asked for; `own`: that word itself")
    senses: list[MappedSense]


class SenseMap(Model):
    """Senses of a word among those of its synonyms and antonyms, and the senses that lie nearest (DSKD Figure 1).

    The plane is that of the first two principal components of the senses of the word and the words related to it: of
    all linear maps to a plane, the one that keeps most of their spread. The nearest others are projected on it, and so
    change nobody's place; only where those are fewer than three senses is the plane that of all.
    """

    word: str
    matched: Matched = MATCHED
    words: list[MappedWord] = Field(description="the word itself first; empty where it has no senses")
    explained: tuple[float, float] = Field(description="shares of the spread that x and y keep, 0 .. 1")
    reason: str | None = Field(description="why the word has no senses; null where it has some")
