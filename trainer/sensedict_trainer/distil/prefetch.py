"""Batches with their candidates already on the training device: asked for in the background, ahead of the training."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput
from sensedict.source import SenseSource
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.draws import Draw, Sampling, TokenCandidates, by_token, draw
from sensedict_trainer.distil.selection import Selection
from sensedict_trainer.text import TokenWindow


@dataclass(frozen=True)
class PreparedBatch:
    """A batch with what is drawn for it.

    Attributes:
        windows: the sequences.
        draws: of each window, by its id.
        held: rows of the cache that this batch holds; release them after its step.
        wanted: distinct senses that it needs; hits: of them, on the device already when it was prepared.
    """

    windows: Sequence[TokenWindow]
    draws: Mapping[str, Draw] = field(default_factory=dict)
    held: NDArray[np.int64] | None = None
    wanted: int = 0
    hits: int = 0


@dataclass(frozen=True)
class _Drawn:
    """A batch that was drawn for, and the distinct senses that it needs."""

    windows: Sequence[TokenWindow]
    draws: Mapping[str, Draw]
    ids: NDArray[np.int64]


T = TypeVar("T")
_Passed = queue.Queue[T | BaseException | None]  # what a thread hands on: an item, what went wrong, or that all is done


class Prefetcher:
    """Prepares batches in order in the background, a few ahead; what goes wrong there is raised at `next`.

    Two threads work one behind the other: one asks for candidate sets and draws, one asks for the senses drawn. So a
    service that is far away or slow is asked both questions at once, and none is waited for as long as one answer comes
    within a step.

    Args:
        batches: the run's batches, in order.
        source: the dictionary.
        cache: where the senses go; None where only positions are wanted.
        sampling: how positions and neighbours are drawn.
        selections: what was chosen for sequences in earlier epochs, by id: of those, only the chosen senses are needed.
        ahead: batches prepared and not yet taken, and as many drawn whose senses are not there yet.
    """

    def __init__(
        self,
        batches: Iterable[Sequence[TokenWindow]],
        source: SenseSource,
        cache: SenseCache | None,
        sampling: Sampling,
        selections: Mapping[str, Selection],
        ahead: int = 3,
    ) -> None:
        self._batches = batches
        self._source = source
        self._cache = cache
        self._sampling = sampling
        self._selections = selections
        self._candidates: dict[int, TokenCandidates] = {}
        self._related: dict[str, int] = {}  # of each window that was drawn for, `Draw.related`
        self._drawn: _Passed[_Drawn] = queue.Queue(ahead)
        self._queue: _Passed[PreparedBatch] = queue.Queue(ahead)
        self._stop = threading.Event()  # nobody wants more
        self._loaded = threading.Event()  # the second thread has ended, and takes no more from the first
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("draw", self._draw_all), ("prefetch", self._load_all))
        ]
        self.waited = 0.0  # seconds that the training spent waiting here

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._stop.set()
        _empty(self._queue)  # the second thread may wait to hand over
        if not self._loaded.is_set():  # or to be given something
            with suppress(queue.Full):
                self._drawn.put_nowait(None)
        if self._cache is not None:
            self._cache.close()
        if kind is not None:  # a thread may be waiting for a service that is away; it dies with the process
            return
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[PreparedBatch]:
        while True:
            start = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - start
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _draw_all(self) -> None:
        """The work of the first thread."""
        try:
            for windows in self._batches:
                if self._over():
                    return
                self._put(self._drawn, self._draw_for(windows))
            self._put(self._drawn, None)
        except BaseException as error:  # it is the trainer's to see, after the batches before it
            self._put(self._drawn, error)

    def _load_all(self) -> None:
        """The work of the second."""
        try:
            while (drawn := self._next()) is not None:
                self._put(self._queue, self._load(drawn))
            self._put(self._queue, None)
        except BaseException as error:
            self._put(self._queue, error)
        finally:  # in this order: whoever still hands over finds room, and hands over no more
            self._loaded.set()
            _empty(self._drawn)

    def _put(self, where: _Passed[T], item: T | BaseException | None) -> None:
        """Hand over, unless nobody is there any more to take it; without a look at the clock, which costs the steps."""
        if not self._over():
            where.put(item)

    def _over(self) -> bool:
        return self._stop.is_set() or self._loaded.is_set()

    def _next(self) -> _Drawn | None:
        """What was drawn next; None where all is done or nobody wants more."""
        item = self._drawn.get()
        if isinstance(item, BaseException):
            raise item
        return None if self._stop.is_set() else item

    def _draw_for(self, windows: Sequence[TokenWindow]) -> _Drawn:
        self._learn(windows)
        draws = {window.id: self._draw(window) for window in windows}
        chosen = [self._selections.get(window.id) for window in windows]
        parts = [
            draws[window.id].ids if found is None else np.concatenate([found.positives, found.negatives], axis=None)
            for window, found in zip(windows, chosen, strict=True)
        ]
        ids = np.unique(np.concatenate(parts))
        return _Drawn(windows, draws, ids[ids >= 0])

    def _load(self, drawn: _Drawn) -> PreparedBatch:
        if self._cache is None:
            return PreparedBatch(drawn.windows, drawn.draws)
        rows, hits = self._cache.load(drawn.ids, self._source.get_senses)
        return PreparedBatch(drawn.windows, drawn.draws, rows, len(drawn.ids), hits)

    def _draw(self, window: TokenWindow) -> Draw:
        """What is drawn for a window; without its candidates where it was chosen among them before: they are many."""
        found = self._selections.get(window.id)
        if found is not None and window.id in self._related:
            none = np.zeros(0, dtype=np.int64)
            return Draw(found.positions, none, none, none, self._related[window.id])
        drawn = draw(window.id, window.ids[1:], self._candidates, self._sampling)
        self._related[window.id] = drawn.related
        return drawn

    def _learn(self, windows: Sequence[TokenWindow]) -> None:
        """Ask for the candidates of the targets that were not met before."""
        targets = np.unique(np.concatenate([window.ids[1:] for window in windows]))
        new = np.array([token for token in targets.tolist() if token not in self._candidates], dtype=np.uint32)
        if not len(new):
            return
        sets = self._source.candidate_sets(new)
        if sets.errors:
            raise InvalidInput(f"the dictionary has no token {int(new[sets.errors[0].index])}: {sets.errors[0].detail}")
        self._candidates.update(by_token(sets))


def _empty(waiting: queue.Queue[Any]) -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()
