"""An async client asked from a test that is none: each question waited for, each stream a list."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

from sensedict.client import AsyncSenseClient


class Waiting:
    """The methods of `AsyncSenseClient`, answered before they return."""

    def __init__(self, url: str, dictionary: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncSenseClient(url, dictionary, **options)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if inspect.iscoroutine(found):  # a property
            return self._runner.run(found)
        return lambda *args, **options: self._runner.run(_whole(found(*args, **options)))

    def end(self) -> None:
        """Close the client and its loop."""
        self._runner.run(self._client.close())
        self._runner.close()


async def _whole(answer: Any) -> Any:
    if isinstance(answer, AsyncIterator):
        return [found async for found in answer]
    return await answer
