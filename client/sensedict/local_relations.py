"""Relations of a file set: those of a word, those that lead on from words, and what decides where one comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict import wire
from sensedict.fileset import Manifest
from sensedict.lexical import Filter, FilterValues, Relation, Segmentation
from sensedict.parquet import Tables, grouped
from sensedict.walks import Expand

_RELATIONS, _GLOSSES, _LISTED = "relations.parquet", "glosses.parquet", "relation_glosses.parquet"
_SEGMENTATIONS, _JUDGEMENTS, _FORMS = "segmentations.parquet", "judgements.parquet", "forms.parquet"
_PLAIN = ("word_id", "other_id", "word", "other", "type", "directed", "source", "licence", "via", "rule")
_COLUMNS = ("relation_id", *_PLAIN, "parent_id", "conflict", "pos")
_Ends = tuple[NDArray[np.int64], NDArray[np.int64]]  # places of relations by an end, and those ends in rising order


class LocalRelations:
    """The relations of a file set's lexicon."""

    def __init__(self, tables: Tables, manifest: Manifest) -> None:
        self._tables = tables
        self._manifest = manifest
        self._wanted = lru_cache(maxsize=8)(self._passing)

    def page(self, word_id: int, wanted: Filter, *, after: int, limit: int) -> list[Relation]:
        """At most `limit` relations of a word with ids above `after`, in rising id, whichever end it stands at."""
        places, _ = self._leading([word_id], wanted)
        return self._at(places[self._ids[places] > after][:limit])

    def count(self, word_id: int, wanted: Filter) -> int:
        """How many relations of the word pass the filter."""
        return len(self._leading([word_id], wanted)[0])

    def by_id(self, ids: Sequence[int]) -> list[Relation]:
        """The relations with those ids, in that order; ids that the lexicon does not hold are passed over."""
        asked = np.array(ids, np.int64)
        places = np.minimum(np.searchsorted(self._ids, asked), max(0, len(self._ids) - 1))
        return self._at(places[self._ids[places] == asked]) if len(self._ids) else []

    def expanding(self, wanted: Filter) -> Expand:
        """What a walk through the filter asks."""

        def expand(nodes: list[int], direction: wire.Direction) -> tuple[list[int], list[int]]:
            turned = Filter(wanted.types, direction, wanted.source, wanted.rule, wanted.pos)
            places, far = self._leading(nodes, turned)
            return self._ids[places].tolist(), far.tolist()

        return expand

    def chain(self, relation: int) -> list[Relation]:
        """The relation, the one it comes from, and so on to the original; empty where there is none of that id."""
        chain = self.by_id([relation])
        while chain and chain[-1].parent_id is not None:  # ends: a parent's id is smaller
            chain += self.by_id([chain[-1].parent_id])
        return chain

    def segmentations(self, words: Sequence[str], source: str | None) -> dict[str, Segmentation]:
        """How the words are built, by word; as that source has it, or else the first that was loaded."""
        order = list(self.sources)
        found: dict[str, Segmentation] = {}
        for word in words:  # segmented words are stored in lower case
            places = np.array(self._segmented.get(word.lower(), []), np.int64)
            rows = self._tables.rows(_SEGMENTATIONS, places, ("word", "source", "text"))
            rows = [row for row in rows if source in (None, row["source"])]
            for row in sorted(rows, key=lambda row: order.index(row["source"]))[:1]:
                of = self.sources[row["source"]]
                found[word] = Segmentation(row["word"], row["text"], of.name, of.licence, of.version)
        return found

    def judgement(self, relation: Relation) -> wire.Judgement | None:
        """The lexicographer's judgement that added the relation, if one did."""
        ends = [(relation.word, relation.other)] + ([] if relation.directed else [(relation.other, relation.word)])
        columns = ("judgement_id", "verdict", "word", "other", "type", "reason", "author", "created_at")
        rows = self._tables.rows(_JUDGEMENTS, np.arange(len(self._tables.column(_JUDGEMENTS, "word"))), columns)
        for row in rows:
            if row["verdict"] == "add" and row["type"] == relation.type and (row["word"], row["other"]) in ends:
                told = {name: row[name] for name in ("reason", "author", "created_at")}
                return wire.Judgement(id=row["judgement_id"], **told)
        return None

    @cached_property
    def sources(self) -> dict[str, wire.Source]:
        """The sources of the lexicon by name, in the order they were loaded in."""
        record = self._manifest.record
        listed: list[dict[str, Any]] = self._manifest.sources if record is None else record.lexicon_sources
        return {one["name"]: wire.Source(**{key: one[key] for key in wire.Source.model_fields}) for one in listed}

    @cached_property
    def values(self) -> FilterValues:
        """What filters can find."""
        types, sources, rules, pos = (
            set(self._tables.codes(_RELATIONS, column)[1]) for column in ("type", "source", "rule", "pos")
        )
        others = {value for name in (_GLOSSES, _FORMS) for value in self._tables.codes(name, "pos")[1]}
        kinds = {rule.partition(":")[0] for rule in rules}
        return FilterValues(*(tuple(sorted(each)) for each in (types, sources, rules, kinds, pos, pos | others)))

    def _at(self, places: NDArray[np.int64]) -> list[Relation]:
        return [self._relation(row) for row in self._tables.rows(_RELATIONS, places, _COLUMNS)]

    def _relation(self, row: dict[str, Any]) -> Relation:
        via = self.sources.get(row["via"] or "")
        return Relation(
            id=row["relation_id"],
            **{name: row[name] for name in (*_PLAIN, "parent_id", "conflict", "pos")},
            version=self.sources[row["source"]].version,
            via_licence=None if via is None else via.licence,
            glosses=self._glosses_of(row["relation_id"]),
        )

    def _glosses_of(self, relation: int) -> list[tuple[int, str]]:
        listed = self._tables.numbers(_LISTED, "relation_id")
        start, stop = np.searchsorted(listed, [relation, relation + 1])
        if start == stop:
            return []
        glosses = self._tables.numbers(_LISTED, "gloss_id")[start:stop]
        places = np.searchsorted(self._tables.numbers(_GLOSSES, "gloss_id"), glosses)
        rows = self._tables.rows(_GLOSSES, places, ("word_id", "text"))
        return [(row["word_id"], row["text"]) for row in rows]

    def _leading(self, nodes: Sequence[int], wanted: Filter) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(place, far end) of the wanted relations that lead on from any of the nodes, in rising place and so id."""
        first, second = (_standing(ends, nodes) for ends in self._ends)
        directed = self._tables.numbers(_RELATIONS, "directed")
        if wanted.direction == "out":
            second = second[~directed[second]]
        if wanted.direction == "in":
            first = first[~directed[first]]
        far = np.concatenate(
            [
                self._tables.numbers(_RELATIONS, "other_id")[first],
                self._tables.numbers(_RELATIONS, "word_id")[second],
            ]
        )
        places = np.concatenate([first, second])
        kept = self._wanted(Filter(wanted.types, "both", wanted.source, wanted.rule, wanted.pos))[places]
        places, far = places[kept], far[kept]
        order = np.argsort(places, kind="stable")
        return places[order], far[order]

    def _passing(self, wanted: Filter) -> NDArray[np.bool_]:
        """Which relations pass, whatever their direction."""
        passing = np.ones(len(self._ids), np.bool_)
        whole = {"type": wanted.types, "source": (wanted.source,), "pos": (wanted.pos,)}
        for column, chosen in whole.items():
            if any(chosen):
                codes, values = self._tables.codes(_RELATIONS, column)
                passing &= np.isin(codes, [code for code, value in enumerate(values) if value in chosen])
        if wanted.rule:
            codes, values = self._tables.codes(_RELATIONS, "rule")
            fitting = [code for code, value in enumerate(values) if wanted.rule in (value, value.partition(":")[0])]
            passing &= np.isin(codes, fitting)
        return passing

    @cached_property
    def _ids(self) -> NDArray[np.int64]:
        return self._tables.numbers(_RELATIONS, "relation_id")

    @cached_property
    def _ends(self) -> tuple[_Ends, _Ends]:
        def sorted_by(column: str) -> _Ends:
            ends = self._tables.numbers(_RELATIONS, column)
            order = np.argsort(ends, kind="stable")
            return order, ends[order]

        return sorted_by("word_id"), sorted_by("other_id")

    @cached_property
    def _segmented(self) -> Mapping[str, list[int]]:
        return grouped(self._tables.texts(_SEGMENTATIONS, "word"))


def _standing(ends: _Ends, nodes: Sequence[int]) -> NDArray[np.int64]:
    """Places of the relations with one of the nodes at that end."""
    order, sorted_ends = ends
    starts = np.searchsorted(sorted_ends, nodes, "left")
    lengths = np.searchsorted(sorted_ends, nodes, "right") - starts
    before = np.cumsum(lengths) - lengths
    return order[np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))]
