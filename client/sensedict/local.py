"""A file set asked as a service is: the driver that answers requests from a folder on the disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

from sensedict import arrays, beginnings, lookup, nearby, told, walks, wire
from sensedict.errors import (
    DictionaryNotFound,
    InvalidInput,
    NotInSnapshot,
    RelationNotFound,
    SenseNotFound,
    TokenNotFound,
    WordNotFound,
)
from sensedict.exchange import Request
from sensedict.lexical import Filter, check_filter, check_pos, derivation, relation_not_found, replaced, seen_from
from sensedict.local_relations import LocalRelations
from sensedict.local_words import LocalWords
from sensedict.lookup import Word
from sensedict.parquet import Tables
from sensedict.snapshot import Snapshot

T = TypeVar("T")
LIMITS = wire.OWN_LIMITS
Asked = Request[Any]


class LocalDriver:
    """Answers every request about one dictionary from its file set. Safe to use from several threads.

    Vectors are mapped; words and relations are read into memory when they are first asked for.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._manifest = snapshot.manifest
        self._ref = snapshot.manifest.ref
        self._answers: dict[str, Callable[[Asked], Any]] = {
            wire.LIMITS: lambda _: LIMITS,
            wire.DICTIONARIES: lambda _: [self._info()],
            wire.DICTIONARY: self._named,
            wire.TOKEN_SENSES: self._token,
            wire.WORD_SENSES: self._word,
            wire.WORDS: self._beginning,
            wire.SENSE: self._sense,
            wire.NEIGHBOURS: self._neighbours,
            wire.RELATIONS: self._page,
            wire.RELATION: self._explanation,
            wire.PATH: self._path,
            wire.CANDIDATE_SETS: self._candidate_sets,
            wire.GET_SENSES: self._get_senses,
            wire.NEAREST_SENSES: self._nearest_senses,
        }

    def send(self, request: Request[T]) -> T:
        """The answer of the request.

        Raises:
            NotInSnapshot: only a service can answer it.
        """
        answer = self._answers.get(request.route)
        if answer is None:
            raise NotInSnapshot(
                f"{self._snapshot.folder} is a dictionary's file set, which has no {_SUBJECTS[request.route]}: "
                "ask a service"
            )
        found: T = answer(request)
        return found

    def close(self) -> None:
        """Give the mapped files back; answers already given stay valid."""
        self._snapshot.close()

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self._snapshot.folder, self._manifest)

    @cached_property
    def _relations(self) -> LocalRelations:
        return LocalRelations(self._tables, self._manifest)

    @cached_property
    def _words(self) -> LocalWords:
        licences = {source["name"]: source["licence"] for source in self._manifest.sources}
        return LocalWords(self._tables, licences | {name: of.licence for name, of in self._relations.sources.items()})

    def _named(self, asked: Asked) -> wire.DictionaryInfo:
        name, _, version = str(asked.places["ref"]).partition("@")
        identity = self._snapshot.identity
        if name != identity.name or version not in ("", wire.LATEST, identity.version):
            raise DictionaryNotFound(
                f"no dictionary {asked.places['ref']!r} in {self._snapshot.folder}: it is {self._ref}"
            )
        return self._info()

    def _info(self) -> wire.DictionaryInfo:
        manifest, record = self._manifest, self._manifest.record
        if record is None:
            with_senses = [
                int((self._tables.numbers(f"{owners}.parquet", "sense_count") > 0).sum())
                for owners in ("tokens", "words")
            ]
        else:
            with_senses = [record.tokens_with_senses, record.words_with_senses]
        return wire.DictionaryInfo(
            **vars(manifest.identity),
            aliases=[],
            lexicon=manifest.lexicon,
            tokens_with_senses=with_senses[0],
            words_with_senses=with_senses[1],
            published_at=None if record is None else datetime.fromisoformat(record.published_at),
            settings=manifest.settings,
            sources=[wire.SourceInfo(**source) for source in manifest.sources],
        )

    def _token(self, asked: Asked) -> wire.TokenSenses:
        token = int(asked.places["token"])
        size = self._snapshot.identity.vocabulary_size
        found = self._words.token(token) if 0 <= token < size else None
        if found is None:
            raise TokenNotFound(f"token {token} is not in {self._ref}; ids run 0 .. {size - 1}")
        text, occurrences, first, count = found
        senses = list(self._words.senses(first, count))
        return wire.TokenSenses(token=token, text=text, occurrences=occurrences, senses=senses)

    def _word(self, asked: Asked) -> wire.WordSenses:
        given: dict[str, Any] = asked.given()
        word, pos, neighbours = given["word"], given.get("pos"), given.get("neighbours", 0)
        _between("neighbours", neighbours, 0, LIMITS.max_neighbours)
        if pos is not None:
            check_pos(self._manifest.lexicon, pos, self._relations.values)
        found = lookup.find_word(self._words, word, pos)
        if found is None:
            raise WordNotFound(lookup.word_not_found(word, self._ref, pos))
        wanted = neighbours and found.sense_count
        return told.word_senses(
            found,
            self._words.token_texts(found.token_ids),
            self._words.senses(found.first_sense, found.sense_count),
            nearby.nearest_words(self._snapshot, self._words.owners, found, neighbours) if wanted else {},
            self._words.parts_of_speech(found.text),
            self._words.glosses_of(found.text, pos),
        )

    def _beginning(self, asked: Asked) -> wire.WordList:
        given: dict[str, Any] = asked.given()
        limit = given["limit"]
        _between("limit", limit, 1, LIMITS.max_listed_words)
        prefix = beginnings.as_prefix(given["prefix"])
        found = beginnings.words_beginning(self._words, prefix, limit)
        return wire.WordList(prefix=prefix, words=[wire.FoundWord(**vars(word)) for word in found])

    def _sense(self, asked: Asked) -> wire.SenseDetail:
        sense = self._checked_sense(asked)
        owner = self._words.owners([sense])[sense]
        (plain,) = self._words.senses(sense, 1)
        vector = self._snapshot.vectors[sense].tolist()
        return wire.SenseDetail(**dict(plain), owner=owner.kind, token=owner.token_id, text=owner.text, vector=vector)

    def _neighbours(self, asked: Asked) -> wire.SenseNeighbours:
        sense = self._checked_sense(asked)
        limit: Any = asked.parameters["limit"]
        _between("limit", limit, 1, LIMITS.max_neighbours)
        owner = self._words.owners([sense])[sense]
        return wire.SenseNeighbours(
            id=sense,
            owner=owner.kind,
            token=owner.token_id,
            text=owner.text,
            neighbours=nearby.nearest_of_others(self._snapshot, self._words.owners, sense, limit),
        )

    def _page(self, asked: Asked) -> wire.RelationPage:
        given: dict[str, Any] = asked.given()
        wanted = self._filter(given)
        depth, limit = given.get("depth", 1), given.get("limit", 100)
        _between("depth", depth, 1, LIMITS.max_depth)
        found = self._related(given["word"])
        after, counting = given.get("cursor", "0 0"), "count" in given
        if found.word_id is None:  # a bare token
            total = 0 if counting else None
            return wire.RelationPage(
                word=found.text, matched=found.matched, relations=[], total=total, next_cursor=None
            )
        level, id = map(int, after.split())
        reached: int | None = None
        total, cut = None, False
        if depth == 1:
            page = self._relations.page(found.word_id, wanted, after=id, limit=limit + 1)
            seen = [seen_from(found.word_id, relation, 1) for relation in page]
            total = self._relations.count(found.word_id, wanted) if counting else None
        else:
            expand = self._relations.expanding(wanted)
            most = LIMITS.max_walk_words
            walked = walks.walk(expand, found.word_id, wanted.direction, depth=depth, most=most)
            places = walked.after(level, id, limit + 1)
            page = self._relations.by_id([id for _, id in places])
            ends = zip(page, places, strict=True)
            seen = [seen_from(walked.near_end(relation), relation, level) for relation, (level, _) in ends]
            total = len(walked.places) if counting else None
            reached, cut = len(walked.distances), walked.cut
        last = seen[limit - 1] if len(seen) > limit else None
        return wire.RelationPage(
            word=found.text,
            matched=found.matched,
            relations=seen[:limit],
            total=total,
            next_cursor=None if last is None else f"{last.depth} {last.id}",
            words_reached=reached,
            cut=cut,
        )

    def _path(self, asked: Asked) -> wire.Path:
        given: dict[str, Any] = asked.given()
        wanted = self._filter(given)
        word, other = self._related(given["word"]), self._related(given["other"])
        if word.word_id is None or other.word_id is None:
            return told.path(word, other, None)
        found = walks.shortest_path(
            self._relations.expanding(wanted),
            self._relations.by_id,
            word.word_id,
            other.word_id,
            wanted.direction,
            longest=LIMITS.max_path_relations,
            most=LIMITS.max_walk_words,
        )
        return told.path(word, other, found)

    def _explanation(self, asked: Asked) -> wire.Explanation:
        relation = int(asked.places["relation"])
        chain = self._relations.chain(relation) if 0 <= relation < 2**63 else []
        if not chain:
            raise RelationNotFound(relation_not_found(relation, self._manifest.lexicon, self._ref))
        first, original = chain[0], chain[-1]
        steps = []
        for child, parent in pairwise(chain):
            words = [word for word, _ in replaced(parent, child)]
            steps.append(derivation(parent, child, self._relations.segmentations(words, child.via)))
        return wire.Explanation(
            chain=[seen_from(relation.word_id, relation, 1) for relation in chain],
            derivations=steps,
            source=self._relations.sources[original.source],
            glosses={word: self._words.glosses_of(word) for word in (first.word, first.other)},
            judgement=self._relations.judgement(original),
        )

    def _candidate_sets(self, asked: Asked) -> Any:
        return self._snapshot.candidate_sets(_tensors(asked)["tokens"])

    def _get_senses(self, asked: Asked) -> Any:
        return self._snapshot.get_senses(_tensors(asked)["ids"])

    def _nearest_senses(self, asked: Asked) -> Any:
        tensors = _tensors(asked)
        if "search" in asked.metadata:
            raise NotInSnapshot(
                f"{self._snapshot.folder} is a dictionary's file set, which has no index for approximate search: "
                "leave `search` out, or ask a service"
            )
        return self._snapshot.nearest_senses(tensors["vectors"], int(asked.metadata["p"]), tensors.get("tokens"))

    def _checked_sense(self, asked: Asked) -> int:
        sense = int(asked.places["sense"])
        senses = self._snapshot.identity.senses
        if not 0 <= sense < senses:
            raise SenseNotFound(f"sense {sense} is not in {self._ref}; ids run 0 .. {senses - 1}")
        return sense

    def _filter(self, given: dict[str, Any]) -> Filter:
        types = given.get("type") or ()
        chosen = (types,) if isinstance(types, str) else tuple(sorted(set(types)))
        direction = given.get("direction", "both")
        if direction not in ("both", "out", "in"):
            raise InvalidInput(f"direction is both, out or in, got {direction!r}")
        wanted = Filter(chosen, direction, given.get("source"), given.get("rule"), given.get("pos"))
        if wanted != Filter(direction=direction):
            check_filter(self._manifest.lexicon, wanted, self._relations.values)
        return wanted

    def _related(self, word: str) -> Word:
        found = lookup.find_related_word(self._words, word)
        if found is None:
            raise WordNotFound(lookup.word_not_found(word, self._ref))
        return found


_SUBJECTS = {
    wire.JOBS: "builds",
    wire.JOB: "builds",
    wire.ID_MAP: "maps to other dictionaries",
    wire.ID_MAP_OF_WORD: "maps to other dictionaries",
    wire.HISTORY: "history",
    wire.SENSE_MAP: "maps of senses",
}


def _tensors(asked: Asked) -> arrays.Tensors:
    if asked.tensors is None:
        raise InvalidInput(f"{asked.route} takes tensors")
    return asked.tensors


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidInput(f"{name} is {low} .. {high}, got {value}")
