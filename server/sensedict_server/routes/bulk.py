"""The trainer's reads: many tokens, senses or vectors at once, answered from the file set mapped into memory.

Vectors go from the map to the bytes of the answer; no row and no model is made of them. docs/bulk.md has the layout of
the bytes, and what an answer costs.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from pydantic_core import to_json

from sensedict import answer_tensors, arrays, inputs, wire
from sensedict.candidates import Found
from sensedict.errors import InvalidInput, MalformedBody, RequestTooLarge, WrongDimension
from sensedict.snapshot import Snapshot
from sensedict.source import CandidateSets, Identity, NearestSenses, Ranges
from sensedict_server import metrics
from sensedict_server.catalogue import Catalogue
from sensedict_server.media import Body, accepts_bulk, read_body
from sensedict_server.problems import described, validate_json
from sensedict_server.routes.shared import LIMITS, Ref, catalogue, dictionary, sees_drafts
from sensedict_server.search import approximately_nearest, exactly_nearest
from sensedict_server.vectors import answer_vectors

T = TypeVar("T")

_IDS = (np.uint32, np.int32, np.uint64, np.int64)
_BINARY = {"schema": {"type": "string", "format": "binary", "description": "tensors of the names in `sensedict.wire`"}}
# What is done without a thread of its own, which would take longer to get than the work takes: some 0.3 ms at most.
SMALL_BODY = 2**17 + 2**12  # bytes: the largest list of ids, with its header
_FEW_RANGES = 2**16
_RANGE_BYTES = 6  # uint32 and uint16
_JSON_RANGE_BYTES = 600  # of the objects and the text that one is in JSON
_ITEMS = {path: metrics.BULK_ITEMS.labels(path) for path in (wire.CANDIDATE_SETS, wire.GET_SENSES, wire.NEAREST_SENSES)}

router = APIRouter(
    tags=["bulk"],
    responses=described(400, 404, 406, 413, 415, 422, 503),
    default_response_class=Response,
)


def _bulk(path: str, request: type[Any], answer: type[Any]) -> Callable[[Callable[..., Any]], Any]:
    """A POST route whose body and answer are JSON or safetensors, and which says so in OpenAPI."""
    body = {
        "required": True,
        "content": {wire.JSON: {"schema": request.model_json_schema()}, wire.SAFETENSORS: _BINARY},
    }
    described_answer = {
        "description": "in the order asked for",
        "model": answer,
        "content": {wire.SAFETENSORS: _BINARY},
    }
    return router.post(path, responses={200: described_answer}, openapi_extra={"requestBody": body})


@_bulk(wire.CANDIDATE_SETS, wire.CandidateSetsRequest, wire.CandidateSetsAnswer)
async def candidate_sets(ref: Ref, request: Request) -> Response:
    """Own, synonym and antonym senses of tokens, as ranges of ids (DSKD §4.2); one that is none is an item error."""
    return await answer_candidate_sets(await opened(ref, request), await read_body(request), accepts_bulk(request))


@_bulk(wire.GET_SENSES, wire.GetSensesRequest, wire.GetSensesAnswer)
async def get_senses(ref: Ref, request: Request) -> Response:
    """Vectors of senses, float16."""
    return await answer_senses(await opened(ref, request), await read_body(request), accepts_bulk(request))


@_bulk(wire.NEAREST_SENSES, wire.NearestSensesRequest, wire.NearestSensesAnswer)
async def nearest_senses(ref: Ref, request: Request) -> Response:
    """The p nearest senses of vectors, each among those of its owner token, or of the whole dictionary."""
    senses = await opened(ref, request)
    return await answer_nearest(catalogue(request), senses, await read_body(request), accepts_bulk(request))


async def answer_candidate_sets(senses: Snapshot, asked: Body, media: str) -> Response:
    """The candidate sets that a body asks for."""
    tokens = inputs.token_ids(await _read(asked, lambda: _ids(asked, "tokens", wire.CandidateSetsRequest)))
    found = _looked_up(senses, tokens, _RANGE_BYTES if media == wire.SAFETENSORS else _JSON_RANGE_BYTES)
    _ITEMS[wire.CANDIDATE_SETS].inc(len(tokens))
    if media == wire.SAFETENSORS and found.size <= _FEW_RANGES:
        return _candidate_sets(senses, found, media)
    return await run_in_threadpool(_candidate_sets, senses, found, media)


def candidate_sets_at_once(senses: Snapshot, body: bytes) -> memoryview | None:
    """The answer to a body of safetensors; None where it would take longer than others should wait."""
    if len(body) > SMALL_BODY:
        return None
    tokens = inputs.token_ids(_ids(Body(wire.SAFETENSORS, body), "tokens", wire.CandidateSetsRequest))
    found = _looked_up(senses, tokens)
    if found.size > _FEW_RANGES:
        return None
    _ITEMS[wire.CANDIDATE_SETS].inc(len(tokens))
    return found.encoded(inputs.outside_vocabulary(tokens, senses.identity))


async def answer_senses(senses: Snapshot, asked: Body, media: str) -> Response:
    """The vectors that a body asks for."""
    ids = inputs.sense_ids(await _read(asked, lambda: _ids(asked, "ids", wire.GetSensesRequest)), senses.identity)
    _ITEMS[wire.GET_SENSES].inc(len(ids))
    return await answer_vectors(senses.vectors, ids, media)


async def answer_nearest(shared: Catalogue, senses: Snapshot, asked: Body, media: str) -> Response:
    """The nearest senses that a body asks for."""
    return await run_in_threadpool(_nearest_senses, shared, senses, asked, media)


def _candidate_sets(senses: Snapshot, found: Found, media: str) -> Response:
    errors = inputs.outside_vocabulary(found.tokens, senses.identity)
    if media == wire.SAFETENSORS:
        return Response(found.encoded(errors), media_type=media)
    sets = found.sets(errors)
    return _json({"sets": _sets(sets), "errors": [vars(error) for error in sets.errors]})


def _nearest_senses(shared: Catalogue, senses: Snapshot, asked: Body, media: str) -> Response:
    vectors, p, tokens, search = _nearest_request(asked, senses.identity)
    _ITEMS[wire.NEAREST_SENSES].inc(len(vectors))
    if inputs.search_way(search, tokens is not None):
        found = approximately_nearest(shared, senses, vectors, p)
    elif tokens is None:
        found = exactly_nearest(senses, vectors, p)
    else:
        found = senses.nearest_senses(vectors, p, tokens)
    if media == wire.SAFETENSORS:
        return _tensors(*answer_tensors.nearest_senses_to_tensors(found))
    errors = [vars(error) for error in found.errors]
    return _json({"nearest": _nearest(found), "errors": errors, "search": found.search, "short": found.short.tolist()})


async def opened(ref: str, request: Request) -> Snapshot:
    """The file set of the dictionary that the path names; one asked for before is there without waiting."""
    shared = catalogue(request)
    if shared.at_hand(ref) is not None:
        return opened_at_hand(ref, request)
    return await run_in_threadpool(opened_at_hand, ref, request)


def opened_at_hand(ref: str, request: Request) -> Snapshot:
    """As `opened`, in this thread; what a dependency of these routes checks must be checked here."""
    shared = catalogue(request)
    return shared.snapshot(dictionary(ref, sees_drafts(request), shared, request))


async def _read(asked: Body, read: Callable[[], T]) -> T:
    """What `read` makes of the body; JSON, and what is large, would keep others waiting."""
    if asked.media == wire.SAFETENSORS and len(asked.data) <= SMALL_BODY:
        return read()
    return await run_in_threadpool(read)


def _ids(asked: Body, field: str, request: type[Any]) -> NDArray[Any]:
    """The one list of ids that the body holds."""
    if asked.media == wire.JSON:
        return _integers(getattr(validate_json(request, asked.data), field))
    tensors, _ = arrays.decode(asked.data)
    _refuse_others(tensors, {field})
    return _bounded(arrays.tensor(tensors, field, _IDS, 1))


def _looked_up(senses: Snapshot, tokens: NDArray[np.uint32], size: int = _RANGE_BYTES) -> Found:
    """What the candidate sets of the tokens are gathered with; each range of them takes `size` bytes of memory."""
    found = senses.candidates.look_up(tokens)
    if found.size * size > LIMITS.max_candidate_bytes:
        raise RequestTooLarge(
            f"the answer for {len(tokens)} tokens would take {found.size * size} bytes of memory; at most "
            f"{LIMITS.max_candidate_bytes}: ask for fewer tokens at once, and for each only once; see {wire.LIMITS}"
        )
    return found


def _nearest_request(asked: Body, identity: Identity) -> tuple[NDArray[Any], int, NDArray[Any] | None, str]:
    """Vectors, p, owners and way of a request for nearest senses."""
    if asked.media == wire.JSON:
        request = validate_json(wire.NearestSensesRequest, asked.data)
        tokens = None if request.tokens is None else _integers(request.tokens)
        return _rows(request.vectors, identity), request.p, tokens, request.search
    tensors, metadata = arrays.decode(asked.data)
    _refuse_others(tensors, {"vectors", "tokens"})
    vectors = _bounded(arrays.tensor(tensors, "vectors", (np.float16, np.float32, np.float64), 2))
    owners = _bounded(arrays.tensor(tensors, "tokens", _IDS, 1)) if "tokens" in tensors else None
    return vectors, _p(metadata), owners, metadata.get("search", "exact")


def _integers(values: list[int]) -> NDArray[np.int64]:
    try:
        return _bounded(np.asarray(values, dtype=np.int64))
    except OverflowError as error:
        raise InvalidInput("an id is larger than any id can be: 64 bits") from error


def _p(metadata: arrays.Metadata) -> int:
    text = metadata.get("p", str(wire.NearestSensesRequest.model_fields["p"].default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidInput(f"p in the metadata is {text[:40]!r}: a whole number is needed")
    return int(text)


def _rows(vectors: list[list[float]], identity: Identity) -> NDArray[np.float64]:
    """(n, D) of nested lists; numpy makes no array of rows of unequal lengths."""
    if len(vectors) > LIMITS.max_items:
        raise _too_many(len(vectors))
    for index, vector in enumerate(vectors):
        if len(vector) != identity.dim:
            raise WrongDimension(
                f"the vector at index {index} has {len(vector)} numbers, "
                f"senses of {identity.name}@{identity.version} have {identity.dim}"
            )
    return np.asarray(vectors, dtype=np.float64)


def _bounded(items: NDArray[Any]) -> NDArray[Any]:
    if len(items) > LIMITS.max_items:
        raise _too_many(len(items))
    return items


def _too_many(items: int) -> RequestTooLarge:
    return RequestTooLarge(f"{items} items in one request; at most {LIMITS.max_items}: split it, see {wire.LIMITS}")


def _refuse_others(tensors: arrays.Tensors, known: set[str]) -> None:
    if not tensors.keys() <= known:
        others = sorted(set(tensors) - known)
        raise MalformedBody(f"the tensors {', '.join(others)[:200]} have no meaning here; known are {sorted(known)}")


def _sets(found: CandidateSets) -> list[dict[str, Any]]:
    synonyms, antonyms = _range_lists(found.synonyms), _range_lists(found.antonyms)
    own = zip(found.own_first.tolist(), found.own_count.tolist(), strict=True)
    return [
        {"token": token, "own": _range(*own_range), "synonyms": synonym, "antonyms": antonym}
        for token, own_range, synonym, antonym in zip(found.tokens.tolist(), own, synonyms, antonyms, strict=True)
    ]


def _range_lists(ranges: Ranges) -> list[list[dict[str, int]]]:
    flat = list(map(_range, ranges.first.tolist(), ranges.count.tolist()))
    return _cut(flat, ranges.offsets)


def _range(first: int, count: int) -> dict[str, int]:
    return {"first": first, "count": count}


def _nearest(found: NearestSenses) -> list[list[dict[str, Any]]]:
    pairs = zip(found.ids.tolist(), found.distances.tolist(), strict=True)
    return _cut([{"id": sense, "distance": distance} for sense, distance in pairs], found.offsets)


def _cut(flat: list[Any], offsets: NDArray[np.uint32]) -> list[list[Any]]:
    bounds = offsets.tolist()
    return [flat[start:stop] for start, stop in pairwise(bounds)]


def _tensors(tensors: arrays.Tensors, metadata: arrays.Metadata) -> Response:
    return Response(arrays.encode(tensors, metadata), media_type=wire.SAFETENSORS)


def _json(content: dict[str, Any]) -> Response:
    return Response(to_json(content), media_type=wire.JSON)
