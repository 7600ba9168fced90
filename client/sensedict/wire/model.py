"""What requests and answers have in common: their base, the limits of a request, problems, and health."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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
# What the service lets pass and says in words of its own, for the readers of its OpenAPI document.
A_TEXT: Any = {"minLength": 1, "pattern": r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"}  # not all blanks


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
