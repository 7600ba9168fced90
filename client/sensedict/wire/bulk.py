"""What a trainer reads: many tokens, senses or vectors at once.

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

from typing import Any, Literal

from pydantic import Field

from sensedict.wire.model import OWN_LIMITS, Model, Request

Search = Literal["exact", "approximate"]
_ITEMS: Any = {"minItems": 1, "maxItems": OWN_LIMITS.max_items}
_ID: Any = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}


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
