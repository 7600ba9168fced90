"""Functions of vectors in several processes: of short products Python's threads wait for the interpreter."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Vectors = NDArray[np.float16]
Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives torch one thread inside: to start threads for a short product takes longer than the product."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Processes:
    """Processes that end with this one; this one itself where there cannot be others. torch has one thread in each.

    Vectors go to them in files that are mapped, results come back by a pipe. They ignore Ctrl-C: whoever made them
    decides what it ends.

    Args:
        count: how many; with 1 all is done here.
        module: whose function is called, imported once for all of them.
        say: told why there are none, where some were asked for.
    """

    def __init__(self, count: int, module: str, say: Callable[[str], None]) -> None:
        self._count, self._module, self._say = count, module, say
        self._pool: ProcessPoolExecutor | None = None
        self._folder = ""

    def __enter__(self) -> Self:
        if self._count > 1:
            try:
                self._folder = tempfile.mkdtemp(prefix="sensedict-")
                self._pool = _pool(self._count, self._module, self._folder)
            except (OSError, ImportError, RuntimeError) as error:
                self._end(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def each(
        self, function: Callable[[Vectors, Task], Result], tasks: Sequence[tuple[Vectors, Task]]
    ) -> Generator[Result, None, None]:
        """The function's results, in the order of the tasks; those that processes failed to give are made here.

        Args:
            function: of the module's own level.
            tasks: vectors, (n, D) with n ≥ 1, and what else the function takes.
        """
        done = 0
        if self._pool is not None:
            try:
                for result in self._sent(self._pool, function, tasks):
                    done += 1
                    yield result
            except (OSError, ImportError, RuntimeError) as error:
                self._end(error)
        for vectors, task in tasks[done:]:
            with one_thread():
                result = function(vectors, task)
            yield result

    def _sent(
        self,
        pool: ProcessPoolExecutor,
        function: Callable[[Vectors, Task], Result],
        tasks: Sequence[tuple[Vectors, Task]],
    ) -> Iterator[Result]:
        """Files of one task more than there are processes: none waits, and the disk holds few."""
        waiting: deque[Future[Result]] = deque()
        for vectors, task in tasks:
            if len(waiting) > self._count:
                yield waiting.popleft().result()
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                np.save(file, vectors)
            waiting.append(pool.submit(_call, function, file.name, task))
        while waiting:
            yield waiting.popleft().result()

    def _end(self, why: Exception | None = None) -> None:
        if why is not None:
            self._say(f"k-means goes on in one process: {why or type(why).__name__}")
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._pool, self._folder = None, ""


def _pool(count: int, module: str, folder: str) -> ProcessPoolExecutor:
    # A fork of this process could inherit a lock that another thread holds. A server that imports torch once and is
    # forked has no threads; elsewhere than on Linux system libraries have, and each process imports it.
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload([__name__, module])
    return ProcessPoolExecutor(count, context, _begin, (folder,))


def _begin(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: str) -> None:
    """An executor's process would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _call(function: Callable[[Vectors, Task], Result], path: str, task: Task) -> Result:
    vectors = np.asarray(np.load(path, mmap_mode="c"))
    with suppress(OSError):  # Windows keeps a file that is mapped: it goes with its folder
        os.unlink(path)
    return function(vectors, task)
