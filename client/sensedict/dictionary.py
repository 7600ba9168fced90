"""The questions as methods: of a dictionary that is asked one thing after the other, and of one asked many at once.

What is asked, and what it promises, stands once, in `sensedict.questions`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from sensedict.exchange import Call, Found, Request, Stream
from sensedict.questions import Questions
from sensedict.source import Identity

P = ParamSpec("P")
T = TypeVar("T")


class Driver(Protocol):
    """What carries requests, each when it is asked to."""

    def send(self, request: Request[T]) -> T:
        """The answer of the request."""

    def close(self) -> None:
        """Give back what is held."""


class AsyncDriver(Protocol):
    """What carries requests, several at once."""

    async def send(self, request: Request[T]) -> T:
        """The answer of the request."""

    async def close(self) -> None:
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
) -> Callable[Concatenate[AsyncDictionary, P], Coroutine[Any, Any, T]]:
    """The question as a method to be awaited."""

    async def method(self: AsyncDictionary, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._answer(question(self._questions, *args, **kwargs))

    return _shown(method, question, "{}")


def _async_streamed(
    question: Callable[Concatenate[Questions, P], Stream[T]],
) -> Callable[Concatenate[AsyncDictionary, P], AsyncIterator[T]]:
    """The question as a method whose finds come to an `async for`."""

    def method(self: AsyncDictionary, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
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
    words = _answered(Questions.words)
    sense_map = _answered(Questions.sense_map)
    token = _answered(Questions.token)
    sense = _answered(Questions.sense)
    contexts = _answered(Questions.contexts)
    neighbours = _answered(Questions.neighbours)
    relations = _streamed(Questions.relations)
    relation_pages = _streamed(Questions.relation_pages)
    path = _answered(Questions.path)
    explain = _answered(Questions.explain)
    download_id_map = _answered(Questions.download_id_map)
    moves = _answered(Questions.moves)
    history = _answered(Questions.history)
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


class AsyncDictionary:
    """The questions of `Dictionary`, to be awaited: as many at once as the driver carries."""

    def __init__(self, driver: AsyncDriver, dictionary: str) -> None:
        self._driver = driver
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
    words = _awaited(Questions.words)
    sense_map = _awaited(Questions.sense_map)
    token = _awaited(Questions.token)
    sense = _awaited(Questions.sense)
    contexts = _awaited(Questions.contexts)
    neighbours = _awaited(Questions.neighbours)
    relations = _async_streamed(Questions.relations)
    relation_pages = _async_streamed(Questions.relation_pages)
    path = _awaited(Questions.path)
    explain = _awaited(Questions.explain)
    download_id_map = _awaited(Questions.download_id_map)
    moves = _awaited(Questions.moves)
    history = _awaited(Questions.history)
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
