"""Lexical relations, ways along them, and where they come from."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from sensedict.wire.model import Model
from sensedict.wire.senses import MATCHED, Gloss, Matched

Direction = Literal["both", "out", "in"]


class Via(Model):
    """The source whose segmentations a derived relation leans on."""

    name: str
    licence: str


class RelationGloss(Model):
    """A sense that a source lists a relation under."""

    word: str = Field(description="the one of the relation's words that has the sense")
    text: str


class Relation(Model):
    """A lexical relation, seen from `word` (DSKD §3.2)."""

    id: int
    word: str
    other: str
    type: str = Field(description="synonym, antonym, negation, reversal or a type of the source's own")
    source: str
    licence: str
    source_version: str = Field(default="", description="of the source's data")
    rule: str | None = Field(description="how a derived relation was derived, e.g. `negation:un-`")
    parent: int | None = Field(description="id of the relation that a derived one comes from")
    conflict: bool = Field(description="listed both as synonym and as antonym; not used in training")
    direction: Direction = Field(
        default="both", description="`out`: from `word` to `other` only; `in`: from `other` to `word` only"
    )
    via: Via | None = Field(default=None, description="whose segmentations a derived relation leans on too")
    pos: str | None = Field(default=None, description="part of speech, where the source has it")
    glosses: list[RelationGloss] = Field(default=[], description="the senses that the source lists the relation under")
    depth: int = Field(default=1, description="steps from the word asked for to `other`")


class RelationPage(Model):
    """Relations of a word, or of the words around it, by depth and then id: an order that does not change."""

    word: str
    matched: Matched = MATCHED
    relations: list[Relation]
    total: int | None = Field(default=None, description="relations on all pages together; null without `count=true`")
    next_cursor: str | None
    words_reached: int | None = Field(
        default=None, description="words within the depth, the one asked for included; null at depth 1"
    )
    cut: bool = Field(
        default=False,
        description="there are more words within the depth than `max_walk_words` of `/v1/limits`: the farthest, and "
        "their relations, are left out",
    )


class Path(Model):
    """A shortest way between two words along relations; `relations[i]` leads from `words[i]` to `words[i + 1]`."""

    word: str
    other: str
    matched: Matched = MATCHED
    other_matched: Matched = MATCHED
    found: bool
    words: list[str] = Field(description="from `word` to `other`; empty where no way was found")
    relations: list[Relation]
    bound: Literal["words", "relations"] | None = Field(
        description="where none was found: the limit that ended the search, `max_walk_words` or `max_path_relations` "
        "of `/v1/limits`; null: there is no way"
    )


class Source(Model):
    """The source that lists a relation or segments a word."""

    name: str
    licence: str
    version: str


class Negated(Model):
    """A negated word of the original relation, and what stands in its place in the derived one."""

    word: str
    base: str
    affixes: list[str] = Field(description="what was taken off, e.g. `un-`")
    segmentation: str | None = Field(description="how the source builds the word; null where the lexicon keeps none")
    source: Source | None = Field(description="of the segmentation")


class Derivation(Model):
    """One step: how a relation comes from its parent."""

    relation: int
    parent: int
    rule: str
    negated: list[Negated]


class Judgement(Model):
    """Why a lexicographer added the relation."""

    id: int
    reason: str
    author: str
    created_at: datetime


class Explanation(Model):
    """Where a relation comes from."""

    chain: list[Relation] = Field(description="the relation, the one that it comes from, and so on to the original")
    derivations: list[Derivation] = Field(description="the steps of the chain, in the same order")
    source: Source = Field(description="which lists the original")
    glosses: dict[str, list[Gloss]] = Field(description="what the sources say that the relation's words mean, by word")
    judgement: Judgement | None = Field(description="where a lexicographer added the original")
