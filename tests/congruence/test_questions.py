"""What people ask, over HTTP one at a time, over HTTP many at once, and of the file set: one answer, one error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy.engine import URL

from conftest import copy_of_template
from rich_lexicon import OTHER_WORDS, insert_rich_lexicon
from running_service import running_service
from sensedict import bulk_questions, named, questions, wire
from sensedict.client import AsyncSenseClient, SenseClient, SnapshotClient, open_dictionary
from sensedict.errors import DictionaryNotFound, InvalidInput, NotInSnapshot, SenseDictError, WordNotFound
from sensedict.questions import Questions
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from tiny_dictionary import TOKENS, WORDS, make_draft
from waiting import Waiting

SENSES = 81
# Spelt as it stands, folded, with combining accents, as a form, by a rule, as a token alone, and not at all.
SPELT = [
    *WORDS,
    *OTHER_WORDS,
    *(text for text, _ in TOKENS if text.strip() and "\ud83d" not in text and text != "\x00"),
]
ASKED = [*SPELT, "HOT", "new york", "MAY", "e\u0301te\u0301", "colder", "frosts", "summers", "cats", "nowhere"]


@dataclass(frozen=True)
class Three:
    """The three ways to ask, where they ask, and the ids of the relations of the rich lexicon."""

    client: SenseClient
    at_once: Any
    folder: SnapshotClient
    url: str
    sets: Path
    ids: list[int]


@pytest.fixture(scope="module")
def three(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    home = tmp_path_factory.mktemp("three")
    with copy_of_template(postgres, home / "home") as settings:
        with opened(settings) as engine:
            lexicon, words, ids = insert_rich_lexicon(engine)
            publish(engine, settings.files, make_draft(lexicon, words))
        with (
            running_service(settings, home / "log") as service,
            SenseClient(service.url, "tiny@1") as client,
            SnapshotClient(settings.files / "tiny@1") as folder,
        ):
            at_once = Waiting(service.url, "tiny@1")
            yield Three(client, at_once, folder, service.url, settings.files, ids)
            at_once.end()


def said(ask: Callable[[Any], object], source: Any) -> object:
    """The answer, streams as lists, or the error's class and words."""
    try:
        answer = ask(source)
        return list(answer) if isinstance(answer, Iterator) else answer
    except SenseDictError as error:
        return type(error), error.detail


def same(three: Three, ask: Callable[[Any], object]) -> Any:
    answer = said(ask, three.client)
    assert said(ask, three.at_once) == answer
    assert said(ask, three.folder) == answer
    return answer


def test_every_word(three: Three) -> None:
    matched = set()
    for word in ASKED:
        answer = same(three, lambda source, word=word: source.word(word, neighbours=3))
        matched.add(answer[0] if isinstance(answer, tuple) else answer.matched)
    assert matched == {"exact", "case", "form", "lemma", WordNotFound}
    for word in ("cold", "sad", "colder", "nowhere"):
        for pos in ("noun", "verb", "nown"):
            same(three, lambda source, word=word, pos=pos: source.word(word, pos=pos))


def test_every_token_and_sense(three: Three) -> None:
    for token in (*range(len(TOKENS)), len(TOKENS), -1):
        same(three, lambda source, token=token: source.token(token))
    for sense in (*range(0, SENSES, 7), 80, SENSES, -1):
        same(three, lambda source, sense=sense: source.sense(sense))
        same(three, lambda source, sense=sense: source.contexts(sense))
        same(three, lambda source, sense=sense: source.neighbours(sense, 4))


# Of nothing, of tokens alone, of words alone, of several words, folded, in any script, with a blank before.
PREFIXES = [
    "h",
    "H",
    "Hot",
    "HOT",
    "fro",
    "ice ",
    " ice",
    "e\u0301t",
    "日",
    "/",
    "k",
    "un",
    "new y",
    "%",
    "_",
    "zzz",
    "a",
]


def test_words_by_their_beginning(three: Three) -> None:
    seen: set[str] = set()
    for prefix in PREFIXES:
        for limit in (1, 3, 100):
            seen |= {one.word for one in same(three, lambda source, p=prefix, n=limit: source.words(p, n)).words}
    assert {"hot", "Hot", "frosty", "ice cream", "été", "日本", "/", "kind"} <= seen
    for source in (three.client, three.at_once, three.folder):
        for wrong in ((" ", 1), ("a", 0), ("a", 101), ("a\x00", 1)):
            with pytest.raises(InvalidInput):
                source.words(*wrong)


# What reads and is no question of a dictionary's user: for administrators, for supervisors, and a download of its own.
NOT_ASKED = {wire.USES, wire.LIVEZ, wire.READYZ, wire.METRICS, wire.SNAPSHOT}


def test_every_route_that_reads_is_asked(three: Three) -> None:
    described = httpx.get(f"{three.url}/openapi.json").json()["paths"]
    reads = {path for path, methods in described.items() if "get" in methods}
    reads |= {wire.CANDIDATE_SETS, wire.GET_SENSES, wire.NEAREST_SENSES}
    texts = [Path(module.__file__).read_text(encoding="utf-8") for module in (named, questions, bulk_questions)]
    names = re.findall(r"\bwire\.([A-Z_]{2,})\b", " ".join(texts))
    assert reads - NOT_ASKED == {getattr(wire, name) for name in names} - {wire.PARQUET, wire.SAFETENSORS}
    for name in {name for name in dir(Questions) if not name.startswith("_")}:
        assert hasattr(SenseClient, name), name
        assert hasattr(AsyncSenseClient, name), name


FILTERS: list[dict[str, Any]] = [
    {},
    {"type": "hypernym", "direction": "out"},
    {"type": ["synonym", "antonym"], "direction": "in"},
    {"source": "wiktionary"},
    {"rule": "negation"},
    {"rule": "negation:un-"},
    {"pos": "adjective"},
    {"pos": "noun", "source": "wiktionary", "type": "hypernym"},
    {"type": "hypernim"},
    {"source": "nobody"},
]


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_relations(three: Three, filter: dict[str, Any]) -> None:
    for word in ("cold", "sad", "kind", "New York", "up", "cat", "colder", "Nowhere"):
        same(three, lambda source, word=word: source.relations(word, **filter))
    for depth in (2, 6):
        same(three, lambda source, depth=depth: source.relations("cold", depth=depth, **filter))
    answer = same(three, lambda source: source.path("happy", "ice cream", filter.get("type")))
    same(three, lambda source: source.path("cold", "up", "hypernym", direction=filter.get("direction", "both")))
    assert answer


def test_pages(three: Three) -> None:
    def ask(source: Any) -> list[Any]:
        pages = source.relation_pages("cold", depth=3, limit=9, count=True)
        return [(page.total, page.cut, page.words_reached, page.relations) for page in pages]

    assert same(three, ask)[0][0] > 9
    everything = list(three.client.relations("cold", depth=6))
    first = three.folder._answer(three.folder._questions._get(*_page_of("cold", None)))
    second = three.folder._answer(three.folder._questions._get(*_page_of("cold", first.next_cursor)))
    assert first.relations + second.relations == everything[:4]


def _page_of(word: str, cursor: str | None) -> Any:
    return wire.RELATIONS, wire.RelationPage, {"word": word, "depth": 6, "limit": 2, "cursor": cursor}


def test_every_relation_explained(three: Three) -> None:
    judged = derived = 0
    for relation in (*three.ids, 10**6, -1):
        answer = same(three, lambda source, relation=relation: source.explain(relation))
        if not isinstance(answer, tuple):
            judged += answer.judgement is not None
            derived += any(step.negated[0].segmentation for step in answer.derivations)
    assert (judged, derived) == (1, 1)


def test_no_way_and_no_depth(three: Three) -> None:
    assert not same(three, lambda source: source.path("hot", "Paris")).found
    assert same(three, lambda source: source.path("cat", "CAT")).found
    for source in (three.client, three.at_once, three.folder):
        for wrong in ({"depth": 7}, {"depth": 0}, {"direction": "up"}, {"limit": 0}):
            with pytest.raises(InvalidInput):
                list(source.relations("hot", **wrong))
        with pytest.raises(InvalidInput):
            source.word("hot", neighbours=51)
        with pytest.raises(InvalidInput):
            source.neighbours(0, 0)


def test_senses_part_by_part(three: Three) -> None:
    ids = np.arange(40_000) % SENSES
    for source in (three.client, three.at_once, three.folder):
        parts = list(source.iter_senses(ids))
        assert [len(part) for part, _ in parts] == [16_384, 16_384, 7_232]
        assert np.array_equal(np.concatenate([part for part, _ in parts]), ids)
        assert np.array_equal(np.concatenate([vectors for _, vectors in parts]), source.get_senses(ids))


def test_info(three: Three) -> None:
    info, held = three.client.info(), three.folder.info()
    assert held == info.model_copy(update={"aliases": []})
    assert three.at_once.info() == info
    assert three.at_once.identity == three.folder.identity == three.client.identity
    assert three.folder.dictionaries() == [held]


def test_what_only_a_service_knows(three: Three, tmp_path: Path) -> None:
    for ask in (
        lambda: list(three.folder.jobs()),
        lambda: three.folder.job(1),
        lambda: three.folder.download_id_map("tiny@2", tmp_path / "map.parquet"),
        lambda: three.folder.moves("hot", "tiny@2"),
        lambda: three.folder.history(),
        lambda: three.folder.sense_map("hot"),
    ):
        with pytest.raises(NotInSnapshot, match=r"tiny@1 is a dictionary's file set, which has no .*: ask a service"):
            ask()


def test_what_a_service_knows_beside(three: Three) -> None:
    for source in (three.client, three.at_once):
        found = source.sense_map("hot", related=3, neighbours=0)
        assert [word.text for word in found.words] == ["hot", "cold"]
        assert source.history()[0].action == "publish"
        with pytest.raises(InvalidInput, match="both are tiny@1"):
            source.moves("hot", "tiny")


def test_opening_by_what_is_named(three: Three) -> None:
    url, sets = three.url, three.sets
    for where, name in ((url, "tiny"), (sets, "tiny@1"), (sets / "tiny@1", None), (str(sets / "tiny@1"), "tiny")):
        with open_dictionary(where, name) as found:
            assert found.word("hot").word == "hot"
            assert found.identity == three.client.identity
    with pytest.raises(DictionaryNotFound, match=r"no dictionary 'other@1' in .*: it is tiny@1"):
        open_dictionary(sets / "tiny@1", "other@1")
    with pytest.raises(DictionaryNotFound, match=r"holds the file sets tiny@1: 'tiny@2' is none of them"):
        open_dictionary(sets, "tiny@2")
    with pytest.raises(SenseDictError, match="name one of those"):
        open_dictionary(url)
