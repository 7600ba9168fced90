"""HEAD as GET without its body, whatever an application sends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from sensedict_server.heads import Heads


@pytest.mark.parametrize("pieces", [1, 3])
def test_one_empty_body_is_sent_even_by_who_never_pauses(pieces: int) -> None:
    seen: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for left in reversed(range(pieces)):
            await send({"type": "http.response.body", "body": b"x", "more_body": left > 0})

    sent: list[Message] = []

    async def busy_send(message: Message) -> None:
        await anyio.lowlevel.checkpoint()  # as a connection whose buffer is full
        sent.append(message)

    async def receive() -> Message:
        raise NotImplementedError

    async def ask() -> None:
        scope: dict[str, Any] = {"type": "http", "method": "HEAD", "headers": []}
        await Heads(application)(scope, receive, busy_send)
        assert scope["method"] == "HEAD"

    anyio.run(ask)
    assert seen == ["GET"]
    assert sent[1:] == [{"type": "http.response.body"}]
