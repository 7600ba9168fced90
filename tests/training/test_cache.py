"""Senses on the device: what fits is asked for once, ahead of the training, which goes on while the service is away."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
import torch

from running_service import Service
from sensedict.client import SenseClient
from sensedict.errors import Unavailable
from sensedict.snapshot import Snapshot
from sensedict.source import CandidateSets
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.draws import Sampling
from sensedict_trainer.distil.prefetch import Prefetcher
from sensedict_trainer.distil.selection import Selection
from sensedict_trainer.distil.selection import select as choose
from sensedict_trainer.text import TokenWindow
from tiny_dictionary import TOKENS, D
from tiny_training import make_dictionary, make_teacher, make_windows

SAMPLING = Sampling(fraction=0.4, minimum=2, neighbours=2, seed=0)


def test_where_a_dictionary_fits_rows_are_ids_and_each_sense_comes_once() -> None:
    vectors = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float16)
    fetched: list[int] = []

    def fetch(ids: np.ndarray) -> np.ndarray:
        fetched.extend(ids.tolist())
        return vectors[ids]

    cache = SenseCache(10, 4, capacity=12, device=torch.device("cpu"))
    for ids in ([7, 2], [2, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]):  # held all the while, and there is room for all
        rows, _ = cache.load(np.array(ids), fetch)
        assert rows.tolist() == ids
    assert sorted(fetched) == list(range(10))
    assert torch.equal(cache.table, torch.from_numpy(vectors))


class Cut(httpx.HTTPTransport):
    """A network that can be cut."""

    cut = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("cut", request=request)
        return super().handle_request(request)


def test_training_goes_on_while_the_service_is_away(service: Service) -> None:
    random = np.random.default_rng(0)
    epoch = [
        [TokenWindow(f"{batch}-{row}", random.integers(1, len(TOKENS), 20)) for row in range(2)] for batch in range(4)
    ]
    transport = Cut()
    hidden = torch.from_numpy(random.standard_normal((20, D)).astype(np.float32))
    selections: dict[str, Selection] = {}
    with SenseClient(service.url, "tiny@1", transport=transport, patience=0.0) as source:
        cache = SenseCache(source.identity.senses, D, source.identity.senses, torch.device("cpu"))
        with Prefetcher(epoch * 3, source, cache, SAMPLING, selections, ahead=1) as prefetcher:
            hits = []
            for number, batch in enumerate(prefetcher):
                for window in batch.windows:
                    drawn = batch.draws[window.id]
                    if window.id not in selections:
                        selections[window.id] = choose(drawn, hidden, cache.table, cache.rows(drawn.ids), 2)
                    elif number >= 8:
                        assert not len(drawn.ids)  # only what was chosen is kept, the candidates are many
                transport.cut = number >= 3  # everything was asked for once
                hits.append(batch.hits / batch.wanted)
                assert batch.held is not None
                cache.release(batch.held)
    assert hits[0] == 0.0
    assert hits[4:] == [1.0] * 8


class Gate:
    """A snapshot whose answers wait until they are let through, as those of a service do that is very slow."""

    def __init__(self, inner: Snapshot) -> None:
        self._inner, self.identity = inner, inner.identity
        self._sets, self._senses = threading.Semaphore(0), threading.Semaphore(0)

    def answer(self, times: int) -> None:
        """Let so many answers of each kind through."""
        self._sets.release(times)
        self._senses.release(times)

    def candidate_sets(self, tokens: np.ndarray) -> CandidateSets:
        self._sets.acquire()
        return self._inner.candidate_sets(tokens)

    def get_senses(self, ids: np.ndarray) -> np.ndarray:
        self._senses.acquire()
        return self._inner.get_senses(ids)


def test_a_slow_service_is_asked_ahead_and_never_twice(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    windows = make_windows(teacher)
    epoch = [windows[start : start + 4] for start in range(0, 20, 4)]
    with Snapshot.open(make_dictionary(tmp_path, teacher)) as inner:
        source = Gate(inner)
        cache = SenseCache(inner.identity.senses, teacher.dim, inner.identity.senses, teacher.device)
        with Prefetcher([*epoch, *epoch], source, cache, SAMPLING, {}) as prefetcher:  # type: ignore[arg-type]
            source.answer(len(epoch))  # no more than one of each kind a batch of the first epoch
            taken = list(prefetcher)  # the second epoch asks nothing, or this would wait for ever
    assert [batch.hits == batch.wanted for batch in taken[5:]] == [True] * 5
    assert taken[0].hits == 0


def test_both_questions_are_asked_at_once(tmp_path: Path) -> None:
    """While a batch's senses are not there, the candidate sets of the batches behind it are asked for."""
    teacher = make_teacher(tmp_path / "teacher")
    windows = make_windows(teacher)
    batches, ahead = [windows[start : start + 2] for start in range(0, 20, 2)], 3
    asked = threading.Semaphore(0)

    class Told(Gate):
        def candidate_sets(self, tokens: np.ndarray) -> CandidateSets:
            asked.release()
            return self._inner.candidate_sets(tokens)

    with Snapshot.open(make_dictionary(tmp_path, teacher)) as inner:
        source = Told(inner)
        cache = SenseCache(inner.identity.senses, teacher.dim, inner.identity.senses, teacher.device)
        with Prefetcher(batches, source, cache, SAMPLING, {}, ahead) as prefetcher:  # type: ignore[arg-type]
            assert all(asked.acquire(timeout=60) for _ in range(2 + ahead))  # the first's senses are still held back
            source.answer(len(batches))
            assert [batch.windows for batch in prefetcher] == batches


def test_batches_are_ready_before_they_are_asked_for(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    windows = make_windows(teacher)
    epoch = [windows[start : start + 4] for start in range(0, 20, 4)]
    asked = threading.Semaphore(0)

    class Told(Gate):
        def get_senses(self, ids: np.ndarray) -> np.ndarray:
            asked.release()
            return self._inner.get_senses(ids)

        def candidate_sets(self, tokens: np.ndarray) -> CandidateSets:
            return self._inner.candidate_sets(tokens)

    with Snapshot.open(make_dictionary(tmp_path, teacher)) as inner:
        cache = SenseCache(inner.identity.senses, teacher.dim, inner.identity.senses, teacher.device)
        with Prefetcher(epoch, Told(inner), cache, SAMPLING, {}, ahead=3) as prefetcher:  # type: ignore[arg-type]
            batch = next(iter(prefetcher))  # it is trained on now, and meanwhile the next three are got
            for _ in range(4):
                assert asked.acquire(timeout=60)
            assert batch.wanted


def test_a_step_asks_for_what_is_there_as_long_as_answers_keep_up_with_steps(tmp_path: Path) -> None:
    """Where a batch's answers come within a step, however slow, none is waited for after the first batches."""
    teacher = make_teacher(tmp_path / "teacher")
    windows = make_windows(teacher)
    batches, ahead = [windows[start : start + 2] for start in range(0, 20, 2)], 3
    there = threading.Semaphore(0)

    class Told(Prefetcher):
        def _put(self, where: Any, item: Any) -> None:
            super()._put(where, item)
            if where is self._queue:
                there.release()

    with Snapshot.open(make_dictionary(tmp_path, teacher)) as inner:
        source = Gate(inner)
        cache = SenseCache(inner.identity.senses, teacher.dim, inner.identity.senses, teacher.device)
        with Told(batches, source, cache, SAMPLING, {}) as prefetcher:  # type: ignore[arg-type]
            asks, taken = iter(prefetcher), []
            source.answer(ahead)
            assert all(there.acquire(timeout=60) for _ in range(ahead))
            for _ in range(len(batches) - ahead):
                assert prefetcher._queue.qsize() == ahead  # before the step asks
                taken.append(next(asks))
                source.answer(1)  # during the step: candidate sets and vectors of one batch
                assert there.acquire(timeout=60)
            for _ in range(ahead):  # so many steps go by without any answer
                assert prefetcher._queue.qsize() > 0
                taken.append(next(asks))
            assert list(asks) == []
    assert [batch.windows for batch in taken] == batches


class Broken:
    """A snapshot that gives two answers to a question, and is away then."""

    def __init__(self, inner: Snapshot, question: str) -> None:
        self._inner, self._question, self._left = inner, question, 2

    def _answer(self, name: str, asked: np.ndarray) -> Any:
        if name == self._question:
            self._left -= 1
            if self._left < 0:
                raise Unavailable("it is away")
        return getattr(self._inner, name)(asked)

    def candidate_sets(self, tokens: np.ndarray) -> Any:
        return self._answer("candidate_sets", tokens)

    def get_senses(self, ids: np.ndarray) -> Any:
        return self._answer("get_senses", ids)


@pytest.mark.parametrize("question", ["candidate_sets", "get_senses"])
def test_what_goes_wrong_comes_after_the_batches_before_it(tmp_path: Path, question: str) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    windows = make_windows(teacher)
    batches = [windows[start : start + 2] for start in range(0, 20, 2)]
    with Snapshot.open(make_dictionary(tmp_path, teacher)) as inner:
        cache = SenseCache(inner.identity.senses, teacher.dim, inner.identity.senses, teacher.device)
        source: Any = Broken(inner, question)
        prefetcher, taken = Prefetcher(batches, source, cache, SAMPLING, {}, ahead=1), []

        def take() -> None:
            with prefetcher:
                for batch in prefetcher:
                    taken.append(batch.windows)

        with pytest.raises(Unavailable, match="it is away"):
            take()
    assert len(taken) >= 2
    assert taken == batches[: len(taken)]
    for thread in prefetcher._threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_whoever_leaves_early_waits_for_no_room(tmp_path: Path) -> None:
    """A batch that is held for ever leaves no room for the next, and the thread that waits for it ends all the same."""
    teacher = make_teacher(tmp_path / "teacher")
    windows = make_windows(teacher)
    batches = [windows[start : start + 2] for start in range(0, 20, 2)]
    with Snapshot.open(make_dictionary(tmp_path, teacher)) as inner:
        with Prefetcher(batches, inner, None, SAMPLING, {}) as prefetcher:
            wanted = [{int(i) for d in batch.draws.values() for i in d.ids} for batch in prefetcher]
        room = max(map(len, wanted))
        assert any(len(first | second) > room for first, second in pairwise(wanted))
        cache = SenseCache(inner.identity.senses, teacher.dim, room, teacher.device)
        with Prefetcher(batches, inner, cache, SAMPLING, {}) as prefetcher:
            next(iter(prefetcher))
        assert not any(thread.is_alive() for thread in prefetcher._threads)


class Hurried(Prefetcher):
    """Prepares numbers, of which one cannot be drawn for and one not be loaded, a thread stopping now and then."""

    def __init__(self, ahead: int, not_drawn: int, not_loaded: int) -> None:
        super().__init__([[]] * 12, cast(Any, None), None, SAMPLING, {}, ahead)
        self._wrong = (not_drawn, not_loaded)
        self._counts = [itertools.count(), itertools.count()]

    def _at(self, thread: int) -> int:
        number = next(self._counts[thread])
        if random.random() < 0.5:
            time.sleep(1e-5)
        if number == self._wrong[thread]:
            raise Unavailable("it is away")
        return number

    def _draw_for(self, windows: Any) -> Any:
        return self._at(0)

    def _load(self, drawn: Any) -> Any:
        return self._at(1)


def test_no_order_of_the_threads_leaves_one_behind() -> None:
    """Whatever fails when, and whenever the training leaves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for seed in range(600):
            ahead, not_drawn, not_loaded, leaves = np.random.default_rng(seed).integers(1, [3, 24, 24, 24]).tolist()
            taken = []
            with suppress(Unavailable), Hurried(ahead, not_drawn, not_loaded) as prefetcher:
                for number in prefetcher:
                    taken.append(number)
                    if len(taken) == leaves:
                        break
            for thread in prefetcher._threads:
                thread.join(timeout=60)
                assert not thread.is_alive(), seed
            assert taken == list(range(min(12, not_drawn, not_loaded, leaves))), seed
    finally:
        sys.setswitchinterval(before)
