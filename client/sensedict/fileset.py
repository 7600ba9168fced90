"""The dictionary file set: its names, its manifest and its index. The service writes it, `Snapshot` reads it.

A file set is a folder `name@version`. `vectors.safetensors` holds the senses' vectors, float16 (N, D), by sense id;
`index.safetensors` the tensors of `Index`; the Parquet files beside them hold everything else, for analysts and for a
database that is to have the dictionary again. `manifest.json` names the dictionary and the size and hash of every file.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sensedict import answer_tensors, arrays
from sensedict.errors import ConfigurationError, Corrupt, MalformedBody
from sensedict.source import Identity, Ranges

T = TypeVar("T")

FORMAT = 2
FORMATS = (1, FORMAT)  # those that are read; 1 has no `Record`, and its files hold a part of the lexicon only
MANIFEST = "manifest.json"
VECTORS = "vectors.safetensors"
INDEX = "index.safetensors"
# What a database holds of a dictionary, and of the lexicon that it names.
OF_DICTIONARY = ("tokens.parquet", "words.parquet", "senses.parquet", "contexts.parquet")
OF_LEXICON = (
    "lexicon_words.parquet",
    "relations.parquet",
    "glosses.parquet",
    "relation_glosses.parquet",
    "forms.parquet",
    "segmentations.parquet",
    "judgements.parquet",
)
_BETWEEN = 0.05  # seconds, far more than two renames take
FILES = (VECTORS, INDEX, *OF_DICTIONARY, *OF_LEXICON)  # of a set of this format, in the order of an archive


@dataclass(frozen=True)
class Index:
    """Which senses belong to which token, and to its synonyms and antonyms.

    Attributes:
        token_first: (V,) uint32, first sense id of each token; token_count: (V,) uint16.
        synonyms, antonyms: one row a token, one range a neighbour word.
    """

    token_first: NDArray[np.uint32]
    token_count: NDArray[np.uint16]
    synonyms: Ranges
    antonyms: Ranges

    def to_tensors(self) -> arrays.Tensors:
        """The content of `index.safetensors`, for `arrays.encode`."""
        return {
            "token_first": self.token_first,
            "token_count": self.token_count,
            **answer_tensors.ranges_to_tensors("synonyms", self.synonyms),
            **answer_tensors.ranges_to_tensors("antonyms", self.antonyms),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], identity: Identity) -> Self:
        """The index of a dictionary, on the same memory.

        Raises:
            MalformedBody: a tensor is missing or does not fit the dictionary's size.
        """
        token_first = arrays.tensor(tensors, "token_first", [np.uint32], 1)
        token_count = arrays.tensor(tensors, "token_count", [np.uint16], 1)
        vocabulary = identity.vocabulary_size
        if len(token_first) != vocabulary or len(token_count) != vocabulary:
            raise MalformedBody(f"{len(token_first)} tokens are indexed, the vocabulary has {vocabulary}")
        index = cls(
            token_first,
            token_count,
            answer_tensors.ranges_from_tensors("synonyms", tensors, vocabulary),
            answer_tensors.ranges_from_tensors("antonyms", tensors, vocabulary),
        )
        owners = Ranges(np.zeros(0, np.uint32), token_first, token_count)
        for ranges in (owners, index.synonyms, index.antonyms):
            if int((ranges.first.astype(np.int64) + ranges.count).max(initial=0)) > identity.senses:
                raise MalformedBody(f"the index names a sense beyond the dictionary's {identity.senses}")
        return index


@dataclass(frozen=True)
class FileEntry:
    """Size and sha256 (hex) of one file of a file set."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What the files do not hold and a database does; a set of format 1 has none.

    Attributes:
        published_at, lexicon_created_at: ISO 8601 with the offset of UTC.
        tokens_with_senses, words_with_senses: how many have some.
        rows_hash: sha256 of the rows of `OF_DICTIONARY`, whatever the ids of words and the Parquet that holds them.
        lexicon_hash: of the lexicon, in the same way; two lexicons with one hash hold the same.
        lexicon_settings: what the lexicon was loaded from.
        lexicon_sources: name, licence, version, skipped and counted of each, in the order they were loaded in.
    """

    published_at: str
    tokens_with_senses: int
    words_with_senses: int
    rows_hash: str
    lexicon_hash: str
    lexicon_created_at: str
    lexicon_settings: dict[str, Any]
    lexicon_sources: list[dict[str, Any]]


@dataclass(frozen=True)
class Manifest:
    """What a file set says of itself.

    Attributes:
        identity: the dictionary.
        lexicon: `name@version` of the lexicon it names.
        sources: the lexicon's sources with their licences.
        settings: what decided the build's result.
        files: every other file of the set.
        record: what a database needs beside the files.
    """

    identity: Identity
    lexicon: str
    sources: list[dict[str, Any]]
    settings: dict[str, Any]
    files: dict[str, FileEntry]
    record: Record | None = None

    @property
    def format(self) -> int:
        """Version of the format that it is written in."""
        return FORMATS[0] if self.record is None else FORMAT

    @property
    def ref(self) -> str:
        """`name@version` of the dictionary."""
        return f"{self.identity.name}@{self.identity.version}"

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(
            {
                "format": self.format,
                "identity": vars(self.identity),
                "lexicon": self.lexicon,
                "sources": self.sources,
                "settings": self.settings,
                **({} if self.record is None else {"record": vars(self.record)}),
                "files": {name: vars(entry) for name, entry in self.files.items()},
            },
            indent=2,
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The manifest that `to_json` wrote.

        Raises:
            Corrupt: not such a text, or of another format version; says which.
        """
        try:
            found = json.loads(text)
            if found["format"] not in FORMATS:
                known = " and ".join(map(str, FORMATS))
                raise Corrupt(f"it has the format {found['format']!s:.40}, this version of sensedict reads {known}")
            manifest = cls(
                Identity(**found["identity"]),
                found["lexicon"],
                found["sources"],
                found["settings"],
                {name: FileEntry(**entry) for name, entry in found["files"].items()},
                Record(**found["record"]) if found["format"] == FORMAT else None,
            )
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
            raise Corrupt(f"it is not a manifest ({type(error).__name__}: {error!s:.200})") from error
        manifest._check()
        return manifest

    def _check(self) -> None:
        for field, kind in Identity.__annotations__.items():
            value = getattr(self.identity, field)
            if type(value).__name__ != kind or (kind == "int" and value < (field != "senses")):
                raise Corrupt(
                    f"its identity has {field} = {value!r:.80}, expected {kind}{' above 0' * (kind == 'int')}"
                )
        for name, entry in self.files.items():
            if name != Path(name).name or "\\" in name:
                raise Corrupt(f"it lists {name!r:.80}, which is not the name of a file in its own folder")
            if type(entry.bytes) is not int or not isinstance(entry.sha256, str):
                raise Corrupt(f"it has no usable size and sha256 of {name}")
        missing = set(FILES if self.record else (VECTORS, INDEX)) - set(self.files)
        if missing:
            raise Corrupt(f"it does not list {', '.join(sorted(missing))}")


def content_hash(files: Mapping[str, FileEntry]) -> str:
    """The sha256 that stands for a dictionary's published vectors and index."""
    lines = "".join(f"{name} {files[name].sha256}\n" for name in (VECTORS, INDEX))
    return hashlib.sha256(lines.encode()).hexdigest()


def hash_file(path: Path) -> FileEntry:
    """Size and sha256 of a file as it is now."""
    with path.open("rb") as stream:
        return hash_stream(stream)


def hash_stream(stream: BufferedReader) -> FileEntry:
    """Size and sha256 of an opened file."""
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256")
    return FileEntry(stream.tell(), digest.hexdigest())


@contextmanager
def files_of(folder: Path) -> Iterator[Callable[[str], BufferedReader]]:
    """A function that opens files of the folder that has the name now, whichever takes its name meanwhile."""
    if os.open not in os.supports_dir_fd:
        yield lambda name: (folder / name).open("rb")
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield lambda name: os.fdopen(os.open(name, os.O_RDONLY, dir_fd=handle), "rb")
    finally:
        os.close(handle)


def undisturbed(folder: Path, read: Callable[[], T]) -> T:
    """What `read` gives of the folder's files; again where it failed because another folder took the name meanwhile.

    Raises:
        ConfigurationError, Corrupt: `read` did, and no other folder was the cause.
    """
    while True:
        before = _place(folder)
        try:
            return read()
        except (ConfigurationError, Corrupt):
            if before is None:  # perhaps between the two renames that put another set in place
                time.sleep(_BETWEEN)
            if _place(folder) == before:
                raise


def _place(folder: Path) -> tuple[int, int] | None:
    """Which folder has the name now, and when it changed last; None while there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns
