"""Relations by direction, depth, rule and part of speech; paths, explanations, neighbours; words by form and lemma."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import URL

from conftest import copy_of_template
from rich_lexicon import PLEASED, REASON, RELATIONS, insert_rich_lexicon
from running_service import Service, running_service
from sensedict import wire
from sensedict.cli import cli
from sensedict.client import SenseClient
from sensedict.errors import InvalidInput, RelationNotFound, SenseNotFound, WordNotFound
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from service_problems import expect_problem
from tiny_dictionary import make_draft

RICH = "/v1/dictionaries/tiny@1"


@dataclass(frozen=True)
class Rich:
    """A service of the dictionary over the rich lexicon; `ids` are of its relations, in the order of the list."""

    service: Service
    client: SenseClient
    http: httpx.Client
    draft: Draft
    ids: list[int]


@pytest.fixture(scope="module")
def rich(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rich]:
    folder = tmp_path_factory.mktemp("rich")
    with copy_of_template(postgres, folder / "home") as settings:
        with opened(settings) as engine:
            lexicon, words, ids = insert_rich_lexicon(engine)
            draft = make_draft(lexicon, words)
            publish(engine, settings.files, draft)
        with (
            running_service(settings, folder / "log") as service,
            SenseClient(service.url, "tiny@1") as client,
            httpx.Client(base_url=service.url) as http,
        ):
            yield Rich(service, client, http, draft, ids)


def found(rich: Rich, word: str, **asked: Any) -> list[tuple[str, str, str, int]]:
    return [(r.word, r.type, r.other, r.depth) for r in rich.client.relations(word, **asked)]


def test_a_directed_relation_is_seen_from_both_ends(rich: Rich) -> None:
    assert {(r.word, r.other, r.direction) for r in rich.client.relations("cold")} == {
        ("cold", "ice cream", "in"),
        ("cold", "frost", "out"),
        ("cold", "frost", "both"),
        ("cold", "hot", "both"),
    }


def test_relations_of_one_direction(rich: Rich) -> None:
    assert found(rich, "cold", type="hypernym", direction="out") == [("cold", "hypernym", "frost", 1)]
    assert found(rich, "cold", type="hypernym", direction="in") == [("cold", "hypernym", "ice cream", 1)]
    assert {(other, type_) for _, type_, other, _ in found(rich, "cold", direction="out")} == {
        ("frost", "hypernym"),
        ("frost", "synonym"),
        ("hot", "antonym"),
    }


def test_filters(rich: Rich) -> None:
    assert found(rich, "sad", rule="negation:un-") == found(rich, "sad", rule="negation")
    assert found(rich, "sad", rule="negation") == [("sad", "antonym", "kind", 1)]
    assert found(rich, "sad", pos="adjective") == [("sad", "antonym", "happy", 1)]
    assert found(rich, "sad", source="thesaurus", type="synonym") == [("sad", "synonym", "unkind", 1)]
    types = {type_ for _, type_, _, _ in found(rich, "cold", type=["antonym", "synonym"])}
    assert types == {"antonym", "synonym"}


def test_what_a_relation_says_of_itself(rich: Rich) -> None:
    (glad,) = rich.client.relations("glad")
    assert glad.pos == "adjective"
    assert [(gloss.word, gloss.text) for gloss in glad.glosses] == PLEASED
    (derived,) = rich.client.relations("kind")
    assert derived.via == wire.Via(name="morphemes", licence="CC-BY-NC-4.0")
    assert (derived.rule, derived.parent, derived.licence) == ("negation:un-", rich.ids[0], "CC-BY-4.0")
    assert (derived.source, derived.source_version) == ("thesaurus", "2")


def test_a_walk_lists_each_relation_once_and_by_depth(rich: Rich) -> None:
    walked = found(rich, "ice cream", type="hypernym", direction="out", depth=3)
    assert walked == [
        ("ice cream", "hypernym", "cold", 1),
        ("cold", "hypernym", "frost", 2),
        ("frost", "hypernym", "up", 3),
    ]
    whole = found(rich, "ice cream", type="hypernym", direction="out", depth=6)
    assert whole[3:] == [("up", "hypernym", "ice cream", 4)]
    assert [(word, other) for word, _, other, _ in found(rich, "frost", type="hypernym", direction="in", depth=2)] == [
        ("frost", "cold"),
        ("cold", "ice cream"),
    ]
    both = list(rich.client.relations("cold", depth=6))
    assert len({r.id for r in both}) == len(both) == len(RELATIONS) - 1  # New York is out of reach
    assert [(r.depth, r.id) for r in both] == sorted((r.depth, r.id) for r in both)
    (page,) = rich.client.relation_pages("cold", depth=6)
    assert (page.words_reached, page.cut) == (11, False)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_of_a_walk(rich: Rich, depth: int, limit: int) -> None:
    whole = list(rich.client.relations("hot", depth=depth))
    pages: list[wire.Relation] = []
    asked: dict[str, str | int] = {"word": "hot", "depth": depth, "limit": limit}
    while True:
        answer = rich.http.get(f"{RICH}/relations", params=asked).raise_for_status()
        page = wire.RelationPage.model_validate_json(answer.text)
        assert len(page.relations) <= limit
        pages += page.relations
        if page.next_cursor is None:
            break
        asked["cursor"] = page.next_cursor
    assert pages == whole


def test_a_cursor_is_of_one_query(rich: Rich) -> None:
    asked: dict[str, str | list[str]] = {
        "word": "cold",
        "limit": "1",
        "depth": "2",
        "type": ["antonym", "related"],
    }
    cursor = rich.http.get(f"{RICH}/relations", params=asked).json()["next_cursor"]
    good = {**asked, "cursor": cursor}
    for change in ({"limit": "7"}, {"word": "COLD"}, {"type": ["related", "antonym"]}):  # the same relations
        rich.http.get(f"{RICH}/relations", params={**good, **change}).raise_for_status()
    for change in (
        {"word": "hot"},
        {"depth": "3"},
        {"type": "synonym"},
        {"direction": "in"},
        {"source": "thesaurus"},
        {"rule": "negation"},
        {"pos": "noun"},
    ):
        answer = rich.http.get(f"{RICH}/relations", params={**good, **change})
        expect_problem(answer, 422, "invalid-input", "of another query")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("relations?word=hot&direction=up", "/direction"),
        ("relations?word=hot&depth=0", "/depth"),
        ("relations?word=hot&depth=7", "/depth"),
        ("relations?word=hot&depth=two", "/depth"),
        ("relations?word=hot&rule=a%00", "U+0000"),
        ("relations?word=hot&pos=a%00", "U+0000"),
        ("relations?word=hot&type=synonym&type=a%00", "U+0000"),
        ("path?word=hot", "/other"),
        ("path?word=hot&other=", "the word is empty"),
        (f"path?word=hot&other={'x' * 257}", "at most 256"),
        ("path?word=hot&other=cold&direction=sideways", "/direction"),
        ("path?word=hot&other=cold&type=a%00", "U+0000"),
        ("senses?word=hot&pos=a%00", "U+0000"),
        ("senses?word=hot&neighbours=-1", "/neighbours"),
        ("senses?word=hot&neighbours=51", "/neighbours"),
        ("senses/1/neighbours?limit=0", "/limit"),
        ("senses/1/neighbours?limit=51", "/limit"),
        ("relations/hot", "/relation"),
    ],
)
def test_what_cannot_be_asked(rich: Rich, path: str, says: str) -> None:
    expect_problem(rich.http.get(f"{RICH}/{path}"), 422, "invalid-input", says)


def test_what_is_not_there(rich: Rich) -> None:
    for relation in (0, -1, max(rich.ids) + 1, 2**70):
        answer = rich.http.get(f"{RICH}/relations/{relation}")
        expect_problem(answer, 404, "relation-not-found", "is not in rich@1, the lexicon of tiny@1")
    with pytest.raises(RelationNotFound, match="take an id of"):
        rich.client.explain(0)
    with pytest.raises(WordNotFound, match="'nosuchword'"):
        rich.client.path("hot", "nosuchword")
    with pytest.raises(SenseNotFound, match="ids run 0"):
        rich.client.neighbours(10_000)
    with pytest.raises(InvalidInput) as refused:
        list(rich.client.relations("hot", depth=99))
    assert refused.value.detail.count("less than or equal to 6") == 1


def test_shortest_paths(rich: Rich) -> None:
    way = rich.client.path("kind", "ice cream")
    assert way.found
    assert way.words == ["kind", "sad", "happy", "hot", "cold", "ice cream"]
    assert [(r.word, r.other) for r in way.relations] == list(zip(way.words, way.words[1:], strict=False))
    assert [r.depth for r in way.relations] == [1, 2, 3, 4, 5]
    assert rich.client.path("ICE CREAM", "kind").words == way.words[::-1]
    assert rich.client.path("frost", "cold", "hypernym").words == ["frost", "cold"]
    there = rich.client.path("frost", "cold", "hypernym", direction="out")
    assert there.words == ["frost", "up", "ice cream", "cold"]
    assert {r.direction for r in there.relations} == {"out"}
    assert rich.client.path("cold", "frost", "hypernym", direction="in").words == there.words[::-1]


def test_where_no_path_is(rich: Rich) -> None:
    none = rich.client.path("hot", "Paris")
    assert (none.found, none.words, none.relations, none.bound) == (False, [], [], None)
    assert not rich.client.path("hot", "cat").found  # a bare token
    for asked, word in (("HOT", "hot"), ("cat", "cat")):
        same = rich.client.path(asked, word)
        assert (same.found, same.words, same.relations) == (True, [word], [])


def test_a_derived_relation_is_explained(rich: Rich) -> None:
    told = rich.client.explain(rich.ids[1])
    assert [(r.id, {r.word, r.other}) for r in told.chain] == [
        (rich.ids[1], {"kind", "sad"}),
        (rich.ids[0], {"unkind", "sad"}),
    ]
    (step,) = told.derivations
    assert (step.relation, step.parent, step.rule) == (rich.ids[1], rich.ids[0], "negation:un-")
    (negated,) = step.negated
    assert (negated.word, negated.base, negated.affixes, negated.segmentation) == (
        "unkind",
        "kind",
        ["un-"],
        "<un<(kind)",
    )
    assert negated.source == wire.Source(name="morphemes", licence="CC-BY-NC-4.0", version="3")
    assert told.source == wire.Source(name="thesaurus", licence="CC-BY-4.0", version="2")
    assert told.judgement is None


def test_a_listed_relation_is_explained(rich: Rich) -> None:
    told = rich.client.explain(rich.ids[8])
    assert told.derivations == []
    assert told.judgement is not None
    assert (told.judgement.reason, told.judgement.author) == (REASON, "Ada")
    assert [(gloss.pos, gloss.text) for gloss in told.glosses["cold"]] == [
        ("noun", "lack of heat"),
        ("adjective", "low in temperature"),
        (None, "the opposite of hot"),
    ]
    assert rich.client.explain(rich.ids[0]).judgement is None


@pytest.mark.parametrize(
    ("asked", "word", "matched"),
    [
        ("cold", "cold", "exact"),
        ("COLD", "cold", "case"),
        ("colder", "cold", "form"),
        ("Colder", "cold", "form"),
        ("frostify", "frosty", "form"),  # the other way round
        ("kinds", "kind", "lemma"),
        ("Summers", "summer", "lemma"),
        ("cats", "cat", "lemma"),  # a bare token
    ],
)
def test_how_a_word_matched(rich: Rich, asked: str, word: str, matched: str) -> None:
    senses = rich.client.word(asked)
    assert (senses.word, senses.matched) == (word, matched)
    if word != "cat":
        (page,) = rich.client.relation_pages(asked)
        assert (page.word, page.matched) == (word, matched)


def test_a_word_by_part_of_speech(rich: Rich) -> None:
    cold = rich.client.word("cold")
    assert cold.pos == ["adjective", "noun"]
    assert [gloss.text for gloss in cold.glosses] == ["lack of heat", "low in temperature", "the opposite of hot"]
    assert {(gloss.source, gloss.licence) for gloss in cold.glosses} == {
        ("wiktionary", "CC-BY-SA-4.0"),
        ("thesaurus", "CC-BY-4.0"),
    }
    assert [gloss.text for gloss in rich.client.word("cold", pos="noun").glosses] == ["lack of heat"]
    assert rich.client.word("big", pos="verb").matched == "exact"  # no source says what it is
    with pytest.raises(WordNotFound, match="as 'verb': ask without pos"):
        rich.client.word("cold", pos="verb")


def test_neighbours_of_every_sense(rich: Rich) -> None:
    """Against the distances of all senses, one by one."""
    tokens = rich.draft.tokens
    vectors = np.concatenate([tokens.vectors, rich.draft.words.vectors]).astype(np.float64)
    owners = np.searchsorted(tokens.offsets, np.arange(len(tokens.vectors)), side="right")
    for sense in range(0, len(tokens.vectors), 7):
        near = rich.client.neighbours(sense, 5)
        apart = ((vectors - vectors[sense]) ** 2).mean(axis=1)
        apart[: len(owners)][owners == owners[sense]] = np.inf
        assert [one.id for one in near.neighbours] == np.argsort(apart, kind="stable")[:5].tolist()
        assert np.allclose([one.distance for one in near.neighbours], np.sort(apart)[:5], rtol=1e-5)
        assert near.text == rich.client.sense(sense).text
        for one in near.neighbours:
            owner = rich.client.sense(one.id)
            assert (one.text, one.token, one.owner) == (owner.text, owner.token, owner.owner)


def test_nearest_words_of_each_sense(rich: Rich) -> None:
    assert all(sense.neighbours is None for sense in rich.client.word("hot").senses)
    for word in ("hot", "ice cream", "cat"):
        for sense in rich.client.word(word, neighbours=6).senses:
            near = sense.neighbours or []
            texts = [one.text.strip().casefold() for one in near]
            assert len(set(texts)) == len(texts) == 6
            assert word not in texts  # neither " hot" nor " Hot"
            assert [one.distance for one in near] == sorted(one.distance for one in near)
    assert rich.client.word("frosty", neighbours=3).senses == []


def query(rich: Rich, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["query", "--server", rich.service.url, *arguments])
    assert done.exit_code == 0 or isinstance(done.exception, click.ClickException), done.output
    return done.output


def test_the_command_line(rich: Rich) -> None:
    walked = query(rich, "relations", "ice cream", "--type", "hypernym", "--direction", "out", "--depth", "2")
    lines = [line.split() for line in walked.splitlines()]
    assert lines[0] == ["id", "depth", "from", "type", "way", "word", "pos", "source", "licence"]
    assert [line[1] for line in lines[1:]] == ["1", "2"]
    assert "CC-BY-4.0, CC-BY-NC-4.0" in query(rich, "relations", "sad", "--rule", "negation")
    assert query(rich, "relations", "hot", "--rule", "negation", "--direction", "in") == (
        "none of direction 'in' of rule 'negation'\n"
    )
    assert query(rich, "relations", "colder").startswith("colder → cold, found by a listed form\n")
    assert query(rich, "path", "hot", "Paris") == "there is no way from hot to Paris\n"
    told = query(rich, "path", "hot", "ice cream", "--type", "antonym")
    assert told == "there is no way of type 'antonym' from hot to ice cream\n"
    assert "happy" in query(rich, "path", "kind", "hot")
    assert "glad: pleased with a thing (and 1 more)" in query(rich, "relations", "glad")
    told = query(rich, "explain", str(rich.ids[1]))
    assert "unkind without un- is kind, built <un<(kind) (morphemes, CC-BY-NC-4.0)" in told
    assert "listed by thesaurus 2, licence CC-BY-4.0" in told
    assert "by Ada, 20" in query(rich, "explain", str(rich.ids[8]))
    assert "distance" in query(rich, "neighbours", "0", "--limit", "3")
    assert "lack of heat" in query(rich, "senses", "cold", "--pos", "noun", "--neighbours", "2")
    for arguments in (("path", "hot", "cold"), ("explain", str(rich.ids[0])), ("neighbours", "0")):
        assert query(rich, *arguments, "--json").startswith("{")


def test_openapi_describes_every_parameter(rich: Rich) -> None:
    described = rich.http.get("/openapi.json").json()
    silent = [
        (path, parameter["name"])
        for path, methods in described["paths"].items()
        for method in methods.values()
        for parameter in method.get("parameters", [])
        if not parameter.get("description")
    ]
    assert silent == []
