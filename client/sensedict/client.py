"""The clients: the same questions over HTTP one after the other, over HTTP many at once, and of a file set.

What is asked, and what it promises, stands once, in `sensedict.questions`; a client carries it out.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from sensedict.exchange import Call, Found, Request, Stream
from sensedict.questions import Questions
from sensedict.service import Address, AsyncService, AsyncTransport, Service, Transport
from sensedict.source import Identity

P = ParamSpec("P")
T = TypeVar("T")


class Driver(Protocol):
    """What carries requests, each when it is asked to."""

    def send(self, request: Request[T]) -> T:
        """The answer of the request."""

    def close(self) -> None:
        """Give back what is held."""


def _answered(
    question: Callable[Concatenate[Questions, P], Call[T]],
) -> Callable[Concatenate[Dictionary, P], T]:
    """The question as a method that waits for its answer."""

    def method(self: Dictionary, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._answer(question(self._questions, *args, **kwargs))

    return _shown(method, question, "{}")


def _streamed(
    question: Callable[Concatenate[Questions, P], Stream[T]],
) -> Callable[Concatenate[Dictionary, P], Iterator[T]]:
    """The question as a method that gives what is found as it comes."""

    def method(self: Dictionary, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._found(question(self._questions, *args, **kwargs))

    return _shown(method, question, "Iterator[{}]")


def _awaited(
    question: Callable[Concatenate[Questions, P], Call[T]],
) -> Callable[Concatenate[AsyncSenseClient, P], Coroutine[Any, Any, T]]:
    """The question as a method to be awaited."""

    async def method(self: AsyncSenseClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._answer(question(self._questions, *args, **kwargs))

    return _shown(method, question, "{}")


def _async_streamed(
    question: Callable[Concatenate[Questions, P], Stream[T]],
) -> Callable[Concatenate[AsyncSenseClient, P], AsyncIterator[T]]:
    """The question as a method whose finds come to an `async for`."""

    def method(self: AsyncSenseClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._found(question(self._questions, *args, **kwargs))

    return _shown(method, question, "AsyncIterator[{}]")


def _shown(method: Callable[P, T], question: Callable[..., Any], form: str) -> Callable[P, T]:
    """The method as `help` is to show it: with the question's words, and what comes of its steps for the steps."""
    signature = inspect.signature(question)
    kind = str(signature.return_annotation).partition("[")[2].removesuffix("]")
    update_wrapper(method, question)
    method.__signature__ = signature.replace(return_annotation=form.format(kind))  # type: ignore[attr-defined]
    return method


class Dictionary:
    """The questions to one dictionary, wherever it is. Safe to use from several threads."""

    def __init__(self, driver: Driver, dictionary: str) -> None:
        self._driver = driver
        self._questions = Questions(dictionary)

    @property
    def identity(self) -> Identity:
        """The dictionary that answers; fixed from the first use on."""
        return self._answer(self._questions.identity())

    info = _answered(Questions.info)
    limits = _answered(Questions.limits)
    dictionaries = _answered(Questions.dictionaries)
    jobs = _streamed(Questions.jobs)
    job = _answered(Questions.job)
    word = _answered(Questions.word)
    token = _answered(Questions.token)
    sense = _answered(Questions.sense)
    contexts = _answered(Questions.contexts)
    neighbours = _answered(Questions.neighbours)
    relations = _streamed(Questions.relations)
    relation_pages = _streamed(Questions.relation_pages)
    path = _answered(Questions.path)
    explain = _answered(Questions.explain)
    download_id_map = _answered(Questions.download_id_map)
    candidate_sets = _answered(Questions.candidate_sets)
    get_senses = _answered(Questions.get_senses)
    iter_senses = _streamed(Questions.iter_senses)
    nearest_senses = _answered(Questions.nearest_senses)

    def close(self) -> None:
        """Give back what is held."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _answer(self, call: Call[T]) -> T:
        answer: Any = None
        while True:
            try:
                request = call.send(answer)
            except StopIteration as end:
                found: T = end.value
                return found
            answer = self._driver.send(request)

    def _found(self, stream: Stream[T]) -> Iterator[T]:
        answer: Any = None
        while True:
            try:
                step = stream.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Found):
                yield step.value
            else:
                answer = self._driver.send(step)


class SenseClient(Dictionary):
    """A dictionary of a service: a `SenseSource` over HTTP, and the questions that people ask.

    An alias, as `latest`, is looked up once; from then on the client names the version, so that a long training run
    has one dictionary whatever the alias does meanwhile. Safe to use from several threads.

    ```python
    with SenseClient("http://127.0.0.1:8000", "smollm2-demo@latest") as senses:
        for sense in senses.word("bank").senses:
            print(sense.count, sense.contexts[0].text)
        sets = senses.candidate_sets(np.array([1234, 567]))
        vectors = senses.get_senses(sets.own_first)
    ```

    Args:
        base_url: the service's root, e.g. `http://127.0.0.1:8000`.
        dictionary: `name@version` or `name@alias`; a bare name means its alias `latest`.
        timeout: seconds to wait for a connection, and for each next piece of an answer.
        patience: seconds in which a service that is away is asked again; no attempt starts later.
        key: for services that ask for one; left out: the environment's SENSEDICT_KEY.
        connections: most connections open at once; further requests wait for one.
        transport: what carries the requests, where it is not the network.

    Raises:
        ConfigurationError: base_url is not an http address, or the key can be none.
    """

    def __init__(
        self,
        base_url: str,
        dictionary: str,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        key: str | None = None,
        connections: int = 20,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(Service(Address(base_url, timeout, patience, connections, key), transport), dictionary)


class AsyncSenseClient:
    """The questions of `SenseClient`, to be awaited: as many at once as there are connections.

    ```python
    async with AsyncSenseClient("http://127.0.0.1:8000", "smollm2-demo@latest") as senses:
        light, dark = await asyncio.gather(senses.word("light"), senses.word("dark"))
        async for relation in senses.relations("light", "antonym"):
            print(relation.other)
    ```

    Args: as of `SenseClient`.

    Raises:
        ConfigurationError: base_url is not an http address, or the key can be none.
    """

    def __init__(
        self,
        base_url: str,
        dictionary: str,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        key: str | None = None,
        connections: int = 20,
        transport: AsyncTransport | None = None,
    ) -> None:
        self._driver = AsyncService(Address(base_url, timeout, patience, connections, key), transport)
        self._questions = Questions(dictionary)

    @property
    def identity(self) -> Coroutine[Any, Any, Identity]:
        """The dictionary that answers, to be awaited; fixed from the first use on."""
        return self._answer(self._questions.identity())

    info = _awaited(Questions.info)
    limits = _awaited(Questions.limits)
    dictionaries = _awaited(Questions.dictionaries)
    jobs = _async_streamed(Questions.jobs)
    job = _awaited(Questions.job)
    word = _awaited(Questions.word)
    token = _awaited(Questions.token)
    sense = _awaited(Questions.sense)
    contexts = _awaited(Questions.contexts)
    neighbours = _awaited(Questions.neighbours)
    relations = _async_streamed(Questions.relations)
    relation_pages = _async_streamed(Questions.relation_pages)
    path = _awaited(Questions.path)
    explain = _awaited(Questions.explain)
    download_id_map = _awaited(Questions.download_id_map)
    candidate_sets = _awaited(Questions.candidate_sets)
    get_senses = _awaited(Questions.get_senses)
    iter_senses = _async_streamed(Questions.iter_senses)
    nearest_senses = _awaited(Questions.nearest_senses)

    async def close(self) -> None:
        """Give the connections back."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _answer(self, call: Call[T]) -> T:
        answer: Any = None
        while True:
            try:
                request = call.send(answer)
            except StopIteration as end:
                found: T = end.value
                return found
            answer = await self._driver.send(request)

    async def _found(self, stream: Stream[T]) -> AsyncIterator[T]:
        answer: Any = None
        while True:
            try:
                step = stream.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Found):
                yield step.value
            else:
                answer = await self._driver.send(step)
