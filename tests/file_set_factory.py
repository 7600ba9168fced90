"""Writes a tiny file set by hand, for tests that read one without a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sensedict import arrays
from sensedict.fileset import INDEX, MANIFEST, VECTORS, FileEntry, Index, Manifest, content_hash, hash_file
from sensedict.source import Identity, Ranges

VOCABULARY, DIM = 40, 8

# token id → (own sense count, synonyms' tokens, antonyms' tokens); a word of several tokens is "w0" or "w1"
Vocabulary = Mapping[int, tuple[int, list[int | str], list[int | str]]]
TOKENS: Vocabulary = {
    3: (4, [5, "w0"], [9]),
    5: (1, [3], []),
    9: (3, [], [3, "w1"]),
    10: (0, [5], []),  # related, but the corpus never had it
    17: (5, [], []),
    39: (2, [9, 17, "w0"], [5]),  # the last of the vocabulary
}
WORDS = {"w0": 2, "w1": 3}


IDENTITY = Identity(
    name="tiny",
    version="1",
    teacher="random",
    teacher_hash="a" * 64,
    tokenizer_hash="b" * 64,
    vocabulary_size=VOCABULARY,
    dim=DIM,
    state_point="final_norm",
    key_policy="next",
    k=5,
    senses=0,
    content_hash="",
)


def write_file_set(folder: Path, seed: int = 0, tokens: Vocabulary = TOKENS, identity: Identity = IDENTITY) -> Path:
    """A dictionary in the new folder `tiny@1` below this one, which it returns.

    As it is, it has 20 senses, 40 tokens and D = 8; the number of senses and the hash of an identity are put right.
    """
    rng = np.random.default_rng(seed)
    size, dim = identity.vocabulary_size, identity.dim
    first: dict[int | str, int] = {}
    count: dict[int | str, int] = {token: tokens.get(token, (0, [], []))[0] for token in range(size)}
    count |= WORDS
    senses = 0
    for owner, number in count.items():
        first[owner] = senses
        senses += number
    vectors = rng.standard_normal((senses, dim)).astype(np.float16)
    vectors[1] = vectors[0]  # two equal senses of one token, and
    vectors[5] = vectors[0]  # of two: ties, which the smaller id wins

    def ranges(place: int) -> Ranges:
        rows = [tokens.get(token, (0, [], []))[place] for token in range(size)]
        owners = [owner for row in rows for owner in row]  # type: ignore[union-attr]
        return Ranges(
            np.cumsum([0] + [len(row) for row in rows]).astype(np.uint32),  # type: ignore[arg-type]
            np.array([first[owner] for owner in owners], np.uint32),
            np.array([count[owner] for owner in owners], np.uint16),
        )

    index = Index(
        np.array([first[token] for token in range(size)], np.uint32),
        np.array([count[token] for token in range(size)], np.uint16),
        ranges(1),
        ranges(2),
    )
    target = folder / f"{identity.name}@{identity.version}"
    target.mkdir()
    (target / VECTORS).write_bytes(arrays.encode({"vectors": vectors}))
    (target / INDEX).write_bytes(arrays.encode(index.to_tensors()))
    (target / "words.parquet").write_bytes(b"read by analysts, not by Snapshot")
    files = {path.name: hash_file(path) for path in sorted(target.iterdir())}
    write_manifest(target, Manifest(replace(identity, senses=senses), "pairs@1", [], {}, files))
    return target


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The manifest with its content hash put right."""
    identity = replace(manifest.identity, content_hash=content_hash(manifest.files))
    (folder / MANIFEST).write_text(replace(manifest, identity=identity).to_json(), encoding="utf-8")


def with_entry(manifest: Manifest, name: str, entry: FileEntry) -> Manifest:
    """The manifest with another entry for one file."""
    return replace(manifest, files={**manifest.files, name: entry})
