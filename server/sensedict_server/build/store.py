"""Where a build's shards are kept: a folder, or any place that fsspec knows by its URL."""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Stored:
    """A file that was written: its name in the store, its length in bytes, its sha256 (hex)."""

    file: str
    bytes: int
    sha256: str


class Store:
    """Files of arrays, each written once, whole or not at all, under a name that no other attempt has.

    A place that does not answer is asked `ATTEMPTS` times.

    Args:
        url: a folder, or a URL as `s3://bucket/builds`; it is made where it is missing.

    Raises:
        ConfigurationError: the kind of URL is unknown, or the package for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or url
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"the store {url} cannot be opened: {error}") from error
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._files, LocalFileSystem)
        self._layouts: dict[str, dict[str, arrays.Place]] = {}

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

    def rows(self, file: str, tensor: str, start: int, stop: int) -> NDArray[Any]:
        """The rows `start .. stop` of one array, and no more bytes than theirs; they are not verified.

        Raises:
            Corrupt: the file is gone or cut short, has another header, or no such rows.
            Unavailable: the place does not answer.
        """
        place = self._layout(file).get(tensor)
        if place is None or not place.shape or not 0 <= start <= stop <= place.shape[0]:
            raise Corrupt(f"{self._name(file)} has no rows {start} to {stop} of {tensor!r}")
        shape = (stop - start, *place.shape[1:])
        width = int(np.prod(place.shape[1:], dtype=np.int64)) * place.dtype.itemsize
        data = self._range(file, place.begin + start * width, place.begin + stop * width)
        return np.frombuffer(data, place.dtype).reshape(shape)

    def exists(self, file: str) -> bool:
        """Whether the file is there."""
        self._files.invalidate_cache()
        found: bool = self._asked(file, "looked for", lambda: self._files.exists(self._path(file)))
        return found

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

    def _layout(self, file: str) -> dict[str, arrays.Place]:
        if file not in self._layouts:
            head: bytes = self._asked(file, "read", lambda: self._files.cat_file(self._path(file), 0, _HEAD))
            try:
                length = arrays.header_bytes(head)
                if length > len(head):
                    head += self._range(file, len(head), length)
                self._layouts[file] = arrays.layout(head[:length])
            except MalformedBody as error:
                raise Corrupt(f"{self._name(file)} is damaged: {error}") from error
        return self._layouts[file]

    def _range(self, file: str, begin: int, end: int) -> bytes:
        if begin == end:
            return b""
        data: bytes = self._asked(file, "read", lambda: self._files.cat_file(self._path(file), begin, end))
        if len(data) != end - begin:
            raise Corrupt(f"{self._name(file)} is cut short: {len(data)} of the bytes {begin} to {end} are there")
        return data

    def _asked(self, file: str, what: str, ask: Callable[[], T]) -> T:
        """What the place answers, asked again while it does not."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((TimeoutError, ConnectionError)),
            wait=tenacity.wait_exponential(multiplier=0.05, max=5.0),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        try:
            return again(ask)
        except (TimeoutError, ConnectionError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{self._name(file)} could not be {what} in {ATTEMPTS} tries: {reason}") from error
        except FileNotFoundError as error:
            raise Corrupt(f"{self._name(file)} is gone") from error
        except OSError as error:
            fix = "make room and start the build again" if error.errno in _FULL else "name another --store or mend it"
            raise ConfigurationError(
                f"{self._name(file)} cannot be {what}: {error.strerror or error}; {fix}"
            ) from error
