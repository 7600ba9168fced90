"""Words by how they begin, maps of senses and maps of ids over HTTP, against answers found without the service."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine

from conftest import Published
from running_service import Service
from sensedict_server.build.publish import publish
from sensedict_server.queries.suggest import words_beginning
from sensedict_server.settings import Settings
from service_problems import expect_problem
from tiny_dictionary import TOKENS, insert_lexicon, make_draft

REF = "/v1/dictionaries/tiny@1"
MANY = 70_000


def ask(service: Service, path: str, **parameters: str | int) -> Any:
    answer = httpx.get(f"{service.url}{REF}/{path}", params=parameters, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_words_that_begin_so(service: Service) -> None:
    def found(prefix: str, limit: int = 12) -> list[str]:
        return [word["word"] for word in ask(service, "words", prefix=prefix, limit=limit)["words"]]

    assert set(found("ho")) == {"hot", "Hot"}
    assert found("hot")[0] == "hot"
    assert found("Hot")[0] == "Hot"  # the very spelling first
    assert found("HOT")[:2] in (["hot", "Hot"], ["Hot", "hot"])
    assert "ice cream" in found("ice ")
    assert found(" ice") == found("ice")
    assert found("日") == ["日本"]
    assert found("e\u0301t") == ["été"]  # typed with a combining accent
    assert found("%") == found("_") == found("zzz") == []
    assert found("/") == ["/"]
    assert found("k")[0] == "kind"  # once, though it is a token, a piece and a word
    assert found("k").count("kind") == 1
    assert len(found("u", 2)) == 2
    senses = {word["word"]: word["senses"] for word in ask(service, "words", prefix="fro")["words"]}
    assert senses == {"frost": 0, "frosty": 0}  # in relations alone
    for wrong in ({"prefix": " "}, {"prefix": "a", "limit": "0"}, {"prefix": "a\x00"}, {"prefix": "a" * 257}, {}):
        expect_problem(httpx.get(f"{service.url}{REF}/words", params=wrong), 422, "invalid-input")


def test_words_that_begin_so_among_seventy_thousand(database: Engine, settings: Settings) -> None:
    chance = random.Random(5)
    letters = "aab eiost'rnéÉß日Ωω"
    spelt = {f" {''.join(chance.choices(letters, k=chance.randint(1, 9))).strip() or 'x'}" for _ in range(MANY)}
    texts = [text for text, _ in TOKENS] + sorted(spelt)
    sizes = [size for _, size in TOKENS] + [1] * len(spelt)
    draft = make_draft(*insert_lexicon(database))
    n = sum(sizes)
    occurrences = np.array([chance.randint(0, 10**6) for _ in texts])
    tokens = replace(
        draft.tokens,
        texts=texts,
        occurrences=occurrences,
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        vectors=np.ones((n, 8), np.float16),
        counts=np.ones(n, np.int64),
        inertia=np.zeros(n, np.float32),
        contexts=[[]] * n,
    )
    made = publish(database, settings.files, replace(draft, tokens=tokens))
    common = {
        text.removeprefix(" "): uses
        for text, uses, size in zip(texts, occurrences.tolist(), sizes, strict=True)
        if text.startswith(" ") and size
    }
    with database.connect() as connection:
        for prefix in ("a", "A", "Ab", "es", "ße", "É", "éa", "日", "Ω", "t'", "io st", "tanr", "q"):
            found = words_beginning(connection, made.id, prefix, 10)
            beginning = [word for word in common if word.lower().startswith(prefix.lower())]
            # The word itself, in any case, comes first; the rest by use.
            beginning.sort(key=lambda word: (word != prefix, word.casefold() != prefix.casefold(), -common[word]))
            told = [word.word for word in found if word.word in common]
            assert told[: len(beginning)] == beginning[: len(told)], prefix
            assert len(told) == min(10, len(beginning)) or len(found) == 10, prefix


def test_a_map_of_senses(service: Service, published: Published) -> None:
    told = ask(service, "map", word="hot", neighbours=0)
    ids = {word["text"]: [sense["id"] for sense in word["senses"]] for word in told["words"]}
    kinds = {word["text"]: word["relation"] for word in told["words"]}
    assert kinds == {"hot": "own", "warm": "synonym", "cold": "antonym"}  # the fourth has no senses
    vectors = published.draft.tokens.vectors.astype(np.float64)
    offsets = published.draft.tokens.offsets
    assert ids["hot"] == list(range(offsets[1], offsets[2]))
    assert ids["cold"] == list(range(offsets[2], offsets[3]))
    shown = [sense for word in told["words"] for sense in word["senses"]]
    there = vectors[[sense["id"] for sense in shown]]
    centred = there - there.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    expected = centred @ axes[:, :-3:-1]
    expected /= expected[:, 0].std()
    places = np.array([[sense["x"], sense["y"]] for sense in shown])
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(told["explained"], values[:-3:-1] / values.sum(), atol=1e-5)
    for sense in shown:
        apart = {own: float(np.square(vectors[sense["id"]] - vectors[own]).mean()) for own in ids["hot"]}
        assert sense["distance"] == pytest.approx(min(apart.values()), abs=1e-5)
        assert apart[sense["nearest"]] == min(apart.values())
    assert ask(service, "map", word="hot", neighbours=0) == told
    more = ask(service, "map", word="hot", neighbours=2)
    assert more["words"][:3] == told["words"]  # what lies near moves nothing
    assert {word["relation"] for word in more["words"][3:]} == {"neighbour"}
    own = told["words"][0]["senses"]
    assert [sense["context"] for sense in own] == [
        {"text": f"it was sense {id} here", "start": 7, "end": 12} if id % 2 else None for id in ids["hot"]
    ]


def test_a_map_with_neighbours_and_maps_of_nothing(service: Service) -> None:
    near = ask(service, "map", word="cat", neighbours=3)["words"]
    assert {word["relation"] for word in near} == {"own", "neighbour"}  # a bare token has no relations
    shown = [sense["id"] for word in near for sense in word["senses"]]
    assert len(shown) == len(set(shown))
    assert ask(service, "map", word="ice cream", related=0, neighbours=0)["words"][0]["owner"] == "word"
    empty = ask(service, "map", word="frost")
    assert (empty["words"], empty["reason"]) == ([], "token without senses: ' frost'")
    expect_problem(httpx.get(f"{service.url}{REF}/map", params={"word": "nosuch"}), 404, "word-not-found")


def test_answers_are_kept_by_content(service: Service) -> None:
    for path in ("words?prefix=h", "map?word=hot"):
        answer = httpx.get(f"{service.url}{REF}/{path}")
        assert "immutable" in answer.headers["cache-control"]
        held = {"If-None-Match": answer.headers["etag"]}
        assert httpx.get(f"{service.url}{REF}/{path}", headers=held).status_code == 304


def test_what_became_of_a_words_senses_needs_a_map(service: Service) -> None:
    url = f"{service.url}{REF}/idMap/senses"
    expect_problem(httpx.get(url, params={"to": "tiny@1", "word": "hot"}), 422, "invalid-input")
    expect_problem(httpx.get(url, params={"to": "tiny@9", "word": "hot"}), 404, "dictionary-not-found")
