"""Where a build's shards are kept: a folder, or any place that fsspec knows by its URL."""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import fsspec
import numpy as np
import tenacity
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from sensedict import arrays
from sensedict.errors import ConfigurationError, Corrupt, MalformedBody, Unavailable

T = TypeVar("T")

ATTEMPTS = 5
_HEAD = 4096  # bytes asked for first: the header of a shard is shorter
_BLOCK = 16 << 20  # bytes handed to a file system at once
_SCRATCH = ".tmp"
_OURS = re.compile(rf"\.[0-9a-f]{{8}}\.safetensors({re.escape(_SCRATCH)})?$")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_KNOWN = 4096  # files of a store whose headers are remembered
# What a place says that may answer in a while: an object store that is busy, or broke down inside, is EBUSY, EREMOTEIO.
_PASSING = tuple(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "EBUSY", "EIO", "EREMOTEIO", "ETIMEDOUT", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED"),
        *("ENETDOWN", "ENETUNREACH", "EHOSTUNREACH", "EPIPE", "ESTALE"),
    )
    if hasattr(errno, name)
)


@dataclass(frozen=True)
class Stored:
    """A file that was written: its name in the store, its length in bytes, its sha256 (hex)."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Rows:
    """The rows `start .. stop` of one array of a file."""

    file: str
    tensor: str
    start: int
    stop: int


@lru_cache(maxsize=16)
def _layouts(url: str) -> dict[str, dict[str, arrays.Place]]:
    """Where arrays lie in the files of a store, as far as this process has looked; no name is used twice."""
    return {}


class Store:
    """Files of arrays, each written once, whole or not at all, under a name that no other attempt has.

    A place that does not answer is asked `ATTEMPTS` times.

    Args:
        url: a folder, or a URL as `s3://bucket/builds`; it is made where it is missing.

    Raises:
        ConfigurationError: the kind of URL is unknown, the package for it is not installed, or the URL lacks a part.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or url
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except Exception as error:  # file systems raise all kinds: of a URL that lacks a part often a TypeError
            reason = str(error) or type(error).__name__
            raise ConfigurationError(f"the store {url} cannot be opened: {reason}") from error
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._files, LocalFileSystem)
        self._layouts = _layouts(self.url)

    @property
    def folder(self) -> str | None:
        """The folder on this machine; None where files are kept elsewhere."""
        return self._root if self._local else None

    def write(self, name: str, tensors: Mapping[str, NDArray[Any]]) -> Stored:
        """Write arrays; their memory goes to the file as it is.

        Raises:
            ConfigurationError: the place is full or may not be written; names the file, of which nothing is left.
            Unavailable: the place does not answer.
        """
        file = f"{name}.{secrets.token_hex(4)}.safetensors"
        blocks = arrays.blocks(tensors)
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
        self._asked(file, "written", lambda: self._write(self._path(file), blocks))
        return Stored(file, sum(block.nbytes for block in blocks), digest.hexdigest())

    def read(self, file: str, sha256: str | None) -> dict[str, NDArray[Any]]:
        """All arrays of a file.

        Raises:
            Corrupt: it is gone, cut short, or its bytes are not those of `sha256`.
            Unavailable: the place does not answer.
        """
        data: bytes = self._asked(file, "read", lambda: self._files.cat_file(self._path(file)))
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise Corrupt(f"{self._name(file)} is damaged: its sha256 is another than when it was written")
        try:
            return arrays.decode(data)[0]
        except MalformedBody as error:
            raise Corrupt(f"{self._name(file)} is damaged: {error}") from error

    def rows(self, wanted: Sequence[Rows]) -> list[NDArray[Any] | Corrupt]:
        """Rows of arrays, and no more bytes than theirs, asked for side by side where the place can; not verified.

        Returns:
            Of each its rows; or what is wrong: the file is gone or cut short, has another header, or no such rows.

        Raises:
            Unavailable: the place does not answer.
        """
        damaged = self._look_into([part.file for part in wanted])
        places = [damaged.get(part.file) or self._place(part) for part in wanted]
        there = [(part, at) for part, at in zip(wanted, places, strict=True) if isinstance(at, arrays.Place)]
        read = iter(self._ranges([(part.file, at.begin, at.end) for part, at in there]))
        return [_array(next(read), at) if isinstance(at, arrays.Place) else at for at in places]

    def exists(self, file: str) -> bool:
        """Whether the file is there.

        Raises:
            Unavailable: the place does not answer.
        """
        self._files.invalidate_cache()
        try:
            self._asked(file, "looked for", lambda: self._files.info(self._path(file)))
        except Corrupt:
            return False
        return True

    def remove(self, file: str) -> None:
        """Remove a file; one that is gone is none."""
        self._layouts.pop(file, None)
        self._asked(file, "removed", lambda: self._remove(self._path(file)))

    def remove_all(self) -> None:
        """Remove every file that a store of ours has written there, and nothing else."""
        self._layouts.clear()
        self._files.invalidate_cache()
        found: list[str] = self._asked("", "listed", lambda: self._files.find(self._root))
        for path in found:
            if _OURS.search(path):
                self._asked(path, "removed", lambda path=path: self._remove(path))  # type: ignore[misc]

    def _path(self, file: str) -> str:
        return f"{self._root}/{file}"

    def _name(self, file: str) -> str:
        return f"{self._root if self._local else self.url}/{file}"

    def _write(self, path: str, blocks: list[memoryview]) -> None:
        scratch = path + _SCRATCH if self._local else path  # elsewhere a file is there when it is closed
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with self._files.open(scratch, "wb") as stream:
                for block in blocks:
                    for start in range(0, block.nbytes, _BLOCK):
                        stream.write(block[start : start + _BLOCK])
            if self._local:
                self._files.mv(scratch, path)
        except BaseException:
            self._remove(scratch)
            raise

    def _remove(self, path: str) -> None:
        try:
            self._files.rm_file(path)
        except FileNotFoundError:
            return

    def _look_into(self, files: Sequence[str]) -> dict[str, Corrupt]:
        """Read the headers of files that are not known yet; gives what is wrong with some."""
        new = [file for file in dict.fromkeys(files) if file not in self._layouts]
        if len(self._layouts) + len(new) > _KNOWN:
            self._layouts.clear()
            new = list(dict.fromkeys(files))
        damaged: dict[str, Corrupt] = {}
        for file, head in zip(new, self._ranges([(file, 0, _HEAD) for file in new], whole=False), strict=True):
            try:
                if isinstance(head, Corrupt):
                    raise head
                self._layouts[file] = self._layout(file, head)
            except Corrupt as error:
                damaged[file] = error
        return damaged

    def _place(self, part: Rows) -> arrays.Place | Corrupt:
        """Where rows lie in a file whose header is known."""
        array = self._layouts[part.file].get(part.tensor)
        if array is None or not array.shape or not 0 <= part.start <= part.stop <= array.shape[0]:
            return Corrupt(f"{self._name(part.file)} has no rows {part.start} to {part.stop} of {part.tensor!r}")
        width = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
        shape = (part.stop - part.start, *array.shape[1:])
        return arrays.Place(array.dtype, shape, array.begin + part.start * width, array.begin + part.stop * width)

    def _layout(self, file: str, head: bytes) -> dict[str, arrays.Place]:
        try:
            length = arrays.header_bytes(head)
            if length > len(head):
                (rest,) = self._ranges([(file, len(head), length)])
                if isinstance(rest, Corrupt):
                    raise rest
                head += rest
            return arrays.layout(head[:length])
        except MalformedBody as error:
            raise Corrupt(f"{self._name(file)} is damaged: {error}") from error

    def _ranges(self, wanted: Sequence[tuple[str, int, int]], whole: bool = True) -> list[bytes | Corrupt]:
        """Bytes `begin .. end` of files, or what is wrong with one.

        Args:
            whole: a file that ends before is cut short.
        """
        asked = [(self._path(file), begin, end) for file, begin, end in wanted if begin < end]
        paths, begins, ends = ([part[i] for part in asked] for i in range(3))
        answers = iter(self._files.cat_ranges(paths, begins, ends, on_error="return") if asked else [])
        found: list[bytes | Corrupt] = []
        for file, begin, end in wanted:
            data = next(answers) if begin < end else b""
            try:
                if isinstance(data, Exception):  # asked for again alone, as often as any
                    data = self._asked(file, "read", partial(self._files.cat_file, self._path(file), begin, end))
                if whole and len(data) != end - begin:
                    raise Corrupt(f"{self._name(file)} is cut short: {len(data)} of bytes {begin} to {end} are there")
                found.append(data)
            except Corrupt as error:
                found.append(error)
        return found

    def _asked(self, file: str, what: str, ask: Callable[[], T]) -> T:
        """What the place answers, asked again while it does not."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._may_pass),
            wait=tenacity.wait_exponential(multiplier=0.05, max=5.0),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        try:
            return again(ask)
        except FileNotFoundError as error:
            raise Corrupt(f"{self._name(file)} is gone") from error
        except Exception as error:
            if self._may_pass(error):
                reason = str(error) or type(error).__name__
                raise Unavailable(f"{self._name(file)} could not be {what} in {ATTEMPTS} tries: {reason}") from error
            if not isinstance(error, OSError):
                raise
            fix = "make room and start the build again" if error.errno in _FULL else "name another --work or mend it"
            raise ConfigurationError(
                f"{self._name(file)} cannot be {what}: {error.strerror or error}; {fix}"
            ) from error

    def _may_pass(self, error: BaseException) -> bool:
        """Whether the place may answer in a while. Not every file system makes OSErrors of what its network says."""
        if isinstance(error, OSError):
            return isinstance(error, TimeoutError | ConnectionError) or error.errno in _PASSING
        return isinstance(error, Exception) and not self._local


def _array(data: bytes | Corrupt, place: arrays.Place) -> NDArray[Any] | Corrupt:
    return data if isinstance(data, Corrupt) else np.frombuffer(data, place.dtype).reshape(place.shape)
