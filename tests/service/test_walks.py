"""Walks and paths over random relations, against a plain search of the same relations."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import pytest
from sqlalchemy import Engine, insert, update
from sqlalchemy.engine import URL

from conftest import copy_of_template
from sensedict.wire import Direction
from sensedict_server.database import opened
from sensedict_server.queries.relations import Filter, page_of_relations, relations_by_id
from sensedict_server.queries.walks import shortest_path, walk
from sensedict_server.tables import lexicons, relation_sources, relations, words

WORDS = 60
RELATIONS = 110  # few enough that some words lie far apart and some out of reach


@dataclass(frozen=True)
class Edge:
    id: int
    word: int
    other: int
    type: str
    directed: bool


@dataclass(frozen=True)
class Graph:
    engine: Engine
    lexicon_id: int
    words: list[int]
    edges: list[Edge]

    def steps(self, word: int, filter: Filter) -> Iterator[tuple[Edge, int]]:
        """Relations that lead from the word, and where to."""
        for edge in self.edges:
            if filter.types and edge.type not in filter.types:
                continue
            if edge.word == word and (not edge.directed or filter.direction != "in"):
                yield edge, edge.other
            if edge.other == word and (not edge.directed or filter.direction != "out"):
                yield edge, edge.word

    def distances(self, word: int, filter: Filter) -> dict[int, int]:
        found, queue = {word: 0}, [word]
        for near in queue:
            for _, far in self.steps(near, filter):
                if far not in found:
                    found[far] = found[near] + 1
                    queue.append(far)
        return found


@pytest.fixture(scope="module")
def graph(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    draw = random.Random(3)
    with copy_of_template(postgres, tmp_path_factory.mktemp("walks")) as settings, opened(settings) as engine:
        with engine.begin() as connection:
            lexicon = connection.execute(insert(lexicons).values(name="w", version="1").returning(lexicons.c.id))
            lexicon_id = lexicon.scalar_one()
            spelt = insert(words).returning(words.c.id)
            nodes = list(connection.execute(spelt, [{"text": f"w{i}"} for i in range(WORDS)]).scalars())
            source = insert(relation_sources).values(lexicon_id=lexicon_id, name="s", licence="CC0", version="1")
            source_id = connection.execute(source.returning(relation_sources.c.id)).scalar_one()
            edges = []
            for word, other, type_ in sorted(
                {(*draw.sample(nodes, 2), draw.choice(["synonym", "antonym", "hypernym"])) for _ in range(RELATIONS)},
                key=lambda _: draw.random(),
            ):
                directed = type_ == "hypernym"
                ends = [word, other] if directed else sorted((word, other))
                if any((edge.word, edge.other, edge.type) == (*ends, type_) for edge in edges):
                    continue
                row = insert(relations).values(
                    lexicon_id=lexicon_id,
                    word_id=ends[0],
                    other_id=ends[1],
                    type=type_,
                    source_id=source_id,
                    directed=directed,
                )
                id = connection.execute(row.returning(relations.c.id)).scalar_one()
                edges.append(Edge(id, ends[0], ends[1], type_, directed))
            connection.execute(update(lexicons).values(state="published"))
        yield Graph(engine, lexicon_id, nodes, edges)


TYPES: list[tuple[str, ...]] = [(), ("hypernym",), ("hypernym", "synonym")]
FILTERS = [Filter(types, direction) for types in TYPES for direction in get_args(Direction)]


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_walks(graph: Graph, filter: Filter) -> None:
    with graph.engine.connect() as connection:
        for word in graph.words[::5]:
            distances = graph.distances(word, filter)
            for depth in (1, 2, 4):
                expected: dict[int, int] = {}
                for near, distance in sorted(distances.items(), key=lambda item: item[1]):
                    for edge, _ in graph.steps(near, filter) if distance < depth else ():
                        expected.setdefault(edge.id, distance + 1)
                walked = walk(connection, graph.lexicon_id, word, filter, depth=depth, most=WORDS)
                assert walked.places == sorted((level, id) for id, level in expected.items())
                assert walked.distances == {far: steps for far, steps in distances.items() if steps <= depth}
                assert not walked.cut
                for relation, (level, _) in zip(
                    relations_by_id(connection, graph.lexicon_id, [id for _, id in walked.places]),
                    walked.places,
                    strict=True,
                ):
                    near = walked.near_end(relation)
                    assert distances[near] == level - 1
                    assert relation.id in [edge.id for edge, _ in graph.steps(near, filter)]
            hop = page_of_relations(connection, graph.lexicon_id, word, filter, after=0, limit=WORDS)
            assert [relation.id for relation in hop] == sorted({edge.id for edge, _ in graph.steps(word, filter)})


@pytest.mark.parametrize("most", [1, 2, 7, 20])
def test_a_walk_is_cut(graph: Graph, most: int) -> None:
    with graph.engine.connect() as connection:
        for word in graph.words[::7]:
            distances = graph.distances(word, Filter())
            walked = walk(connection, graph.lexicon_id, word, Filter(), depth=4, most=most)
            within = sorted(steps for steps in distances.values() if steps <= 4)
            assert walked.cut == (len(within) > most)
            assert sorted(walked.distances.values()) == within[:most]  # the nearest ones
            assert all(distances[far] == steps for far, steps in walked.distances.items())
            for relation in relations_by_id(connection, graph.lexicon_id, [id for _, id in walked.places]):
                assert {relation.word_id, relation.other_id} <= set(walked.distances)


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_shortest_paths(graph: Graph, filter: Filter) -> None:
    with graph.engine.connect() as connection:
        for word in graph.words[::9]:
            distances = graph.distances(word, filter)
            for other in graph.words[::4]:
                path = shortest_path(connection, graph.lexicon_id, word, other, filter, longest=WORDS, most=2 * WORDS)
                assert (path.found, path.bound) == (other in distances, None)
                assert len(path.steps) == distances.get(other, 0)
                at = word
                for relation, near in path.steps:
                    assert near == at
                    ((_, at),) = [step for step in graph.steps(near, filter) if step[0].id == relation.id]
                assert at == other or not path.found


def test_bounds_of_a_path(graph: Graph) -> None:
    word = graph.words[0]
    distances = graph.distances(word, Filter())
    other = max(distances, key=lambda far: (distances[far], far))
    away = distances[other]
    assert away > 3
    with graph.engine.connect() as connection:

        def bound(longest: int, most: int) -> str | None:
            path = shortest_path(connection, graph.lexicon_id, word, other, Filter(), longest=longest, most=most)
            assert path.found == (path.bound is None)
            return path.bound

        assert bound(away, 2 * WORDS) is None
        assert bound(away - 1, 2 * WORDS) == "relations"
        assert bound(away, 3) == "words"
