"""What is answered past the framework must refuse what the framework refuses, and nothing that takes long."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from conftest import Published
from running_service import Service
from sensedict import answer_tensors, arrays, wire
from sensedict.errors import RequestTooLarge
from sensedict_server.catalogue import Catalogue
from sensedict_server.http_protocol import WHOLE
from sensedict_server.methods import only_the_methods_of_a_verb
from sensedict_server.routes import bulk
from sensedict_server.routes.parameters import only_known_parameters
from sensedict_server.shortcut import AtOnce
from sensedict_server.uses import Uses
from service_metrics import numbers

TINY = "/v1/dictionaries/tiny@1"
MEDIA = wire.SAFETENSORS.encode()
TOKENS = np.uint32([2, 1, 40, 2])


def test_the_bulk_routes_have_no_dependency_that_the_shortcut_leaves_out() -> None:
    """The two of every route refuse methods and parameters, with which the shortcut passes a request on.

    Another one must be called in `bulk.opened_at_hand` and `AtOnce` too, and then be named here.
    """
    called = {each.call for route in bulk.router.routes if isinstance(route, APIRoute) for each in dependencies(route)}
    assert called <= {only_the_methods_of_a_verb, only_known_parameters}
    assert not bulk.router.dependencies


def dependencies(route: APIRoute) -> list[Any]:
    """Of a route, and those in turn that these have."""
    found, waiting = [], list(route.dependant.dependencies)
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].dependencies
    return found


def test_candidate_sets_at_once_or_passed_on_with_their_body(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(published.engine, published.settings.files)
    catalogue.snapshot(catalogue.resolve("tiny@1"))
    app = Starlette()
    app.state.catalogue, app.state.uses = catalogue, Uses()
    passed: list[bytes] = []

    async def others(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append((await receive())["body"])

    def ask(tensors: dict[str, Any], **changed: Any) -> bytes:
        body = arrays.encode(tensors)
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", MEDIA), (b"accept", MEDIA)]
        scope = {"type": "http", "method": "POST", "path": f"{TINY}:candidateSets", "query_string": b"", "app": app}
        given = {**scope, "headers": headers, "state": {WHOLE: True}, **changed}
        asyncio.run(AtOnce(others, catalogue)(given, receive, send))
        return b"".join(message.get("body", b"") for message in sent)

    found = answer_tensors.candidate_sets_from_tensors(*arrays.decode(ask({"tokens": TOKENS})))
    assert found.tokens.tolist() == TOKENS.tolist()
    assert not passed
    assert ask({"tokens": TOKENS}, state={}) == b""  # the rest of the body would have to be waited for
    assert ask({"ids": TOKENS}, path=f"{TINY}:getSenses") == b""
    monkeypatch.setattr(bulk, "_FEW_RANGES", 3)
    assert ask({"tokens": TOKENS}) == b""
    assert passed == [arrays.encode({name: TOKENS}) for name in ("tokens", "ids", "tokens")]
    monkeypatch.setattr(bulk, "LIMITS", wire.Limits(max_candidate_bytes=20))
    with pytest.raises(RequestTooLarge, match=r"at most 20: ask for fewer tokens at once.*see /v1/limits"):
        ask({"tokens": TOKENS})


def test_json_is_bounded_by_the_memory_that_it_takes(service: Service) -> None:
    with httpx.Client(base_url=service.url, headers={"Content-Type": wire.JSON}) as http:
        zeros = b'{"vectors": [[' + b"0," * (8 * 2**20) + b"0]]}"
        answer = http.post(f"{TINY}:nearestSenses", content=zeros)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:sensedict:problem:request-too-large")
    assert wire.SAFETENSORS in answer.json()["detail"]


def test_items_of_answers_at_once_are_counted(service: Service) -> None:
    name = f"sensedict_bulk_items_total{{route={wire.CANDIDATE_SETS}}}"
    headers = {"Content-Type": wire.SAFETENSORS, "Accept": wire.SAFETENSORS}
    with httpx.Client(base_url=service.url, headers=headers) as http:
        ask = [http.post(f"{TINY}:candidateSets", content=arrays.encode({"tokens": TOKENS})) for _ in range(2)]
        before = numbers(http)[name]
        assert [answer.status_code for answer in ask] == [200, 200]
        http.post(f"{TINY}:candidateSets", content=arrays.encode({"tokens": TOKENS})).raise_for_status()
        assert numbers(http)[name] - before == len(TOKENS)
