"""The dictionary file set: its names, its manifest and its index. The service writes it, `Snapshot` reads it.

A file set is a folder `name@version`. `vectors.safetensors` holds the senses' vectors, float16 (N, D), by sense id;
`index.safetensors` the tensors of `Index`; the Parquet files beside them are for analysts. `manifest.json` names the
dictionary and the size and hash of every file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays
from sensedict.errors import Corrupt, MalformedBody
from sensedict.source import Identity, Ranges

FORMAT = 1
MANIFEST = "manifest.json"
VECTORS = "vectors.safetensors"
INDEX = "index.safetensors"


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
            **arrays.ranges_to_tensors("synonyms", self.synonyms),
            **arrays.ranges_to_tensors("antonyms", self.antonyms),
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
            arrays.ranges_from_tensors("synonyms", tensors, vocabulary),
            arrays.ranges_from_tensors("antonyms", tensors, vocabulary),
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
class Manifest:
    """What a file set says of itself.

    Attributes:
        identity: the dictionary.
        lexicon: `name@version` of the lexicon it names.
        sources: the lexicon's sources with their licences.
        settings: what decided the build's result.
        files: every other file of the set.
    """

    identity: Identity
    lexicon: str
    sources: list[dict[str, Any]]
    settings: dict[str, Any]
    files: dict[str, FileEntry]

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(
            {
                "format": FORMAT,
                "identity": vars(self.identity),
                "lexicon": self.lexicon,
                "sources": self.sources,
                "settings": self.settings,
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
            if found["format"] != FORMAT:
                raise Corrupt(f"it has the format {found['format']!s:.40}, this version of sensedict reads {FORMAT}")
            manifest = cls(
                Identity(**found["identity"]),
                found["lexicon"],
                found["sources"],
                found["settings"],
                {name: FileEntry(**entry) for name, entry in found["files"].items()},
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
        missing = {VECTORS, INDEX} - set(self.files)
        if missing:
            raise Corrupt(f"it does not list {', '.join(sorted(missing))}")


def content_hash(files: Mapping[str, FileEntry]) -> str:
    """The sha256 that stands for a dictionary's published vectors and index."""
    lines = "".join(f"{name} {files[name].sha256}\n" for name in (VECTORS, INDEX))
    return hashlib.sha256(lines.encode()).hexdigest()


def hash_file(path: Path) -> FileEntry:
    """Size and sha256 of a file as it is now."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return FileEntry(stream.tell(), digest.hexdigest())
