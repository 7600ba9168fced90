"""What a trainer asks: many tokens, senses or vectors at once, split into requests that the service takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays, bulk, inputs, wire
from sensedict.answer_tensors import candidate_sets_from_tensors, nearest_senses_from_tensors
from sensedict.errors import MalformedBody
from sensedict.exchange import Call, Found, Request, Stream, ask, tensors_as
from sensedict.named import Named
from sensedict.source import CandidateSets, NearestSenses

T = TypeVar("T")
Vectors = NDArray[np.float16]


class BulkQuestions(Named):
    """The bulk reads of `SenseSource`."""

    def candidate_sets(self, tokens: NDArray[np.integer]) -> Call[CandidateSets]:
        """Own, synonym and antonym senses of each token id; see `SenseSource`.

        Raises:
            InvalidInput: no tokens, or no whole numbers.
            Unavailable: the service did not answer in time.
        """
        asked = inputs.token_ids(tokens)
        answers = []
        for part in bulk.parts(len(asked), asked.itemsize, (yield from self.limits())):
            body: arrays.Tensors = {"tokens": asked[part]}
            answer = yield from self._post(wire.CANDIDATE_SETS, body, {}, candidate_sets_from_tensors)
            _check_rows(len(answer.tokens), len(asked[part]))
            answers.append(answer)
        return bulk.join_candidate_sets(answers)

    def get_senses(self, ids: NDArray[np.integer]) -> Call[Vectors]:
        """(n, D) float16 vectors of the sense ids, in order; the caller's own.

        Raises:
            InvalidInput: no ids, or no whole numbers.
            SenseNotFound: an id is out of range; names the first.
            Unavailable: the service did not answer in time.
        """
        answers = []
        for part in (yield from self._parts_of(ids)):
            answers.append((yield from self._vectors(part)))
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def iter_senses(self, ids: NDArray[np.integer]) -> Stream[tuple[NDArray[np.uint32], Vectors]]:
        """(ids, vectors) of each part of the ids that one request holds, in order: `get_senses` in bounded memory.

        The vectors are (m, D) float16, m at most `max_items` of `limits()`.

        Raises:
            InvalidInput: no ids, or no whole numbers.
            SenseNotFound: an id is out of range; names the first, before any part is given.
            Unavailable: the service did not answer in time.
        """
        for part in (yield from self._parts_of(ids)):
            yield Found((part, (yield from self._vectors(part))))

    def nearest_senses(
        self,
        vectors: NDArray[np.floating],
        p: int,
        tokens: NDArray[np.integer] | None = None,
        *,
        search: wire.Search = "exact",
    ) -> Call[NearestSenses]:
        """The p nearest senses of each vector, of its owner token where `tokens` is given; see `SenseSource`.

        Args:
            search: `approximate`: by an index, over a whole dictionary of a service; misses some of the p.

        Raises:
            SearchIndexNotFound: the dictionary has no index; NotInSnapshot: a file set never has.
            InvalidInput: no vectors, p out of range, another number of tokens than of vectors, or an approximate
                search among the senses of tokens.
            WrongDimension: vectors of another width than D.
            NotFinite: NaN or infinity.
            Unavailable: the service did not answer in time.
        """
        queries = inputs.query_vectors(vectors, (yield from self.identity()))
        limits = yield from self.limits()
        metadata = {"p": str(inputs.nearest_count(p, limits.max_nearest))}
        if inputs.search_way(search, tokens is not None):
            metadata["search"] = search
        owners = None if tokens is None else inputs.owner_tokens(tokens, len(queries))
        answers = []
        for part in bulk.parts(len(queries), queries[0].nbytes + 4, limits):
            tensors: arrays.Tensors = {"vectors": queries[part]}
            if owners is not None:
                tensors["tokens"] = owners[part]
            answer = yield from self._post(wire.NEAREST_SENSES, tensors, metadata, nearest_senses_from_tensors)
            _check_rows(len(answer.offsets) - 1, len(queries[part]))
            answers.append(answer)
        return bulk.join_nearest_senses(answers)

    def _post(
        self,
        route: str,
        tensors: arrays.Tensors,
        metadata: arrays.Metadata,
        read: Callable[[arrays.Tensors, arrays.Metadata], T],
    ) -> Call[T]:
        places = yield from self._places()
        request = Request(route, tensors_as(read), places, {}, wire.SAFETENSORS, tensors, metadata)
        return (yield from ask(request))

    def _parts_of(self, ids: NDArray[np.integer]) -> Call[Iterator[NDArray[np.uint32]]]:
        """The ids, checked, each part of them that one request holds."""
        asked = inputs.sense_ids(ids, (yield from self.identity()))
        parts = bulk.parts(len(asked), asked.itemsize, (yield from self.limits()))
        return (asked[part] for part in parts)

    def _vectors(self, ids: NDArray[np.uint32]) -> Call[Vectors]:
        found = yield from self._post(wire.GET_SENSES, {"ids": ids}, {}, _vectors_of)
        _check_rows(len(found), len(ids))
        return found


def _vectors_of(tensors: arrays.Tensors, metadata: arrays.Metadata) -> Vectors:
    return arrays.tensor(tensors, "vectors", [np.float16], 2)


def _check_rows(rows: int, asked: int) -> None:
    if rows != asked:
        raise MalformedBody(f"the service answered {rows} items of {asked} asked for")
