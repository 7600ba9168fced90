"""The bulk routes in both formats, byte by byte as any HTTP client sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import Published
from running_service import Service
from sensedict import answer_tensors, arrays, wire
from service_problems import expect_problem
from tiny_dictionary import RELATIONS, TOKENS, WORDS, D

TINY = "/v1/dictionaries/tiny@1"
BULK = ("candidateSets", "getSenses", "nearestSenses")
SENSES = 81


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url) as client:
        yield client


def ask(http: httpx.Client, verb: str, body: object, accept: str = wire.JSON) -> httpx.Response:
    return send(http, verb, json.dumps(body).encode(), wire.JSON, accept)


def ask_tensors(http: httpx.Client, verb: str, tensors: arrays.Tensors, **metadata: str) -> httpx.Response:
    return send(http, verb, arrays.encode(tensors, metadata), wire.SAFETENSORS, wire.SAFETENSORS)


def send(http: httpx.Client, verb: str, body: bytes, content_type: str, accept: str = wire.JSON) -> httpx.Response:
    return http.post(f"{TINY}:{verb}", content=body, headers={"Content-Type": content_type, "Accept": accept})


def tensors_of(answer: httpx.Response) -> tuple[arrays.Tensors, arrays.Metadata]:
    assert answer.headers["content-type"] == wire.SAFETENSORS
    return arrays.decode(answer.raise_for_status().content)


def ranges_of(tensors: arrays.Tensors, name: str, row: int) -> list[dict[str, int]]:
    first, count = answer_tensors.ranges_from_tensors(name, tensors, len(tensors["tokens"])).row(row)
    return [{"first": f, "count": c} for f, c in zip(first.tolist(), count.tolist(), strict=True)]


def vectors_of(published: Published) -> NDArray[np.float16]:
    return np.concatenate([published.draft.tokens.vectors, published.draft.words.vectors])


def own_range(published: Published, word: str) -> dict[str, int] | None:
    """The senses of a word by the draft's own arrays."""
    tokens, words = published.draft.tokens, published.draft.words
    (row,) = np.flatnonzero(words.word_ids == words.word_ids[list(WORDS).index(word)])
    if len(WORDS[word]) == 1:
        first, end = tokens.offsets[WORDS[word][0]], tokens.offsets[WORDS[word][0] + 1]
    else:
        first, end = len(tokens.vectors) + words.offsets[row], len(tokens.vectors) + words.offsets[row + 1]
    return {"first": int(first), "count": int(end - first)} if end > first else None


def expected_set(published: Published, token: int) -> dict[str, Any]:
    """Candidates by a plain reading of DSKD §4.2 and of the rules for heads."""
    sets: dict[str, list[dict[str, int]]] = {"synonyms": [], "antonyms": []}
    words = [word for word, tokens in WORDS.items() if tokens == (token,) and TOKENS[token][1]]
    heads = [word for word in words if len([letter for letter in word if letter not in "./"]) >= 3]
    for name, types in (("synonyms", ("synonym",)), ("antonyms", ("antonym", "negation"))):
        others = {
            other if word == head else word
            for head in heads
            for word, other, type_, _, _, _, conflict in RELATIONS
            if head in (word, other) and type_ in types and not conflict
        }
        ranges = [own_range(published, other) for other in WORDS if other in others]
        sets[name] = [found for found in ranges if found is not None]
    offsets = published.draft.tokens.offsets
    own = {"first": int(offsets[token]), "count": int(offsets[token + 1] - offsets[token])}
    return {"token": token, "own": own, **sets}


def test_candidate_sets_of_the_whole_vocabulary(http: httpx.Client, published: Published) -> None:
    asked = [*range(len(TOKENS)), 2, 2]
    expected = [expected_set(published, token) for token in asked]
    answer = ask(http, "candidateSets", {"tokens": asked})
    assert answer.headers["content-type"] == wire.JSON
    assert answer.json() == {"sets": expected, "errors": []}
    assert any(entry["synonyms"] for entry in expected)
    assert any(len(entry["antonyms"]) > 1 for entry in expected)


def test_a_dot_is_no_letter_of_a_head(http: httpx.Client) -> None:
    up_with_a_dot, down = [row for row, (text, _) in enumerate(TOKENS) if text in (" u.p", " down")][::-1]
    sets = ask(http, "candidateSets", {"tokens": [up_with_a_dot, down]}).json()["sets"]
    assert sets[0]["antonyms"] == []
    assert len(sets[1]["antonyms"]) == 2  # up and u.p: a neighbour may be short


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.int64, np.uint64])
def test_candidate_sets_as_tensors(http: httpx.Client, published: Published, dtype: type[np.integer[Any]]) -> None:
    tensors, metadata = tensors_of(ask_tensors(http, "candidateSets", {"tokens": np.array([2, 1, 0, 2], dtype)}))
    assert metadata == {}
    assert tensors["tokens"].tolist() == [2, 1, 0, 2]
    for row, token in enumerate([2, 1, 0, 2]):
        expected = expected_set(published, token)
        own = {"first": int(tensors["own_first"][row]), "count": int(tensors["own_count"][row])}
        assert own == expected["own"]
        assert ranges_of(tensors, "synonyms", row) == expected["synonyms"]
        assert ranges_of(tensors, "antonyms", row) == expected["antonyms"]


def test_a_token_that_is_none_is_an_error_of_its_item(http: httpx.Client) -> None:
    found = ask(http, "candidateSets", {"tokens": [1, 40, 2, 2**32 - 1]}).json()
    assert [entry["token"] for entry in found["sets"]] == [1, 40, 2, 2**32 - 1]
    assert found["sets"][1] == {"token": 40, "own": {"first": 0, "count": 0}, "synonyms": [], "antonyms": []}
    assert [(error["index"], error["code"]) for error in found["errors"]] == [
        (1, "token-not-found"),
        (3, "token-not-found"),
    ]
    _, metadata = tensors_of(ask_tensors(http, "candidateSets", {"tokens": np.uint32([1, 40, 2, 2**32 - 1])}))
    assert json.loads(metadata["errors"]) == found["errors"]


def test_get_senses_in_the_order_asked_for(http: httpx.Client, published: Published) -> None:
    asked = [80, 0, 3, 3]
    expected = vectors_of(published)[asked]
    assert np.array_equal(np.float16(ask(http, "getSenses", {"ids": asked}).json()["vectors"]), expected)
    tensors, _ = tensors_of(ask_tensors(http, "getSenses", {"ids": np.uint32(asked)}))
    assert tensors["vectors"].dtype == np.float16
    assert np.array_equal(tensors["vectors"], expected)
    mixed = ask(http, "getSenses", {"ids": asked}, accept=wire.SAFETENSORS)  # the two formats mix
    assert mixed.content == ask_tensors(http, "getSenses", {"ids": np.uint32(asked)}).content


@pytest.mark.parametrize("p", [1, 5, 100])
def test_nearest_senses(http: httpx.Client, published: Published, p: int) -> None:
    held = vectors_of(published).astype(np.float64)
    queries = np.random.default_rng(1).normal(size=(7, D)).astype(np.float32)
    tensors, _ = tensors_of(ask_tensors(http, "nearestSenses", {"vectors": queries}, p=str(p)))
    said = ask(http, "nearestSenses", {"vectors": queries.tolist(), "p": p}).json()["nearest"]
    for row, query in enumerate(queries):
        apart = ((held - query) ** 2).sum(axis=1) / D
        order = np.argsort(apart, kind="stable")[:p]
        part = slice(*tensors["offsets"][row : row + 2].tolist())
        assert tensors["ids"][part].tolist() == order.tolist() == [near["id"] for near in said[row]]
        assert tensors["distances"][part] == pytest.approx(apart[order], rel=1e-6)
        assert [near["distance"] for near in said[row]] == pytest.approx(apart[order], rel=1e-6)


def test_nearest_senses_of_owners(http: httpx.Client, published: Published) -> None:
    held = vectors_of(published)
    owners = [1, 0, 12, 40, 1]  # 3 senses, none, 1, no token, 3
    queries = held[[1, 0, 40, 0, 2]]
    said = ask(http, "nearestSenses", {"vectors": queries.tolist(), "p": 2, "tokens": owners}).json()
    assert [len(row) for row in said["nearest"]] == [2, 0, 1, 0, 2]
    assert said["nearest"][0][0] == {"id": 1, "distance": 0.0}
    assert said["nearest"][4][0] == {"id": 2, "distance": 0.0}
    assert [error["index"] for error in said["errors"]] == [3]
    tensors, metadata = tensors_of(
        ask_tensors(http, "nearestSenses", {"vectors": queries, "tokens": np.uint32(owners)}, p="2")
    )
    assert tensors["ids"].tolist() == [near["id"] for row in said["nearest"] for near in row]
    assert json.loads(metadata["errors"]) == said["errors"]


def test_five_are_found_where_p_is_not_given(http: httpx.Client) -> None:
    assert len(ask(http, "nearestSenses", {"vectors": [[0] * D]}).json()["nearest"][0]) == 5
    tensors, _ = tensors_of(ask_tensors(http, "nearestSenses", {"vectors": np.zeros((1, D), np.float64)}))
    assert len(tensors["ids"]) == 5


def test_the_largest_request(http: httpx.Client) -> None:
    limit = wire.Limits().max_items
    assert len(ask(http, "getSenses", {"ids": [3] * limit}).json()["vectors"]) == limit


ROW = [0.5] * D


@pytest.mark.parametrize(
    ("verb", "body", "status", "code", "says"),
    [
        ("candidateSets", {"tokens": []}, 422, "invalid-input", "at least one"),
        ("getSenses", {"ids": []}, 422, "invalid-input", "at least one"),
        ("nearestSenses", {"vectors": []}, 422, "invalid-input", "n ≥ 1"),
        ("candidateSets", {"tokens": [1] * 100_000}, 413, "request-too-large", "100000 items in one request; at most"),
        ("getSenses", {"ids": [1] * 100_000}, 413, "request-too-large", "see /v1/limits"),
        ("nearestSenses", {"vectors": [[0]] * 100_000}, 413, "request-too-large", "100000 items"),
        ("candidateSets", {"tokens": [-1]}, 422, "invalid-input", "got -1 at index 0"),
        ("candidateSets", {"tokens": [0, 2**32]}, 422, "invalid-input", "at index 1"),
        ("candidateSets", {"tokens": [2**70]}, 422, "invalid-input", "larger than any id"),
        ("candidateSets", {"tokens": [1, "2"]}, 422, "invalid-input", "/tokens/1"),
        ("candidateSets", {"tokens": [1.5]}, 422, "invalid-input", "/tokens/0"),
        ("candidateSets", {"tokens": [True]}, 422, "invalid-input", "/tokens/0"),
        ("candidateSets", {"tokens": 3}, 422, "invalid-input", "/tokens"),
        ("candidateSets", {}, 422, "invalid-input", "/tokens: Field required"),
        ("candidateSets", [], 422, "invalid-input", ""),
        ("candidateSets", {"tokens": [1], "ids": [1]}, 422, "invalid-input", "/ids"),
        ("getSenses", {"ids": [0, SENSES]}, 404, "sense-not-found", "sense 81 at index 1 is not in tiny@1"),
        ("getSenses", {"ids": [-1]}, 404, "sense-not-found", "sense -1 at index 0"),
        ("nearestSenses", {"vectors": [ROW, [0.0] * 7]}, 422, "wrong-dimension", "the vector at index 1 has 7 numbers"),
        ("nearestSenses", {"vectors": [ROW, [float("nan")] * D]}, 422, "not-finite", "index 1"),
        ("nearestSenses", {"vectors": [[float("-inf")] * D]}, 422, "not-finite", "index 0"),
        ("nearestSenses", {"vectors": [[1e39] * D]}, 422, "not-finite", "index 0"),
        ("nearestSenses", {"vectors": [[None] * D]}, 422, "invalid-input", "/vectors/0/0"),
        ("nearestSenses", {"vectors": [ROW], "p": 0}, 422, "invalid-input", "1 .. 100, got 0"),
        ("nearestSenses", {"vectors": [ROW], "p": 101}, 422, "invalid-input", "1 .. 100, got 101"),
        ("nearestSenses", {"vectors": [ROW], "tokens": [1, 2]}, 422, "invalid-input", "2 owner tokens"),
        ("nearestSenses", {"vectors": [ROW], "tokens": []}, 422, "invalid-input", "at least one"),
        ("nearestSenses", {"vectors": [ROW], "tokens": [2**70]}, 422, "invalid-input", "larger than any id"),
    ],
)
def test_what_json_cannot_ask(http: httpx.Client, verb: str, body: object, status: int, code: str, says: str) -> None:
    expect_problem(ask(http, verb, body), status, code, says)


@pytest.mark.parametrize("verb", BULK)
@pytest.mark.parametrize("body", [b"", b"{", b'{"tokens": [1,]}', b"\xff\xfe", b"[" * 10_000, b"tokens=1"])
def test_what_is_no_json(http: httpx.Client, verb: str, body: bytes) -> None:
    expect_problem(send(http, verb, body, wire.JSON), 400, "malformed-body", "the body is not JSON")


ROWS = np.full((2, D), 0.5, np.float32)


@pytest.mark.parametrize(
    ("verb", "tensors", "metadata", "status", "code", "says"),
    [
        ("candidateSets", {"tokens": np.zeros(0, np.uint32)}, {}, 422, "invalid-input", "at least one"),
        ("candidateSets", {"tokens": np.zeros(100_000, np.uint32)}, {}, 413, "request-too-large", "100000 items"),
        ("nearestSenses", {"vectors": np.zeros((100_000, D), np.float16)}, {}, 413, "request-too-large", "100000"),
        ("candidateSets", {"tokens": np.zeros(2, np.float32)}, {}, 400, "malformed-body", "'tokens' is float32"),
        ("candidateSets", {"tokens": np.zeros((2, 2), np.uint32)}, {}, 400, "malformed-body", "of 2 dimensions"),
        ("candidateSets", {"ids": np.zeros(2, np.uint32)}, {}, 400, "malformed-body", "ids have no meaning here"),
        ("candidateSets", {}, {}, 400, "malformed-body", "'tokens' is missing"),
        ("candidateSets", {"tokens": np.array([-1])}, {}, 422, "invalid-input", "got -1 at index 0"),
        ("getSenses", {"ids": np.array([0, SENSES])}, {}, 404, "sense-not-found", "index 1"),
        ("nearestSenses", {"vectors": ROWS[:, :7]}, {}, 422, "wrong-dimension", "width 7"),
        ("nearestSenses", {"vectors": ROWS[:, :0]}, {}, 422, "invalid-input", "(n, 8)"),
        ("nearestSenses", {"vectors": ROWS * np.float32("nan")}, {}, 422, "not-finite", "index 0"),
        ("nearestSenses", {"vectors": ROWS * np.float32("inf")}, {}, 422, "not-finite", "index 0"),
        ("nearestSenses", {"vectors": ROWS}, {"p": "0"}, 422, "invalid-input", "got 0"),
        ("nearestSenses", {"vectors": ROWS}, {"p": "five"}, 422, "invalid-input", "'five'"),
        ("nearestSenses", {"vectors": ROWS}, {"p": "9" * 50}, 422, "invalid-input", "a whole number"),
        ("nearestSenses", {"vectors": ROWS, "tokens": np.uint32([1])}, {}, 422, "invalid-input", "1 owner tokens"),
    ],
)
def test_what_tensors_cannot_ask(
    http: httpx.Client,
    verb: str,
    tensors: arrays.Tensors,
    metadata: arrays.Metadata,
    status: int,
    code: str,
    says: str,
) -> None:
    expect_problem(ask_tensors(http, verb, tensors, **metadata), status, code, says)


WHOLE = arrays.encode({"tokens": np.uint32([1, 2, 3])})


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00" * 7, b'{"tokens": [1]}', WHOLE[:-1], WHOLE + b"\x00", WHOLE[:20], b"\xff" * 64, WHOLE[8:]],
)
def test_what_is_no_safetensors(http: httpx.Client, body: bytes) -> None:
    expect_problem(send(http, "candidateSets", body, wire.SAFETENSORS), 400, "malformed-body", "safetensors")


@pytest.mark.parametrize("verb", BULK)
def test_formats_that_are_not_there(http: httpx.Client, verb: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        expect_problem(send(http, verb, b"{}", content_type), 415, "unsupported-media-type", wire.SAFETENSORS)
    expect_problem(send(http, verb, b"{}", wire.JSON, "image/png"), 406, "not-acceptable", "'image/png'")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", wire.JSON),
        ("application/*", wire.JSON),
        (f"{wire.SAFETENSORS};q=0.9, */*;q=0.1", wire.SAFETENSORS),
        (f"{wire.SAFETENSORS}, {wire.JSON}", wire.JSON),  # equal: the default
        (f"{wire.JSON};q=0.5, {wire.SAFETENSORS}", wire.SAFETENSORS),
        (f"{wire.JSON};q=0, */*", wire.SAFETENSORS),
    ],
)
def test_the_format_is_negotiated(http: httpx.Client, accept: str, media: str) -> None:
    answer = ask(http, "getSenses", {"ids": [1]}, accept)
    assert answer.headers["content-type"] == media


def test_a_body_beyond_the_limit_is_refused(http: httpx.Client) -> None:
    limit = wire.Limits().max_body_bytes

    def in_pieces() -> Iterator[bytes]:  # of a length that nobody states
        for _ in range(limit // 2**20 + 1):
            yield b" " * 2**20

    for body in (in_pieces(), b" " * (limit + 1)):
        answer = http.post(f"{TINY}:getSenses", content=body, headers={"Content-Type": wire.JSON})
        expect_problem(answer, 413, "request-too-large", f"at most {limit}: split the request")


def test_an_unknown_dictionary(http: httpx.Client) -> None:
    answer = http.post("/v1/dictionaries/tiny@9:getSenses", json={"ids": [1]})
    expect_problem(answer, 404, "dictionary-not-found", "'tiny' has 1, latest")
    assert http.post("/v1/dictionaries/tiny:getSenses", json={"ids": [1]}).status_code == 200
