"""Dictionaries that know less than the one they are made of: what a gain must not be explained by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensedict.fileset import Index
from sensedict.parquet import Tables
from sensedict.snapshot import Snapshot
from sensedict.source import Ranges

_SENSES = "senses.parquet"


def shuffled(dictionary: Snapshot, seed: int = 0) -> Snapshot:
    """The same owners with the senses of others: each token or word has those of another with as many senses.

    How many senses a token has, which tokens are related, and the cloud of all senses are as they were; what is lost is
    whose they are. An owner keeps its own where no other has as many.

    Args:
        dictionary: a file set, opened; the copy holds all its vectors in memory.
        seed: of the permutation.
    """
    first, count = _owners(dictionary.index)
    random = np.random.default_rng(seed)
    places = np.arange(dictionary.identity.senses)
    for size in np.unique(count):
        group = random.permutation(first[count == size])
        # A turn of a random order moves everybody, as a permutation alone would not.
        for old, new in zip(group, np.roll(group, 1), strict=True):
            places[old : old + size] = np.arange(new, new + size)
    return _derived(dictionary, f"shuffled-{seed}", dictionary.vectors[places], dictionary.index)


def one_centroid(dictionary: Snapshot) -> Snapshot:
    """The same owners with one sense each: the mean of theirs, weighted by how many states each sense is the mean of.

    A composed word's senses are of no states, and their mean is plain.

    Args:
        dictionary: a file set, opened.

    Raises:
        NotInSnapshot: a file set without `senses.parquet`.
    """
    first, count = _owners(dictionary.index)
    weights = Tables(dictionary.folder, dictionary.manifest).numbers(_SENSES, "count").astype(np.float64)
    owner = np.repeat(np.arange(len(first)), count)
    senses = np.concatenate([np.arange(a, a + n) for a, n in zip(first, count, strict=True)])
    weights = weights[senses]
    weights[np.bincount(owner, weights, len(first))[owner] == 0] = 1.0
    means = np.zeros((len(first), dictionary.identity.dim), np.float32)
    np.add.at(means, owner, dictionary.vectors[senses].astype(np.float32) * weights[:, None].astype(np.float32))
    means /= np.bincount(owner, weights, len(first)).astype(np.float32)[:, None]
    return _derived(dictionary, "one", means.astype(np.float16), _one_each(dictionary.index, first))


def without_synonyms(dictionary: Snapshot) -> Snapshot:
    """The same dictionary with synonyms that have no senses.

    Which tokens are related, and so the positions that are drawn, is as it was; what is pulled to is own senses alone.

    Args:
        dictionary: a file set, opened.
    """
    index = dictionary.index
    empty = replace(index.synonyms, count=np.zeros_like(index.synonyms.count))
    return _derived(dictionary, "own", dictionary.vectors, replace(index, synonyms=empty))


CONTROLS: Mapping[str, Callable[[Snapshot], Snapshot]] = {
    "shuffled": shuffled,
    "one": one_centroid,
    "own": without_synonyms,
}


def open_control(name: str, folder: Path) -> Snapshot:
    """A control made of the file set in a folder; it answers what a `SenseSource` does."""
    with Snapshot.open(folder) as dictionary:
        return CONTROLS[name](dictionary)


def _owners(index: Index) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First senses, rising, and numbers of senses of all that have some: tokens, and words that are neighbours."""
    pairs = [
        (index.token_first, index.token_count),
        *((ranges.first, ranges.count) for ranges in (index.synonyms, index.antonyms)),
    ]
    first, count = (np.concatenate(parts).astype(np.int64) for parts in zip(*pairs, strict=True))
    unique, place = np.unique(first[count > 0], return_index=True)
    return unique, count[count > 0][place]


def _one_each(index: Index, owners: NDArray[np.int64]) -> Index:
    """The index when each owner's senses are one, numbered in the owners' order."""

    def place(first: NDArray[np.uint32], count: NDArray[np.uint16]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        has = count > 0
        return np.where(has, np.searchsorted(owners, first), 0).astype(np.uint32), has.astype(np.uint16)

    def ranges(of: Ranges) -> Ranges:
        return Ranges(of.offsets, *place(of.first, of.count))

    return Index(*place(index.token_first, index.token_count), ranges(index.synonyms), ranges(index.antonyms))


def _derived(dictionary: Snapshot, control: str, vectors: NDArray[np.float16], index: Index) -> Snapshot:
    """The control as a dictionary of another name and content: what is trained from it is never taken for another's."""
    before = dictionary.identity
    identity = replace(
        before,
        name=f"{before.name}+{control}",
        senses=len(vectors),
        k=int(index.token_count.max(initial=1)),
        content_hash=hashlib.sha256(f"{before.content_hash} {control}".encode()).hexdigest(),
    )
    return Snapshot(dictionary.folder, replace(dictionary.manifest, identity=identity), vectors, index)
