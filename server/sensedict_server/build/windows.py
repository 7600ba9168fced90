"""The corpus as windows of tokens, many in a few arrays: what a build counts, keeps in its store, and reads again."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from sensedict_trainer.harvest import KeyPolicy
    from sensedict_trainer.text import TokenWindow

BLOCK_TOKENS = 1 << 17  # looked at together: some 10 MB of numbers about them
NO_KEY = -1


@dataclass(frozen=True)
class Windows:
    """Consecutive windows of the corpus, their tokens one after another.

    Attributes:
        first: number of the first window in the corpus.
        ids: (n,) int32 tokens; lengths: (w,) int32 tokens of each window.
        draws: (w,) uint64, what random choices about a window are keyed by, see `sensedict_trainer.hashing`.
    """

    first: int
    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    draws: NDArray[np.uint64]

    @classmethod
    def from_tensors(cls, first: int, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The windows of a token file."""
        return cls(first, tensors["ids"], tensors["lengths"], tensors["window_keys"])

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """What a token file holds."""
        return {"ids": self.ids, "lengths": self.lengths, "window_keys": self.draws}

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(w,) where each window begins."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    @cached_property
    def places(self) -> NDArray[np.int32]:
        """(n,) the window of each token, counted from 0."""
        return np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)

    @cached_property
    def positions(self) -> NDArray[np.int32]:
        """(n,) the place of each token in its window."""
        return (np.arange(len(self.ids)) - self.starts[self.places]).astype(np.int32)

    def keys(self, policy: KeyPolicy) -> NDArray[np.int32]:
        """(n,) the token under which the state at each position is kept, as the text alone gives it.

        With `input` that is its own token; else the one that follows, `NO_KEY` at the end of a window. Of the key
        policy `predicted` it is a guess.
        """
        if policy == "input":
            return self.ids
        following = np.append(self.ids[1:], np.int32(NO_KEY))
        following[self.starts + self.lengths - 1] = NO_KEY
        return following

    @cached_property
    def priorities(self) -> NDArray[np.uint64]:
        """(n,) uniform; of a key, the positions of lowest priority are kept."""
        from sensedict_trainer.hashing import mix

        return mix(self.draws[self.places], self.positions)

    def split(self) -> list[TokenWindow]:
        """The windows one by one, named by their numbers."""
        from sensedict_trainer.text import TokenWindow

        return [
            TokenWindow(f"window {self.first + i} of the corpus", ids)
            for i, ids in enumerate(np.split(self.ids, self.starts[1:]))
        ]


class WindowLog:
    """The windows of a corpus in their order, to be read several times; in memory while they are few, else on disk.

    Use it in a `with` block: the file has no name, and is gone with the block or with the process.

    Args:
        memory: bytes of tokens that are held in memory.
        folder: where the file is made; None for the system's folder of temporary files.
    """

    def __init__(self, memory: int, folder: Path | None = None) -> None:
        self._folder = folder
        self._file = tempfile.SpooledTemporaryFile(max_size=memory, dir=None if folder is None else str(folder))  # noqa: SIM115 - see __exit__
        self._lengths = array("i")
        self._draws = array("Q")
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def fill(
        self, windows: Iterable[TokenWindow], seed: int, advance: Callable[[int], object] = lambda tokens: None
    ) -> None:
        """Take in a corpus, once.

        Args:
            seed: of the choice of hidden states.
            advance: told the number of tokens read.

        Raises:
            InvalidInput: there is no window.
            ConfigurationError: the disk is full.
        """
        from sensedict_trainer.hashing import sequence_key
        from sensedict_trainer.text import NO_WINDOW

        passed = 0
        for window in windows:
            ids = window.ids.astype("<i4")
            self._write(ids.data)
            self._lengths.append(len(ids))
            self._draws.append(int(sequence_key(seed, window.id, "reservoir")))
            self._digest.update(f"{window.id}\x00{len(ids)}\x00".encode("utf-8", "surrogatepass"))
            self._digest.update(ids.data)
            passed += len(ids)
            if passed >= BLOCK_TOKENS:
                advance(passed)
                passed = 0
        advance(passed)
        if not self._lengths:
            raise InvalidInput(NO_WINDOW)

    @property
    def text_hash(self) -> str:
        """sha256 over the windows' names and tokens, as `sensedict_trainer.text.text_hash`."""
        return self._digest.hexdigest()

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """(w,) tokens of each window."""
        return np.frombuffer(self._lengths, dtype=np.int32)

    @cached_property
    def draws(self) -> NDArray[np.uint64]:
        """(w,) see `Windows`."""
        return np.frombuffer(self._draws, dtype=np.uint64)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """(w,) tokens up to the end of each window."""
        return np.cumsum(self.lengths, dtype=np.int64)

    @property
    def tokens(self) -> int:
        """Of the whole corpus."""
        return int(self.ends[-1])

    def windows(self, start: int, stop: int) -> Windows:
        """The windows `start .. stop`."""
        begin = int(self.ends[start - 1]) if start else 0
        self._file.seek(4 * begin)
        data = self._file.read(4 * (int(self.ends[stop - 1]) - begin))
        ids = np.frombuffer(data, dtype="<i4")
        return Windows(start, ids, self.lengths[start:stop], self.draws[start:stop])

    def blocks(self, start: int, stop: int) -> Iterator[Windows]:
        """The windows `start .. stop`, about `BLOCK_TOKENS` at once."""
        while start < stop:
            before = int(self.ends[start - 1]) if start else 0
            end = int(np.searchsorted(self.ends, before + BLOCK_TOKENS, side="right"))
            end = min(stop, max(start + 1, end))
            yield self.windows(start, end)
            start = end

    def _write(self, data: memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            place = self._folder or tempfile.gettempdir()
            raise ConfigurationError(
                f"no room for the corpus' tokens in {os.fspath(place)}, four bytes each while it is counted: make room "
                "there, or lower --tokens"
            ) from error
