"""Dictionaries and the lives of their versions: what one is, what is done with it, and what its senses became."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from sensedict.source import Identity
from sensedict.wire.model import A_TEXT, Model, Request


class SourceInfo(Model):
    """One source of relations."""

    name: str
    licence: str
    version: str
    relations: int


class DictionaryInfo(Model):
    """A published dictionary: its identity, its size, and where it comes from."""

    name: str
    version: str
    aliases: list[str]
    lexicon: str = Field(description="name@version of the lexicon that this version names")
    teacher: str
    teacher_hash: str
    tokenizer_hash: str
    vocabulary_size: int
    dim: int
    state_point: str
    key_policy: Literal["next", "predicted", "input"]
    k: int
    senses: int
    tokens_with_senses: int
    words_with_senses: int
    content_hash: str
    state: Literal["draft", "published"] = Field(
        default="published", description="a draft is for administrators alone, and may change until it is published"
    )
    published_at: datetime | None = Field(description="null of a draft")
    deprecated_at: datetime | None = Field(default=None, description="since when it is not to be begun with")
    sunset_at: datetime | None = Field(default=None, description="from when on it may be gone")
    settings: dict[str, Any]
    sources: list[SourceInfo]

    def identity(self) -> Identity:
        """The part that decides whether this dictionary fits a teacher."""
        return Identity(**{name: getattr(self, name) for name in Identity.__dataclass_fields__})


_REASON: Any = Field(description="why, for the log", json_schema_extra={**A_TEXT, "maxLength": 2_000})


class PublishRequest(Request):
    """Why a draft is published."""

    reason: str = _REASON


class DeprecateRequest(Request):
    """That a version is not to be begun with."""

    reason: str = _REASON
    sunset: datetime | None = Field(default=None, description="from when on it may be gone")
    undo: bool = Field(default=False, description="it is not deprecated after all")


class AliasRequest(Request):
    """Which version an alias is to name."""

    version: str
    reason: str = _REASON


class PruneRequest(Request):
    """Which versions of a dictionary are to be deleted: those that no alias names, and that satisfy all of it."""

    reason: str = _REASON
    keep: int = Field(ge=1, le=1_000_000, description="of the newest versions, so many stay")
    unused_days: int = Field(ge=0, le=36_500, description="nobody asked for it in so many days")
    dry_run: bool = Field(default=True, description="say which, and delete nothing")
    versions: list[str] | None = Field(
        default=None, description="those that a dry run told: where it would be others by now, nothing is deleted"
    )


class AliasInfo(Model):
    """An alias, and what it names."""

    name: str
    alias: str
    version: str | None = Field(description="null where it was removed")
    before: str | None = Field(description="the version that it named before")


class Tombstone(Model):
    """What is kept of a version that was published and is deleted."""

    name: str
    version: str
    content_hash: str
    published_at: datetime | None
    deleted_at: datetime
    deleted_by: str
    reason: str


class Deletion(Model):
    """A version that was deleted."""

    name: str
    version: str
    tombstone: Tombstone | None = Field(description="null of a draft, which leaves none")


class Pruning(Model):
    """Versions that were deleted, or that would be."""

    name: str
    versions: list[str] = Field(description="oldest first")
    deleted: bool


class HistoryEvent(Model):
    """Something that was done with a version."""

    action: str = Field(description="draft, publish, alias, unalias, deprecate, undeprecate, delete")
    at: datetime
    actor: str
    reason: str
    details: dict[str, Any]


class VersionUse(Model):
    """How often the holder of a key asked for a version; up to half a minute late."""

    key_name: str = Field(description="empty where no key was needed")
    requests: int
    first_at: datetime
    last_at: datetime


class SenseMove(Model):
    """What became of a sense."""

    old: int | None = Field(description="sense of the dictionary in the path; null where it is new")
    new: int | None = Field(description="sense of the dictionary `to`; null where it is gone")
    distance: float | None = Field(description="between the two, as `sensedict diff` measures it")
    state: str = Field(description="kept, moved, split, merged, new or gone")


class SenseMoves(Model):
    """What became of the senses of a word, as the published map between two dictionaries has it."""

    word: str = Field(description="as the dictionary in the path spells it")
    moves: list[SenseMove]


class SnapshotImport(Model):
    """What the import of a snapshot did."""

    state: Literal["imported", "present"] = Field(description="`present`: all of it was here already")
    dictionary: DictionaryInfo
    lexicon: Literal["loaded", "shared"] = Field(description="`shared`: the lexicon was here already")
    aliases: list[str] = Field(description="that name the dictionary now and did not before")
    left: list[str] = Field(description="aliases of the snapshot that name another version here, and still do")


class SnapshotCheck(Model):
    """A snapshot that is whole: every byte has its hash, and a database can hold every row."""

    dictionary: str = Field(description="name@version")
    lexicon: str = Field(description="name@version")
    aliases: list[str] = Field(description="of the dictionary where the snapshot was made")
    senses: int
    content_hash: str
    size: int = Field(description="of its files in bytes")
