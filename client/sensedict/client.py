"""The client of a sensedict service."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from sensedict import arrays, bulk, inputs, wire
from sensedict.errors import (
    DictionaryNotFound,
    InvalidInput,
    MalformedBody,
)
from sensedict.paths import write_whole
from sensedict.service import Parameters, Service, Transport
from sensedict.source import CandidateSets, Identity, NearestSenses


class SenseClient:
    """A `SenseSource` over HTTP, and the questions that people ask: words, tokens, relations, single senses.

    An alias, as `latest`, is looked up once; from then on the client names the version, so that a long training run
    has one dictionary whatever the alias does meanwhile. Safe to use from several threads.

    ```python
    with SenseClient("http://127.0.0.1:8000", "smollm2-demo@latest") as senses:
        for sense in senses.word("bank").senses:
            print(sense.count, sense.contexts[0].text)
        sets = senses.candidate_sets(np.array([1234, 567]))
        vectors = senses.get_senses(sets.own_first)
    ```

    Args:
        base_url: the service's root, e.g. `http://127.0.0.1:8000`.
        dictionary: `name@version` or `name@alias`; a bare name means its alias `latest`.
        timeout: seconds to wait for a connection, and for each next piece of an answer.
        patience: seconds in which a service that is away is asked again; no attempt starts later.
        transport: what carries the requests, where it is not the network.

    Raises:
        ConfigurationError: base_url is not an http address.
    """

    def __init__(
        self,
        base_url: str,
        dictionary: str,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        transport: Transport | None = None,
    ) -> None:
        self._dictionary = dictionary
        self._service = Service(base_url, timeout, patience, transport)
        self._lock = threading.Lock()
        self._info: wire.DictionaryInfo | None = None
        self._limits: wire.Limits | None = None

    @property
    def identity(self) -> Identity:
        """The dictionary that answers; fixed from the first use on.

        Raises:
            DictionaryNotFound: the service has no such dictionary, version or alias.
            Unavailable: the service did not answer in time.
        """
        return self.info().identity()

    def info(self) -> wire.DictionaryInfo:
        """The dictionary's identity, size, licences and settings; fixed from the first use on."""
        with self._lock:
            if self._info is None:
                if not inputs.is_address(self._dictionary):
                    raise self._no_address()
                path = wire.DICTIONARY.format(ref=quote(self._dictionary, safe="@"))
                self._info = self._service.get(wire.DictionaryInfo, path)
            return self._info

    def limits(self) -> wire.Limits:
        """What one request may ask for; larger bulk requests are split."""
        with self._lock:
            if self._limits is None:
                self._limits = self._service.get(wire.Limits, wire.LIMITS)
            return self._limits

    def dictionaries(self) -> list[wire.DictionaryInfo]:
        """Every published dictionary of the service."""
        return self._service.get(list[wire.DictionaryInfo], wire.DICTIONARIES)

    def jobs(self, state: wire.JobState | None = None) -> Iterator[wire.JobInfo]:
        """The builds of the service, newest first, of one state or of any; pages are fetched on the way."""
        cursor: str | None = None
        while True:
            page = self._service.get(wire.JobPage, wire.JOBS, {"state": state, "cursor": cursor})
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def job(self, job: int) -> wire.JobDetail:
        """One build of the service, with its progress and the end of its log.

        Raises:
            JobNotFound: there is none of that number.
        """
        return self._service.get(wire.JobDetail, wire.JOB.format(job=job))

    def word(self, word: str, *, pos: str | None = None, neighbours: int = 0) -> wire.WordSenses:
        """The senses of a word, spelt as it stands in text, with the glosses of the lexicon's sources.

        Args:
            pos: only as this part of speech, where sources have it: noun, verb, adjective, adverb or another.
            neighbours: how many of the nearest words each sense is to come with.

        Raises:
            WordNotFound: it is neither in a relation nor a single token, and no form or lemma of it is.
            InvalidInput: it is empty or longer than `limits()` lets it be, or the lexicon has no such pos.
        """
        asked = {"word": self._checked(word), "pos": pos, "neighbours": neighbours or None}
        return self._service.get(wire.WordSenses, self._path(wire.WORD_SENSES), asked)

    def token(self, token: int) -> wire.TokenSenses:
        """The senses of a token id.

        Raises:
            TokenNotFound: the vocabulary does not hold it.
        """
        return self._service.get(wire.TokenSenses, self._path(wire.TOKEN_SENSES, token=token))

    def sense(self, sense: int) -> wire.SenseDetail:
        """One sense with its contexts, its owner and its vector.

        Raises:
            SenseNotFound: the dictionary does not hold it.
        """
        return self._service.get(wire.SenseDetail, self._path(wire.SENSE, sense=sense))

    def neighbours(self, sense: int, limit: int = 10) -> wire.SenseNeighbours:
        """The nearest senses of other owners than the sense's own, nearest first.

        Raises:
            SenseNotFound: the dictionary does not hold it.
        """
        return self._service.get(wire.SenseNeighbours, self._path(wire.NEIGHBOURS, sense=sense), {"limit": limit})

    def relations(
        self,
        word: str,
        type: str | Sequence[str] | None = None,
        *,
        direction: wire.Direction = "both",
        depth: int = 1,
        source: str | None = None,
        rule: str | None = None,
        pos: str | None = None,
        limit: int | None = None,
    ) -> Iterator[wire.Relation]:
        """The relations of a word and, at a depth above 1, of the words around it; pages are fetched on the way.

        `relation_pages` takes the same and also tells how the word matched and whether the walk was cut.
        """
        pages = self.relation_pages(
            word, type, direction=direction, depth=depth, source=source, rule=rule, pos=pos, limit=limit
        )
        for page in pages:
            yield from page.relations

    def relation_pages(
        self,
        word: str,
        type: str | Sequence[str] | None = None,
        *,
        direction: wire.Direction = "both",
        depth: int = 1,
        source: str | None = None,
        rule: str | None = None,
        pos: str | None = None,
        limit: int | None = None,
        count: bool = False,
    ) -> Iterator[wire.RelationPage]:
        """The pages of `relations`, by depth and then id, each relation once.

        Args:
            type: only relations of this type, or of these.
            direction: `out` for relations that lead from a word to the next, `in` for those that lead to it; symmetric
                ones do both.
            depth: steps from the word, to `max_depth` of `limits()`; the filters hold for every step.
            source: only relations of this source.
            rule: only those derived by this rule, `negation:un-`, or kind of rule, `negation`.
            pos: only those of this part of speech.
            limit: no more than so many relations together; None: all.
            count: the first page is to tell the `total` of all.

        Raises:
            WordNotFound: it is neither in a relation nor a single token, and no form or lemma of it is.
            InvalidInput: the word, the direction, the depth or the limit cannot be, or the lexicon has no relation of
                this type, source, rule or pos.
        """
        if limit is not None and limit < 1:
            raise InvalidInput(f"limit is the number of relations, 1 or more, got {limit}")
        largest = self.limits().max_page
        asked: Parameters = {
            "word": self._checked(word),
            "type": type,
            "direction": None if direction == "both" else direction,
            "depth": None if depth == 1 else depth,
            "source": source,
            "rule": rule,
            "pos": pos,
        }
        cursor: str | None = None
        left = limit
        whole_walk = largest if depth > 1 else None  # the service walks anew for each page, so they are large
        while left is None or left > 0:
            size = whole_walk if left is None else min(left, largest)
            counting = "true" if count and cursor is None else None
            turned: Parameters = {**asked, "limit": size, "count": counting, "cursor": cursor}
            page = self._service.get(wire.RelationPage, self._path(wire.RELATIONS), turned)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return
            left = None if left is None else left - len(page.relations)

    def path(
        self,
        word: str,
        other: str,
        type: str | Sequence[str] | None = None,
        *,
        direction: wire.Direction = "both",
    ) -> wire.Path:
        """A shortest way between two words along relations; `found` is false where there is none within the limits.

        Raises:
            WordNotFound: one of them is neither in a relation nor a single token, and no form or lemma of it is.
            InvalidInput: a word cannot be one, or the lexicon has no relation of this type.
        """
        asked: Parameters = {
            "word": self._checked(word),
            "other": self._checked(other),
            "type": type,
            "direction": None if direction == "both" else direction,
        }
        return self._service.get(wire.Path, self._path(wire.PATH), asked)

    def explain(self, relation: int) -> wire.Explanation:
        """Where a relation comes from: its derivation back to what a source lists, and who judged it.

        Raises:
            RelationNotFound: the dictionary's lexicon does not hold it.
        """
        return self._service.get(wire.Explanation, self._path(wire.RELATION, relation=relation))

    def download_id_map(self, to: str, file: Path) -> None:
        """Write the published map of sense ids from this dictionary to another to a Parquet file, whole or not at all.

        Args:
            to: `name@version` or `name@alias`.

        Raises:
            DictionaryNotFound: the service has no dictionary `to`.
            IdMapNotFound: `sensedict diff --publish` was not run for these two.
        """
        content = self._service.get_bytes(self._path(wire.ID_MAP), {"to": to}, wire.PARQUET)
        if not (content.startswith(b"PAR1") and content.endswith(b"PAR1")):
            raise MalformedBody(f"what the service gave as the map to {to!r} is no Parquet file: check the address")
        write_whole(file, content)

    def candidate_sets(self, tokens: NDArray[np.integer]) -> CandidateSets:
        """Own, synonym and antonym senses of each token id; see `SenseSource`.

        Raises:
            InvalidInput: no tokens, or no whole numbers.
            Unavailable: the service did not answer in time.
        """
        asked = inputs.token_ids(tokens)
        path = self._path(wire.CANDIDATE_SETS)
        answers = []
        for part in bulk.parts(len(asked), asked.itemsize, self.limits()):
            answer = self._service.post(path, {"tokens": asked[part]}, {}, arrays.candidate_sets_from_tensors)
            _check_rows(len(answer.tokens), part)
            answers.append(answer)
        return bulk.join_candidate_sets(answers)

    def get_senses(self, ids: NDArray[np.integer]) -> NDArray[np.float16]:
        """(n, D) float16 vectors of the sense ids, in order; the caller's own.

        Raises:
            InvalidInput: no ids, or no whole numbers.
            SenseNotFound: an id is out of range; names the first.
            Unavailable: the service did not answer in time.
        """
        asked = inputs.sense_ids(ids, self.identity)
        path = self._path(wire.GET_SENSES)
        answers = []
        for part in bulk.parts(len(asked), asked.itemsize, self.limits()):
            answer = self._service.post(path, {"ids": asked[part]}, {}, _vectors)
            _check_rows(len(answer), part)
            answers.append(answer)
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def nearest_senses(
        self, vectors: NDArray[np.floating], p: int, tokens: NDArray[np.integer] | None = None
    ) -> NearestSenses:
        """The p nearest senses of each vector, of its owner token where `tokens` is given; see `SenseSource`.

        Raises:
            InvalidInput: no vectors, p out of range, or another number of tokens than of vectors.
            WrongDimension: vectors of another width than D.
            NotFinite: NaN or infinity.
            Unavailable: the service did not answer in time.
        """
        queries = inputs.query_vectors(vectors, self.identity)
        metadata = {"p": str(inputs.nearest_count(p, self.limits().max_nearest))}
        owners = None if tokens is None else inputs.owner_tokens(tokens, len(queries))
        path = self._path(wire.NEAREST_SENSES)
        answers = []
        for part in bulk.parts(len(queries), queries[0].nbytes + 4, self.limits()):
            tensors: arrays.Tensors = {"vectors": queries[part]}
            if owners is not None:
                tensors["tokens"] = owners[part]
            answer = self._service.post(path, tensors, metadata, arrays.nearest_senses_from_tensors)
            _check_rows(len(answer.offsets) - 1, part)
            answers.append(answer)
        return bulk.join_nearest_senses(answers)

    def close(self) -> None:
        """Give the connections back."""
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _checked(self, word: str) -> str:
        return inputs.checked_word(word, self.limits().max_word_characters)

    def _no_address(self) -> DictionaryNotFound:
        names = sorted({info.name for info in self.dictionaries()})
        there = f"there are {', '.join(names)}" if names else "there is none yet"
        return DictionaryNotFound(
            f"{self._dictionary[:80]!r} can name no dictionary: write name@version or name@alias, with letters, "
            f"digits, '.', '_' and '-'; {there}"
        )

    def _path(self, route: str, **places: int) -> str:
        info = self.info()
        return route.format(ref=quote(f"{info.name}@{info.version}", safe="@"), **places)


def _vectors(tensors: arrays.Tensors, metadata: arrays.Metadata) -> NDArray[np.float16]:
    return arrays.tensor(tensors, "vectors", [np.float16], 2)


def _check_rows(rows: int, part: slice) -> None:
    if rows != part.stop - part.start:
        raise MalformedBody(f"the service answered {rows} items of {part.stop - part.start} asked for")
