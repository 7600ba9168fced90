"""Functions of vectors in several processes: of short products Python's threads wait for the interpreter."""

from __future__ import annotations

import math
import mmap
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
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray

Vectors = NDArray[np.float16]
Task = TypeVar("Task")
Result = TypeVar("Result")


def shared(*shape: int) -> Vectors:
    """Zeros that `Processes` hand over without a copy; on other systems than Linux they are copied like any."""
    if sys.platform != "linux":
        return np.zeros(shape, dtype=np.float16)
    return np.frombuffer(_Shared(max(1, 2 * math.prod(shape))), np.float16, math.prod(shape)).reshape(shape)


if sys.platform == "linux":

    class _Shared(mmap.mmap):
        """Memory that belongs to no file: a folder for such files is often too small, as /dev/shm in a container."""

        path: str  # by which this user's processes open it, as long as it is in use here

        def __new__(cls, size: int) -> Self:
            descriptor = os.memfd_create("sensedict")
            try:
                os.ftruncate(descriptor, size)
                made = super().__new__(cls, descriptor, size)
            except BaseException:
                os.close(descriptor)
                raise
            with suppress(OSError):  # a system without huge pages
                made.madvise(mmap.MADV_HUGEPAGE)
            made.path = f"/proc/{os.getpid()}/fd/{descriptor}"
            finalize(made, os.close, descriptor)
            return made


@dataclass(frozen=True)
class _Place:
    """Where a process finds vectors: in a file, from an offset in bytes; gone once read where they are a copy."""

    path: str
    offset: int
    shape: tuple[int, ...]
    copy: bool

    def read(self) -> Vectors:
        vectors = np.memmap(self.path, np.float16, "c", self.offset, self.shape)
        if self.copy:
            with suppress(OSError):  # Windows keeps a file that is mapped: it goes with its folder
                os.unlink(self.path)
        return np.asarray(vectors)


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

    Vectors that are `shared` are mapped where they are, others go to them in files; results come back by a pipe. They
    ignore Ctrl-C: whoever made them decides what it ends.

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
            place = _shared_place(vectors) or self._copied(vectors)
            waiting.append(pool.submit(_call, function, place, task))
        while waiting:
            yield waiting.popleft().result()

    def _copied(self, vectors: Vectors) -> _Place:
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(np.ascontiguousarray(vectors).data)
        return _Place(file.name, 0, vectors.shape, copy=True)

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


def _shared_place(vectors: Vectors) -> _Place | None:
    """None where the vectors are not `shared`."""
    first: Any = vectors
    while isinstance(first.base, np.ndarray):
        first = first.base
    path = getattr(getattr(first.base, "obj", None), "path", None)  # numpy holds a memoryview of what it was given
    if path is None or not vectors.flags.c_contiguous:
        return None
    return _Place(path, vectors.ctypes.data - first.ctypes.data, vectors.shape, copy=False)


def _call(function: Callable[[Vectors, Task], Result], place: _Place, task: Task) -> Result:
    return function(place.read(), task)
