"""Bulk answers as the tensors that travel, and back, on the same memory; `sensedict.wire.bulk` lists their names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays
from sensedict.arrays import Metadata, Tensors
from sensedict.errors import MalformedBody
from sensedict.source import CandidateSets, ItemError, NearestSenses, Ranges


def ranges_to_tensors(name: str, ranges: Ranges) -> Tensors:
    """The three tensors of a ragged list of ranges, as the wire and the file set name them."""
    return {f"{name}_offsets": ranges.offsets, f"{name}_first": ranges.first, f"{name}_count": ranges.count}


def ranges_from_tensors(name: str, tensors: Mapping[str, NDArray[Any]], rows: int) -> Ranges:
    """The ragged list `name` with `rows` rows.

    Raises:
        MalformedBody: a tensor is missing, or lengths and offsets do not fit.
    """
    ranges = Ranges(
        arrays.tensor(tensors, f"{name}_offsets", [np.uint32], 1),
        arrays.tensor(tensors, f"{name}_first", [np.uint32], 1),
        arrays.tensor(tensors, f"{name}_count", [np.uint16], 1),
    )
    _check_offsets(f"{name}_offsets", ranges.offsets, rows, len(ranges.first))
    _check_lengths(len(ranges.first), {f"{name}_count": ranges.count})
    return ranges


def candidate_sets_to_tensors(sets: CandidateSets) -> tuple[Tensors, Metadata]:
    """A bulk answer as tensors and metadata for `encode`; `wire` lists their names."""
    tensors: Tensors = {
        "tokens": sets.tokens,
        "own_first": sets.own_first,
        "synonyms_offsets": sets.synonyms.offsets,
        "antonyms_offsets": sets.antonyms.offsets,
        "synonyms_first": sets.synonyms.first,
        "antonyms_first": sets.antonyms.first,
        "own_count": sets.own_count,
        "synonyms_count": sets.synonyms.count,
        "antonyms_count": sets.antonyms.count,
    }
    return tensors, _errors_to_metadata(sets.errors)


def candidate_sets_head(tokens: int, synonyms: int, antonyms: int, errors: Iterable[ItemError]) -> bytes:
    """What stands before the tensors of a bulk answer for so many tokens, with so many ranges."""
    numbers: list[int] = []
    end = 0
    rows = (tokens, tokens, tokens + 1, tokens + 1, synonyms, antonyms)
    for length in rows:
        begin, end = end, end + 4 * length
        numbers += (length, begin, end)
    for length in (tokens, synonyms, antonyms):
        begin, end = end, end + 2 * length
        numbers += (length, begin, end)
    return arrays.finished_header(_candidate_sets_template() % tuple(numbers), _errors_to_metadata(errors))


@cache
def _candidate_sets_template() -> str:
    wide, narrow = np.zeros(1, np.uint32), np.zeros(1, np.uint16)
    empty = Ranges(wide, wide[1:], narrow[1:])
    tensors, _ = candidate_sets_to_tensors(CandidateSets(wide[1:], wide[1:], narrow[1:], empty, empty))
    return arrays.header_template(tuple([(name, tensor.dtype, tensor.ndim) for name, tensor in tensors.items()]))[1]


def candidate_sets_from_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> CandidateSets:
    """The bulk answer of `decode`'s two results, on the same memory.

    Raises:
        MalformedBody: a tensor is missing, or shapes, offsets or errors do not fit together.
    """
    tokens = arrays.tensor(tensors, "tokens", [np.uint32], 1)
    own_first = arrays.tensor(tensors, "own_first", [np.uint32], 1)
    own_count = arrays.tensor(tensors, "own_count", [np.uint16], 1)
    n = len(tokens)
    _check_lengths(n, {"own_first": own_first, "own_count": own_count})
    synonyms = ranges_from_tensors("synonyms", tensors, n)
    antonyms = ranges_from_tensors("antonyms", tensors, n)
    return CandidateSets(tokens, own_first, own_count, synonyms, antonyms, _errors_from_metadata(metadata, n))


def nearest_senses_to_tensors(nearest: NearestSenses) -> tuple[Tensors, Metadata]:
    """A bulk answer as tensors and metadata for `encode`; `wire` lists their names."""
    tensors: Tensors = {"offsets": nearest.offsets, "ids": nearest.ids, "distances": nearest.distances}
    said = {"p": str(nearest.p), "search": nearest.search, "short": str(int(nearest.short.sum()))}
    return tensors, said | _errors_to_metadata(nearest.errors)


def nearest_senses_from_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> NearestSenses:
    """The bulk answer of `decode`'s two results, on the same memory.

    Raises:
        MalformedBody: a tensor is missing, or shapes, offsets or errors do not fit together.
    """
    offsets = arrays.tensor(tensors, "offsets", [np.uint32], 1)
    ids = arrays.tensor(tensors, "ids", [np.uint32], 1)
    distances = arrays.tensor(tensors, "distances", [np.float32], 1)
    n = len(offsets) - 1
    _check_offsets("offsets", offsets, n, len(ids))
    _check_lengths(len(ids), {"distances": distances})
    p = metadata.get("p", "0")
    if not (p.isascii() and p.isdigit()) or len(p) > 9:
        raise MalformedBody(f"the metadata `p` is no number: {p!r:.40}")
    errors = _errors_from_metadata(metadata, n)
    return NearestSenses(offsets, ids, distances, errors, int(p), metadata.get("search", "exact"))


def _check_offsets(name: str, offsets: NDArray[np.uint32], rows: int, size: int) -> None:
    fits = len(offsets) == rows + 1 and rows >= 0 and offsets[0] == 0 and offsets[-1] == size
    if not fits or bool((offsets[1:] < offsets[:-1]).any()):
        raise MalformedBody(f"the tensor {name!r} does not cut {size} items into {rows} rows")


def _check_lengths(n: int, tensors: Mapping[str, NDArray[Any]]) -> None:
    for name, found in tensors.items():
        if len(found) != n:
            raise MalformedBody(f"the tensor {name!r} holds {len(found)} items, expected {n}")


def _errors_to_metadata(errors: Iterable[ItemError]) -> Metadata:
    listed = [{"index": error.index, "code": error.code, "detail": error.detail} for error in errors]
    return {"errors": json.dumps(listed, separators=(",", ":"))} if listed else {}


def _errors_from_metadata(metadata: Mapping[str, str], n: int) -> tuple[ItemError, ...]:
    try:
        listed = json.loads(metadata.get("errors", "[]"))
        errors = tuple(ItemError(entry["index"], entry["code"], entry["detail"]) for entry in listed)
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise MalformedBody(f"the metadata `errors` is not a JSON list of item errors ({error!s:.200})") from error
    for entry in errors:
        if type(entry.index) is not int or not 0 <= entry.index < n:
            raise MalformedBody(f"the metadata `errors` names the item {entry.index!s:.40} of {n}")
        if not isinstance(entry.code, str) or not isinstance(entry.detail, str):
            raise MalformedBody("the metadata `errors` holds a code or detail that is no text")
    return errors
