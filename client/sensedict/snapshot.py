"""A published dictionary read from its file set: the bulk reads of `SenseSource`, without a service.

The file set's two binary files are mapped into memory, so that opening costs little, several processes share the
pages, and a dictionary larger than memory still answers. The service's bulk routes answer from this same class.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays, inputs
from sensedict.candidates import Candidates
from sensedict.errors import ConfigurationError, Corrupt, InvalidInput, MalformedBody, reason
from sensedict.fileset import (
    INDEX,
    MANIFEST,
    VECTORS,
    FileEntry,
    Index,
    Manifest,
    content_hash,
    files_of,
    hash_file,
    hash_stream,
    undisturbed,
)
from sensedict.nearest import nearest, nearest_of_owners
from sensedict.source import CandidateSets, Identity, NearestSenses
from sensedict.wire import OWN_LIMITS


class Snapshot:
    """A `SenseSource` over a file set on disk.

    ```python
    with Snapshot.open("files/smollm2@1") as senses:
        sets = senses.candidate_sets([1234, 567])
        vectors = senses.get_senses(sets.own_first)
    ```

    Attributes:
        folder: where the file set is.
        manifest: what it says of itself.
    """

    def __init__(self, folder: Path, manifest: Manifest, vectors: NDArray[np.float16], index: Index) -> None:
        self.folder = folder
        self.manifest = manifest
        self._content: tuple[NDArray[np.float16], Index, Candidates] | None = (vectors, index, Candidates(index))

    @classmethod
    def open(cls, folder: str | Path, verify: bool = False) -> Self:
        """The file set in the folder, mapped into memory; sizes and shapes are checked, contents with `verify`.

        A set that takes the place of another meanwhile is opened in its stead: files of two are never mixed.

        Raises:
            ConfigurationError: there is no file set in the folder.
            Corrupt: a file is missing, cut off, of another format, or with `verify` has another hash; names it.
        """
        folder = Path(folder)
        return undisturbed(folder, lambda: cls._open_as_it_is(folder, verify))

    @classmethod
    def _open_as_it_is(cls, folder: Path, verify: bool) -> Self:
        path = folder / MANIFEST
        try:
            with files_of(folder) as open_file:
                with open_file(MANIFEST) as stream:
                    text = stream.read()
                return cls._open_files(folder, text, open_file, verify)
        except OSError as error:
            raise ConfigurationError(
                f"{folder} is not a dictionary's file set: {path.name} cannot be read ({error.strerror})"
            ) from error

    @classmethod
    def _open_files(cls, folder: Path, text: bytes, open_file: Callable[[str], BufferedReader], verify: bool) -> Self:
        try:
            manifest = Manifest.from_json(text)
        except Corrupt as error:
            raise Corrupt(f"{folder / MANIFEST}: {error.detail}") from error
        with ExitStack() as opened:
            streams = {}
            for name, entry in manifest.files.items():
                try:
                    streams[name] = opened.enter_context(open_file(name))
                except OSError as error:
                    raise _unreadable(folder / name, error) from error
                _check_size(folder / name, os.fstat(streams[name].fileno()).st_size, entry)
            if verify:
                _check_hashes(folder, manifest, {name: hash_stream(stream) for name, stream in streams.items()})
            vectors = _map_vectors(folder / VECTORS, streams[VECTORS], manifest.identity)
            index = _map_index(folder / INDEX, streams[INDEX], manifest.identity)
        return cls(folder, manifest, vectors, index)

    @property
    def identity(self) -> Identity:
        """The dictionary that answers."""
        return self.manifest.identity

    @property
    def vectors(self) -> NDArray[np.float16]:
        """(N, D) float16 vectors of all senses by id, on the mapped pages: read-only, valid after `close` too."""
        return self._open_content()[0]

    @property
    def index(self) -> Index:
        """Which senses belong to which token, and to its neighbours, on the mapped pages."""
        return self._open_content()[1]

    @property
    def candidates(self) -> Candidates:
        """Candidate sets by token, in memory."""
        return self._open_content()[2]

    def verify(self) -> None:
        """Hash every file and compare it with the manifest.

        Raises:
            Corrupt: a file differs; names it and both hashes.
        """
        found = {}
        for name, entry in self.manifest.files.items():
            try:
                found[name] = hash_file(self.folder / name)
            except OSError as error:
                raise _unreadable(self.folder / name, error) from error
            _check_size(self.folder / name, found[name].bytes, entry)
        _check_hashes(self.folder, self.manifest, found)

    def candidate_sets(self, tokens: NDArray[np.integer]) -> CandidateSets:
        """Own, synonym and antonym senses of each token id; see `SenseSource`.

        Raises:
            InvalidInput: no tokens, or no whole numbers.
        """
        asked = inputs.token_ids(tokens)
        return self.candidates.look_up(asked).sets(inputs.outside_vocabulary(asked, self.identity))

    def get_senses(self, ids: NDArray[np.integer]) -> NDArray[np.float16]:
        """(n, D) float16 vectors of the sense ids, in order; the caller's own copy.

        Raises:
            InvalidInput: no ids, or no whole numbers.
            SenseNotFound: an id is out of range; names the first.
        """
        return self.vectors.take(inputs.sense_ids(ids, self.identity), axis=0)

    def nearest_senses(
        self, vectors: NDArray[np.floating], p: int, tokens: NDArray[np.integer] | None = None
    ) -> NearestSenses:
        """The p nearest senses of each vector, exactly, of its owner token where `tokens` is given; see `SenseSource`.

        Raises:
            InvalidInput: no vectors, p out of range, or another number of tokens than of vectors.
            WrongDimension: vectors of another width than D.
            NotFinite: NaN or infinity.
        """
        held = self.vectors
        queries = inputs.query_vectors(vectors, self.identity)
        p = inputs.nearest_count(p, OWN_LIMITS.max_nearest)
        if tokens is None:
            ids, distances = nearest(queries, held, p)
            offsets = np.arange(len(ids) + 1, dtype=np.uint32) * np.uint32(ids.shape[1])
            return NearestSenses(offsets, ids.ravel(), distances.ravel(), p=p)
        owners = inputs.owner_tokens(tokens, len(queries))
        first, count = self.candidates.owners(owners)
        found = nearest_of_owners(queries, held, first, count, p)
        return NearestSenses(*found, inputs.outside_vocabulary(owners, self.identity), p)

    def close(self) -> None:
        """Give the mapped files back; answers already given stay valid."""
        self._content = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open_content(self) -> tuple[NDArray[np.float16], Index, Candidates]:
        if self._content is None:
            raise InvalidInput(f"the snapshot {self.folder} is closed")
        return self._content


def _map(path: Path, stream: BufferedReader) -> arrays.Tensors:
    """The tensors of a safetensors file, read-only, on pages that the system brings in when they are looked at."""
    try:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise Corrupt(f"{path} cannot be mapped into memory ({reason(error)})") from error
    tensors, _ = arrays.decode(mapped)
    return {name: np.require(tensor, requirements="A") for name, tensor in tensors.items()}


def _map_vectors(path: Path, stream: BufferedReader, identity: Identity) -> NDArray[np.float16]:
    try:
        vectors = arrays.tensor(_map(path, stream), "vectors", [np.float16], 2)
    except MalformedBody as error:
        raise Corrupt(f"{path}: {error.detail}") from error
    if vectors.shape != (identity.senses, identity.dim):
        raise Corrupt(f"{path}: vectors of shape {vectors.shape}, expected {(identity.senses, identity.dim)}")
    return vectors


def _map_index(path: Path, stream: BufferedReader, identity: Identity) -> Index:
    try:
        return Index.from_tensors(_map(path, stream), identity)
    except MalformedBody as error:
        raise Corrupt(f"{path}: {error.detail}") from error


def _unreadable(path: Path, error: OSError) -> Corrupt:
    return Corrupt(f"{path} is in the manifest and cannot be read ({error.strerror})")


def _check_size(path: Path, size: int, entry: FileEntry) -> None:
    if size != entry.bytes:
        raise Corrupt(f"{path} has {size} bytes, its manifest says {entry.bytes}")


def _check_hashes(folder: Path, manifest: Manifest, found: Mapping[str, FileEntry]) -> None:
    for name, entry in manifest.files.items():
        if found[name] != entry:
            raise Corrupt(f"{folder / name} has the sha256 {found[name].sha256}, its manifest says {entry.sha256}")
    if content_hash(manifest.files) != manifest.identity.content_hash:
        raise Corrupt(
            f"{folder / MANIFEST}: the content hash of {VECTORS} and {INDEX} is {content_hash(manifest.files)}, "
            f"the identity says {manifest.identity.content_hash}"
        )
