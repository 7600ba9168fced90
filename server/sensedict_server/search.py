"""The nearest senses of a whole dictionary: of all, or of an index's candidates, compared exactly in the file set."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict import inputs
from sensedict.errors import SearchIndexNotFound, Unavailable
from sensedict.nearest import nearest_of_candidates
from sensedict.snapshot import Snapshot
from sensedict.source import NearestSenses
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries import search
from sensedict_server.routes.shared import LIMITS
from sensedict_server.work import current

_AT_ONCE = 256  # queries: as many as `sensedict.nearest` compares together


def exactly_nearest(senses: Snapshot, vectors: NDArray[Any], p: int) -> NearestSenses:
    """The p nearest of all senses, as `Snapshot.nearest_senses` gives them, as long as somebody waits for them.

    Thousands of vectors take minutes, and nothing ends a thread from outside: it would be missing for as long.

    Args:
        vectors: (n, D).

    Raises:
        InvalidInput, WrongDimension, NotFinite: as `Snapshot.nearest_senses`.
        Unavailable: it takes longer than an answer may, or the client went away.
    """
    queries = inputs.query_vectors(vectors, senses.identity)
    work, end = current.get(), time.monotonic() + LIMITS.request_seconds
    parts = []
    for start in range(0, len(queries), _AT_ONCE):
        if time.monotonic() > end or (work is not None and work.stopped):
            raise Unavailable(
                f"{start} of {len(queries)} vectors were compared in {LIMITS.request_seconds} s: send fewer at once"
            )
        parts.append(senses.nearest_senses(queries[start : start + _AT_ONCE], p))
    ids, distances = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "distances"))
    offsets = np.arange(len(queries) + 1, dtype=np.uint32) * np.uint32(len(ids) // len(queries))
    return NearestSenses(offsets, ids, distances, p=parts[0].p)


def approximately_nearest(shared: Catalogue, senses: Snapshot, vectors: NDArray[Any], p: int) -> NearestSenses:
    """The p nearest of those that the index finds, with the distances that an exact search gives them.

    Args:
        vectors: (n, D).

    Raises:
        SearchIndexNotFound: the dictionary has no index.
        InvalidInput, WrongDimension, NotFinite: as `Snapshot.nearest_senses`.
        Unavailable: the database is away.
    """
    queries = inputs.query_vectors(vectors, senses.identity)
    p = inputs.nearest_count(p, LIMITS.max_nearest)
    dictionary = shared.resolve(senses.manifest.ref, drafts=True)
    with shared.engine.connect() as connection:
        if search.index_state(connection, dictionary.id) != "valid":
            raise SearchIndexNotFound(
                f"{dictionary.ref} has no index for approximate search: `sensedict dictionary index {dictionary.ref}` "
                "makes one; exact search needs none"
            )
        rows, ids = search.candidates(connection, dictionary.id, queries, p)
    found = nearest_of_candidates(queries, senses.vectors, rows, ids, p)
    return NearestSenses(*found, p=p, search="approximate")
