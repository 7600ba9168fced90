"""The HTTP contract: routes, limits, media types, requests and answers. The service and the client both read this file.

Bulk answers exist in two forms. JSON, by default, is for people and small scripts. `application/vnd.safetensors`, by
`Accept`, is a safetensors file with the tensors named below; per-item errors ride in its metadata under `errors`, a
JSON list. Bulk requests may be JSON, or safetensors by `Content-Type`, with the field names as tensor names (`p` and
`search` of nearestSenses in the metadata).

    candidateSets  tokens uint32 (n,) · own_first uint32 (n,) · own_count uint16 (n,)
                   for r of synonyms, antonyms: r_offsets uint32 (n + 1,) · r_first uint32 (m,) · r_count uint16 (m,)
    getSenses      vectors float16 (n, D)
    nearestSenses  offsets uint32 (n + 1,) · ids uint32 (m,) · distances float32 (m,); in the metadata `p` and `search`
                   as they were used, and `short`: how many rows hold fewer than p
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sensedict.source import Identity

JSON = "application/json"
SAFETENSORS = "application/vnd.safetensors"
PARQUET = "application/vnd.apache.parquet"
PROBLEM = "application/problem+json"

LATEST = "latest"  # the alias that a bare name means; publishing moves it

# Routes under the service's root. `ref` is `name@version` or `name@alias`.
DICTIONARIES = "/v1/dictionaries"
DICTIONARY = "/v1/dictionaries/{ref}"
TOKEN_SENSES = "/v1/dictionaries/{ref}/tokens/{token}/senses"
WORD_SENSES = "/v1/dictionaries/{ref}/senses"  # ?word=…&pos=…&neighbours=…
# ?word=…&type=…&direction=…&depth=…&source=…&rule=…&pos=…&limit=…&count=…
RELATIONS = "/v1/dictionaries/{ref}/relations"
RELATION = "/v1/dictionaries/{ref}/relations/{relation}"
PATH = "/v1/dictionaries/{ref}/path"  # ?word=…&other=…&type=…&direction=…
SENSE = "/v1/dictionaries/{ref}/senses/{sense}"
NEIGHBOURS = "/v1/dictionaries/{ref}/senses/{sense}/neighbours"  # ?limit=…
WORDS = "/v1/dictionaries/{ref}/words"  # ?prefix=…&limit=…
SENSE_MAP = "/v1/dictionaries/{ref}/map"  # ?word=…&related=…&neighbours=…
ID_MAP = "/v1/dictionaries/{ref}/idMap"  # ?to=…
ID_MAP_OF_WORD = "/v1/dictionaries/{ref}/idMap/senses"  # ?to=…&word=…
CANDIDATE_SETS = "/v1/dictionaries/{ref}:candidateSets"
GET_SENSES = "/v1/dictionaries/{ref}:getSenses"
NEAREST_SENSES = "/v1/dictionaries/{ref}:nearestSenses"
PUBLISH = "/v1/dictionaries/{ref}:publish"
DEPRECATE = "/v1/dictionaries/{ref}:deprecate"
PRUNE = "/v1/dictionaries/{name}:prune"
ALIAS = "/v1/dictionaries/{name}/aliases/{alias}"  # DELETE: ?reason=…
HISTORY = "/v1/dictionaries/{ref}/history"
USES = "/v1/dictionaries/{ref}/uses"
SNAPSHOT = "/v1/dictionaries/{ref}/snapshot"
SNAPSHOTS = "/v1/snapshots"  # ?as=…&lexicon_as=…&reason=…
JOBS = "/v1/jobs"  # ?state=…&limit=…&cursor=…
JOB = "/v1/jobs/{job}"
CANCEL_JOB = "/v1/jobs/{job}:cancel"
LIMITS = "/v1/limits"
METRICS = "/metrics"
LIVEZ = "/livez"
READYZ = "/readyz"


Matched = Literal["exact", "case", "form", "lemma"]
Owned = Literal["token", "word"]
Direction = Literal["both", "out", "in"]
MapRelation = Literal["own", "synonym", "antonym", "neighbour"]
JobState = Literal["running", "published", "failed", "cancelled"]
Search = Literal["exact", "approximate"]
_MATCHED: Any = Field(
    default="exact",
    description="how the word was found: as it is spelt, as its case folds, through an inflected form that a source "
    "lists (either way round), or by the rules of English inflection",
)


class Model(BaseModel):
    """Base of every answer: a client reads the answers of a later service, whose new fields it passes over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Request(Model):
    """Base of every request: an unknown field is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Model):
    """What one request may ask for; published at `/v1/limits`, obeyed by the client before it sends."""

    max_items: int = Field(default=16_384, description="tokens, ids or vectors in one bulk request")
    max_body_bytes: int = Field(default=64 * 2**20, description="bytes of one request body")
    max_json_bytes: int = Field(
        default=16 * 2**20, description="bytes of a request body in JSON, which takes 25 times as much memory"
    )
    max_candidate_bytes: int = Field(
        default=64 * 2**20, description="bytes that one answer of candidateSets takes, uncompressed"
    )
    max_snapshot_bytes: int = Field(default=2**40, description="bytes of a snapshot that is imported")
    max_nearest: int = Field(default=100, description="p of nearestSenses")
    max_page: int = Field(default=1_000, description="relations or jobs in one page")
    max_word_characters: int = Field(default=256, description="characters of a word")
    max_depth: int = Field(default=6, description="steps from the word to a relation's far end")
    max_walk_words: int = Field(default=10_000, description="words that a walk or the search for a path reaches")
    max_path_relations: int = Field(default=12, description="relations along a path")
    max_neighbours: int = Field(default=50, description="neighbours of a sense")
    max_url_bytes: int = Field(default=8_192, description="bytes of an address, percent-encoded, without the host")
    max_header_bytes: int = Field(default=32_768, description="bytes of a request up to its body")
    max_in_flight: int = Field(default=128, description="requests of a key that one process has not answered yet")
    requests_per_second: int = Field(default=1_000, description="of a key, to one process, for long; not without keys")
    max_burst: int = Field(default=2_000, description="requests of a key at once, to one process, after a pause")
    request_seconds: int = Field(default=60, description="from the end of a request to the beginning of its answer")
    max_listed_words: int = Field(default=100, description="words in a list of those that begin alike")


OWN_LIMITS = Limits()  # what a service of this version takes


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


# What the service lets pass and says in words of its own, for the readers of its OpenAPI document.
A_TEXT: Any = {"minLength": 1, "pattern": r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"}  # not all blanks
_REASON: Any = Field(description="why, for the log", json_schema_extra={**A_TEXT, "maxLength": 2_000})
_ITEMS: Any = {"minItems": 1, "maxItems": OWN_LIMITS.max_items}
_ID: Any = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}


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
    matched: Matched = _MATCHED
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
    matched: Matched = _MATCHED
    words: list[MappedWord] = Field(description="the word itself first; empty where it has no senses")
    explained: tuple[float, float] = Field(description="shares of the spread that x and y keep, 0 .. 1")
    reason: str | None = Field(description="why the word has no senses; null where it has some")


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
    matched: Matched = _MATCHED
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
    matched: Matched = _MATCHED
    other_matched: Matched = _MATCHED
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


class SnapshotImport(Model):
    """What the import of a snapshot did."""

    state: Literal["imported", "present"] = Field(description="`present`: all of it was here already")
    dictionary: DictionaryInfo
    lexicon: Literal["loaded", "shared"] = Field(description="`shared`: the lexicon was here already")
    aliases: list[str] = Field(description="that name the dictionary now and did not before")
    left: list[str] = Field(description="aliases of the snapshot that name another version here, and still do")


class JobRequest(Request):
    """A plan of the service's configuration, to be started; what it builds is for the configuration to say."""

    plan: str


class JobInfo(Model):
    """A build of a dictionary, running or past."""

    id: int
    name: str = Field(description="of the dictionary that it makes")
    version: str
    state: JobState
    plan: str | None = Field(description="the plan of the service's configuration that it was started from")
    error: str | None = Field(description="why it failed")
    created_at: datetime
    finished_at: datetime | None


class JobPage(Model):
    """Jobs, newest first."""

    jobs: list[JobInfo]
    next_cursor: str | None


class JobStage(Model):
    """A stage of a build: every shard of it is made before the next stage begins."""

    name: str = Field(
        description="`plan`, `harvest/0`, `cluster/0`, `publish`; the number is of a generation of the corpus"
    )
    unit: str = Field(description="what `done` and `total` count")
    done: int
    total: int | None = Field(description="null of a plan that is to read all that there is")
    shards: int = Field(description="those that are made")
    shards_total: int
    seconds: float = Field(description="of work, of all workers together")


class JobLogLine(Model):
    """Something that happened to a build."""

    at: datetime
    worker: str
    message: str


class JobDetail(JobInfo):
    """A build with its progress; folders and URLs are shown by their last name alone."""

    settings: dict[str, Any]
    stages: list[JobStage]
    percent: float | None = Field(
        description="of the tokens that the teacher reads and the hidden states, together; null while there is no plan"
    )
    workers: int = Field(description="that are at a shard of it now")
    rate: float | None = Field(description="of the stage that is running: its unit a second, all workers together")
    seconds_left: float | None = Field(description="of the stage that is running, at this rate")
    log: list[JobLogLine] = Field(description="the last lines, oldest first")


class CandidateSetsRequest(Request):
    """Token ids whose candidates (own senses, synonyms', antonyms') are wanted."""

    tokens: list[int] = Field(json_schema_extra={**_ITEMS, "items": _ID})


class GetSensesRequest(Request):
    """Sense ids whose vectors are wanted."""

    ids: list[int] = Field(json_schema_extra={**_ITEMS, "items": _ID})


class NearestSensesRequest(Request):
    """Vectors whose nearest senses are wanted, among those of `tokens[i]` where given, else in the whole dictionary."""

    vectors: list[list[float]] = Field(json_schema_extra=_ITEMS)
    p: int = Field(default=5, json_schema_extra={"minimum": 1, "maximum": OWN_LIMITS.max_nearest})
    tokens: list[int] | None = Field(default=None, description="as many as vectors")
    search: Search = Field(
        default="exact",
        description="`approximate`: by an index, which `sensedict dictionary index` makes; only without `tokens`",
    )


class WireItemError(Model):
    """One item of a bulk request that has no answer."""

    index: int
    code: str
    detail: str


class SenseRange(Model):
    """The senses `first .. first + count` of one owner."""

    first: int
    count: int


class CandidateSet(Model):
    """Candidates of one token."""

    token: int
    own: SenseRange
    synonyms: list[SenseRange]
    antonyms: list[SenseRange]


class CandidateSetsAnswer(Model):
    """Candidates in the order asked for."""

    sets: list[CandidateSet]
    errors: list[WireItemError]


class GetSensesAnswer(Model):
    """Vectors in the order asked for."""

    vectors: list[list[float]]


class NearSense(Model):
    """One near sense; `distance` is ‖a − b‖² / D."""

    id: int
    distance: float


class NearestSensesAnswer(Model):
    """Nearest senses of each vector, nearest first."""

    nearest: list[list[NearSense]]
    errors: list[WireItemError]
    search: Search = Field(default="exact", description="which was used")
    short: list[bool] = Field(default=[], description="of each vector, whether fewer than p came out")


class ProblemError(Model):
    """One fault of a request."""

    pointer: str = Field(description="where, as a JSON pointer or parameter name")
    detail: str


class Problem(Model):
    """RFC 9457 problem document; `type` is `urn:sensedict:problem:` and a code of `sensedict.errors`."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ProblemError] = []


class Health(Model):
    """Answer of `/livez` and `/readyz`."""

    status: Literal["ok"]
    dictionaries: int | None = None
    migration: str | None = None
    pgvector: str | None = Field(default=None, description="version of the extension in the database")
    warnings: list[str] = Field(default=[], description="what works, and would be better otherwise")
