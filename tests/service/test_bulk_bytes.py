"""Bulk answers as bytes: in pieces and whole, past the framework and through it, to many clients at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from fastapi import Response
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from conftest import Published
from running_service import Service
from sensedict import answer_tensors, arrays, wire
from sensedict.snapshot import Snapshot
from sensedict_server.catalogue import Catalogue
from sensedict_server.shortcut import Shortcut
from sensedict_server.uses import Uses
from sensedict_server.vectors import PIECE, answer_vectors
from tiny_dictionary import D

TINY = "/v1/dictionaries/tiny@1"
RANDOM = np.random.default_rng(5)


async def messages_of(response: Response) -> list[Message]:
    sent: list[Message] = []

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, never, send)
    return sent


@pytest.mark.parametrize(("rows", "pieces"), [(1, 1), (127, 1), (128, 2), (700, 7)])
def test_vectors_are_sent_in_pieces_that_make_one_file(rows: int, pieces: int) -> None:
    """A row has 8 KiB; with the header, 128 of them are more than a piece."""
    vectors = RANDOM.standard_normal((300, 4096)).astype(np.float16)
    ids = RANDOM.integers(0, 300, rows).astype(np.uint32)

    async def sent(media: str) -> list[Message]:
        return await messages_of(await answer_vectors(vectors, ids, media))

    start, *bodies = asyncio.run(sent(wire.SAFETENSORS))
    whole = b"".join(message["body"] for message in bodies)
    assert whole == arrays.encode({"vectors": vectors[ids]})
    assert dict(start["headers"])[b"content-length"] == str(len(whole)).encode()
    assert max(len(message["body"]) for message in bodies) <= PIECE + 200
    assert sum(len(message["body"]) > 200 for message in bodies) >= pieces - 1
    if rows < 200:
        _, *texts = asyncio.run(sent(wire.JSON))
        assert json.loads(b"".join(message["body"] for message in texts)) == json.loads(
            to_json({"vectors": vectors[ids].tolist()})
        )


def bodies() -> list[tuple[str, bytes]]:
    """Requests that are right, and some that are not."""
    vectors = RANDOM.standard_normal((9, D)).astype(np.float32)
    whole = {
        "candidateSets": {"tokens": np.uint32([2, 1, 40, 2])},
        "getSenses": {"ids": np.uint32([80, 0, 3, 3])},
        "nearestSenses": {"vectors": vectors, "tokens": np.uint32([1, 1, 2, 0, 5, 5, 5, 39, 40])},
    }
    wrong = {
        "candidateSets": {"tokens": np.zeros(0, np.uint32)},
        "getSenses": {"ids": np.uint32([81])},
        "nearestSenses": {"vectors": vectors, "others": np.uint32([1])},
    }
    many = {"ids": np.zeros(20_000, np.uint32)}
    made = [(verb, arrays.encode(tensors)) for group in (whole, wrong) for verb, tensors in group.items()]
    return [*made, ("getSenses", arrays.encode(many)), ("getSenses", b"no tensors"), ("getSenses", b"")]


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers={"Content-Type": wire.SAFETENSORS}) as client:
        yield client


def test_both_ways_give_the_same(http: httpx.Client) -> None:
    """With a second medium in Accept, the framework answers."""
    for verb, body in bodies():
        answers = [
            http.post(f"{TINY}:{verb}", content=body, headers={"Accept": accept, "X-Request-ID": "same"})
            for accept in (wire.SAFETENSORS, f"{wire.SAFETENSORS}, text/plain;q=0.1")
        ]
        one, other = [(answer.status_code, answer.content, {**answer.headers, "date": ""}) for answer in answers]
        assert one == other


def test_only_what_is_at_hand_is_answered_past_the_framework(published: Published) -> None:
    passed: list[Scope] = []

    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)

    catalogue = Catalogue(published.engine, published.settings.files)
    app = Starlette()
    app.state.catalogue, app.state.uses = catalogue, Uses()
    shortcut = Shortcut(framework, catalogue)
    media = wire.SAFETENSORS.encode()
    body = arrays.encode({"ids": np.uint32([5, 0])})

    def ask(**changed: object) -> bytes:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", media), (b"accept", media)]
        scope = {"type": "http", "method": "POST", "path": f"{TINY}:getSenses", "query_string": b"", "app": app}
        asyncio.run(shortcut({**scope, "headers": headers, "state": {}, **changed}, receive, send))
        return b"".join(message.get("body", b"") for message in sent)

    assert ask() == b""  # nobody asked for the dictionary before
    catalogue.snapshot(catalogue.resolve("tiny@1"))
    vectors = published.draft.tokens.vectors[[5, 0]]
    assert ask() == arrays.encode({"vectors": vectors})
    assert len(passed) == 1
    others = [
        {"method": "PUT"},
        {"query_string": b"a=b"},
        {"path": f"{TINY}:other"},
        {"path": "/v1/dictionaries/tiny@latest:getSenses"},
        {"headers": [(b"content-type", media), (b"accept", b"*/*")]},
        {"headers": [(b"content-type", b"application/json"), (b"accept", media)]},
    ]
    assert [ask(**changed) for changed in others] == [b""] * len(others)
    assert len(passed) == 1 + len(others)


def test_many_clients_at_once_get_what_one_gets(http: httpx.Client, published: Published) -> None:
    with Snapshot.open(published.folder) as senses:

        def ask(seed: int) -> None:
            random = np.random.default_rng(seed)
            n = int(random.integers(1, 2_000))
            tokens, ids = random.integers(0, 43, n).astype(np.uint32), random.integers(0, 81, n).astype(np.uint32)
            vectors = random.standard_normal((n, D)).astype(np.float32)
            expected = {
                "candidateSets": answer_tensors.candidate_sets_to_tensors(senses.candidate_sets(tokens)),
                "getSenses": ({"vectors": senses.get_senses(ids)}, {}),
                "nearestSenses": answer_tensors.nearest_senses_to_tensors(senses.nearest_senses(vectors, 5, tokens)),
            }
            asked = {
                "candidateSets": {"tokens": tokens},
                "getSenses": {"ids": ids},
                "nearestSenses": {"vectors": vectors, "tokens": tokens},
            }
            for verb, tensors in asked.items():
                answer = http.post(
                    f"{TINY}:{verb}", content=arrays.encode(tensors), headers={"Accept": wire.SAFETENSORS}
                )
                found, metadata = arrays.decode(bytearray(answer.raise_for_status().content))
                assert arrays.encode(found, metadata) == arrays.encode(*expected[verb])
                assert all(tensor.flags.aligned for tensor in found.values())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(32)))
