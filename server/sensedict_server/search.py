"""The nearest senses of a whole dictionary by an index: its candidates are compared exactly in the file set."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sensedict import inputs
from sensedict.errors import SearchIndexNotFound
from sensedict.nearest import nearest_of_candidates
from sensedict.snapshot import Snapshot
from sensedict.source import NearestSenses
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries import search
from sensedict_server.routes.shared import LIMITS


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
