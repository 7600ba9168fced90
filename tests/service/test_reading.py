"""What people ask the service for: dictionaries, tokens, words, relations, single senses."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from conftest import Published
from running_service import Service
from sensedict import wire
from sensedict_server import schema
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import opened
from sensedict_server.routes.relations import relations
from service_problems import expect_problem
from tiny_dictionary import RELATIONS, TOKENS, WORDS, D

TINY = "/v1/dictionaries/tiny@1"


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url) as client:
        yield client


def word_of(http: httpx.Client, word: str) -> wire.WordSenses:
    return wire.WordSenses.model_validate_json(
        http.get(f"{TINY}/senses", params={"word": word}).raise_for_status().text
    )


def test_dictionaries(http: httpx.Client, published: Published) -> None:
    (info,) = http.get("/v1/dictionaries").json()
    assert (info["name"], info["version"], info["aliases"]) == ("tiny", "1", ["latest"])
    assert (info["vocabulary_size"], info["dim"], info["senses"]) == (len(TOKENS), D, published.dictionary.senses)
    assert info["lexicon"] == "opposites@1"
    assert info["settings"] == {"seed": 7}
    assert sum(source["relations"] for source in info["sources"]) == len(RELATIONS)
    assert {source["licence"] for source in info["sources"]} == {"CC-BY-4.0", "Apache-2.0"}
    for ref in ("tiny@1", "tiny@latest", "tiny"):
        assert http.get(f"/v1/dictionaries/{ref}").json() == info


@pytest.mark.parametrize("token", range(len(TOKENS)))
def test_senses_of_every_token(http: httpx.Client, published: Published, token: int) -> None:
    found = wire.TokenSenses.model_validate_json(http.get(f"{TINY}/tokens/{token}/senses").raise_for_status().text)
    draft = published.draft.tokens
    own = range(draft.offsets[token], draft.offsets[token + 1])
    text = {"\x00": "\u2400", "\ud83d": "\ufffd"}.get(TOKENS[token][0], TOKENS[token][0])  # what the database can hold
    assert (found.token, found.text, found.occurrences) == (token, text, draft.occurrences[token])
    assert [sense.id for sense in found.senses] == list(own)
    assert [sense.ordinal for sense in found.senses] == list(range(len(own)))
    assert [sense.count for sense in found.senses] == [draft.counts[sense] for sense in own]
    assert [np.float32(sense.inertia) for sense in found.senses] == [draft.inertia[sense] for sense in own]
    passages = [[(context.text, context.start, context.end) for context in sense.contexts] for sense in found.senses]
    assert passages == [draft.contexts[sense] for sense in own]


@pytest.mark.parametrize("word", WORDS)
def test_senses_of_every_word(http: httpx.Client, published: Published, word: str) -> None:
    """Words with spaces, capitals, accents, other scripts, dots and a slash are asked for as they are spelt."""
    found = word_of(http, word)
    assert found.word == word
    assert tuple(found.tokens) == WORDS[word]
    assert found.token_texts == [TOKENS[token][0] for token in WORDS[word]]
    row = list(WORDS).index(word)
    reason = published.draft.words.reasons[row]
    assert found.reason == reason
    assert bool(found.senses) == (reason is None)
    assert found.composed == (len(WORDS[word]) > 1 and reason is None)
    if len(WORDS[word]) == 1:
        (token,) = WORDS[word]
        assert len(found.senses) == TOKENS[token][1]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("HOT", "hot"),
        ("Hot", "Hot"),  # a token of this very spelling, though in no relation
        ("Ice Cream", "ice cream"),
        ("new york", "New York"),
        ("NAÏVE", "naïve"),
        ("ÉTÉ", "été"),
        ("May", "May"),  # a spelling that is there is never folded
        ("may", "may"),
        ("MAY", "may"),  # the plain spelling before the other
        ("AND/OR", "and/or"),
        ("A.B/C D", "a.b/c d"),
        ("cat", "cat"),  # in no relation, known as a token
        ("CAT", "cat"),
        (".", "."),  # a token without a space before it
        (unicodedata.normalize("NFD", "été"), "été"),
        (unicodedata.normalize("NFD", "NAÏVE"), "naïve"),
    ],
)
def test_how_a_word_is_found(http: httpx.Client, asked: str, found: str) -> None:
    assert word_of(http, asked).word == found


def test_a_token_without_senses_says_so(http: httpx.Client) -> None:
    assert word_of(http, "frost").reason == "token without senses: ' frost'"
    assert word_of(http, "a.b/c d").reason == "too many tokens"


def relations_of(http: httpx.Client, word: str, **filters: str | int) -> list[wire.Relation]:
    page = http.get(f"{TINY}/relations", params={"word": word, **filters}).raise_for_status()
    return wire.RelationPage.model_validate_json(page.text).relations


def test_relations_are_seen_from_both_ends(http: httpx.Client) -> None:
    for word in WORDS:
        expected = sorted(
            (other if word == one else one, type_, source, rule, conflict)
            for one, other, type_, source, rule, _, conflict in RELATIONS
            if word in (one, other)
        )
        found = relations_of(http, word)
        assert sorted((r.other, r.type, r.source, r.rule, r.conflict) for r in found) == expected
        assert all(relation.word == word for relation in found)


def test_a_derived_relation_names_its_parent(http: httpx.Client) -> None:
    (derived,) = [relation for relation in relations_of(http, "kind") if relation.rule]
    assert (derived.other, derived.type, derived.rule) == ("glad", "synonym", "negation:un-")
    assert derived.parent in [relation.id for relation in relations_of(http, "unkind")]


def test_relations_of_one_type_and_source(http: httpx.Client) -> None:
    assert {r.other for r in relations_of(http, "happy", type="antonym")} == {"sad"}
    assert [r.source for r in relations_of(http, "happy", type="synonym", source="opposites")] == ["opposites"]
    assert relations_of(http, "Paris", type="antonym") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_relations_page_by_page(http: httpx.Client, limit: int) -> None:
    whole = relations_of(http, "cold")
    pages: list[wire.Relation] = []
    parameters: dict[str, str | int] = {"word": "cold", "limit": limit}
    while True:
        page = wire.RelationPage.model_validate_json(http.get(f"{TINY}/relations", params=parameters).text)
        assert len(page.relations) <= limit
        pages += page.relations
        if page.next_cursor is None:
            break
        parameters["cursor"] = page.next_cursor
    assert pages == whole
    assert len(whole) > 3


@pytest.mark.parametrize("word", ["Hot", "HOT", "hot"])
def test_a_bare_token_does_not_hide_the_relations_of_its_word(http: httpx.Client, word: str) -> None:
    found = relations_of(http, word)
    assert {relation.other for relation in found} == {"warm", "cold", "a.b/c d"}
    assert {relation.word for relation in found} == {"hot"}


def test_a_bare_token_has_no_relations(http: httpx.Client) -> None:
    assert relations_of(http, "cat") == relations_of(http, "CAT") == []


def test_every_sense_with_its_vector(http: httpx.Client, published: Published) -> None:
    draft = published.draft
    vectors = np.concatenate([draft.tokens.vectors, draft.words.vectors])
    for sense in range(published.dictionary.senses):
        found = wire.SenseDetail.model_validate_json(http.get(f"{TINY}/senses/{sense}").raise_for_status().text)
        assert np.array_equal(np.float16(found.vector), vectors[sense])
        of_token = sense < len(draft.tokens.vectors)
        assert (found.owner, found.token is not None) == (("token", True) if of_token else ("word", False))
        assert [context.text for context in found.contexts] == (
            [text for text, _, _ in draft.tokens.contexts[sense]] if of_token else []
        )
    owners = [word_of(http, word) for word in WORDS]
    (naive,) = [owner for owner in owners if owner.word == "naïve"]
    assert http.get(f"{TINY}/senses/{naive.senses[0].id}").json()["text"] == "naïve"


def test_an_answer_is_kept_for_ever_under_its_version(http: httpx.Client) -> None:
    first = http.get(f"{TINY}/tokens/1/senses")
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}'):
        again = http.get(f"{TINY}/tokens/1/senses", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert http.get(f"{TINY}/tokens/1/senses", headers={"If-None-Match": '"other"'}).status_code == 200
    under_alias = http.get("/v1/dictionaries/tiny@latest/tokens/1/senses")
    assert under_alias.headers["cache-control"] == "no-cache"
    assert under_alias.content == first.content


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("/v1/dictionaries/nosuch", "dictionary-not-found", "there are tiny"),
        ("/v1/dictionaries/tiny@2", "dictionary-not-found", "'tiny' has 1, latest"),
        ("/v1/dictionaries/tiny@prod/tokens/1/senses", "dictionary-not-found", "no dictionary 'tiny@prod'"),
        ("/v1/dictionaries/tiny%00@1", "dictionary-not-found", "there are tiny"),
        ("/v1/dictionaries/ti%ED%A0%BDny@1", "dictionary-not-found", "there are tiny"),
        (f"{TINY}/tokens/40/senses", "token-not-found", "token 40 is not in tiny@1; ids run 0 .. 39"),
        (f"{TINY}/tokens/-1/senses", "token-not-found", "ids run 0 .. 39"),
        (f"{TINY}/tokens/{2**70}/senses", "token-not-found", "ids run 0 .. 39"),
        (f"{TINY}/senses/81", "sense-not-found", "sense 81 is not in tiny@1; ids run 0 .. 80"),
        (f"{TINY}/senses/-1", "sense-not-found", "ids run 0 .. 80"),
        (f"{TINY}/senses?word=nosuchword", "word-not-found", "the word 'nosuchword' is in no relation of tiny@1"),
        (f"{TINY}/relations?word=nosuchword", "word-not-found", "the word 'nosuchword'"),
        (f"{TINY}/nothing", "not-found", "/openapi.json lists the routes"),
        ("/", "not-found", "/openapi.json lists the routes"),
    ],
)
def test_what_is_not_there(http: httpx.Client, path: str, code: str, says: str) -> None:
    expect_problem(http.get(path), 404, code, says)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (f"{TINY}/tokens/hot/senses", "/token"),
        (f"{TINY}/tokens/1.5/senses", "/token"),
        (f"{TINY}/senses", "/word: Field required"),
        (f"{TINY}/senses?word=", "the word is empty"),
        (f"{TINY}/senses?word=%20%20", "the word is empty"),
        (f"{TINY}/senses?word=a%00b", "U+0000"),
        (f"{TINY}/senses?word={'x' * 257}", "a word of 257 characters; at most 256"),
        (f"{TINY}/relations?word=hot&limit=0", "/limit"),
        (f"{TINY}/relations?word=hot&limit=1001", "/limit"),
        (f"{TINY}/relations?word=hot&cursor=nonsense", "give `next_cursor`"),
        (f"{TINY}/relations?word=hot&cursor=%C3%A9", "give `next_cursor`"),
        (f"{TINY}/relations?word=hot&cursor=", "give `next_cursor`"),
        (f"{TINY}/relations?word=hot&type=a%00", "U+0000"),
    ],
)
def test_what_cannot_be_asked(http: httpx.Client, path: str, says: str) -> None:
    expect_problem(http.get(path), 422, "invalid-input", says)


def test_faults_are_pointed_at(http: httpx.Client) -> None:
    problem = expect_problem(http.get(f"{TINY}/relations?limit=0"), 422, "invalid-input")
    assert sorted(fault.pointer for fault in problem.errors) == ["/limit", "/word"]
    assert problem.title == "A value that was given cannot be used as it is."


def test_other_methods(http: httpx.Client) -> None:
    answer = http.patch(TINY)
    expect_problem(answer, 405, "method-not-allowed", "Method Not Allowed; it takes DELETE, GET, HEAD")
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    answer = http.head(f"{TINY}:getSenses")  # HEAD goes with GET, and with nothing else
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


# What each answer has of its own: when it was given, to which request, and the numbers of the moment.
_OF_THE_MOMENT = {"/metrics": {"content-length"}}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/explorer",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/v1/limits",
        "/v1/dictionaries",
        f"{TINY}/senses?word=hot",
        "/v1/dictionaries/tiny/relations?word=hot&limit=1",
        f"{TINY}/snapshot",
        f"{TINY}/senses?word=nowhere",
        f"{TINY}/relations?limit=0",
        "/nowhere",
    ],
)
def test_head_is_get_without_its_body(http: httpx.Client, service: Service, path: str) -> None:
    def headers_of(answer: httpx.Response) -> dict[str, str]:
        own = {"date", "x-request-id"} | _OF_THE_MOMENT.get(path, set())
        return {name: value for name, value in answer.headers.items() if name not in own}

    accept = {"Accept": "text/html" if path == "/" else "*/*"}
    got, head = http.get(path, headers=accept), http.head(path, headers={**accept, "Range": "bytes=0-9"})
    assert (head.status_code, headers_of(head)) == (got.status_code, headers_of(got))
    assert (head.content, len(head.headers["x-request-id"])) == (b"", 32)
    if (tag := got.headers.get("etag")) is not None:
        known = http.head(path, headers={**accept, "If-None-Match": tag})
        assert (known.status_code, known.headers["etag"].removeprefix("W/")) == (304, tag.removeprefix("W/"))
    assert "Traceback" not in service.log.read_text()  # of a download that was cut off


def test_formats_that_are_not_there(http: httpx.Client) -> None:
    for accept in ("text/html", wire.SAFETENSORS, "application/json;q=0"):
        expect_problem(http.get(f"{TINY}/senses/1", headers={"Accept": accept}), 406, "not-acceptable", accept)
    for accept in ("*/*", "application/*", "text/html, application/json;q=0.1", ""):
        assert http.get(f"{TINY}/senses/1", headers={"Accept": accept}).status_code == 200


def test_a_callers_own_request_id_comes_back(http: httpx.Client, service: Service) -> None:
    assert http.get("/v1/limits", headers={"X-Request-ID": "job-7.a_b"}).headers["x-request-id"] == "job-7.a_b"
    line = '"request_id":"job-7.a_b","method":"GET","path":"/v1/limits"'
    end = time.monotonic() + 60
    while line not in service.log.read_text():  # it is written once the answer is gone
        assert time.monotonic() < end
        time.sleep(0.02)
    assert http.get("/livez", headers={"X-Request-ID": 'a"b'}).headers["x-request-id"] != 'a"b'


def test_health_and_limits(http: httpx.Client) -> None:
    assert http.get("/livez").json()["status"] == "ok"
    ready = wire.Health.model_validate_json(http.get("/readyz").text)
    assert (ready.status, ready.dictionaries, ready.migration, ready.warnings) == ("ok", 1, schema.head(), [])
    assert wire.Limits.model_validate_json(http.get("/v1/limits").text) == wire.Limits()


def test_openapi_describes_every_route(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()
    routes = {value for name, value in vars(wire).items() if name.isupper() and str(value).startswith("/")}
    assert set(described["paths"]) == routes
    assert {method for path in described["paths"].values() for method in path} == {"get", "post", "put", "delete"}
    bulk = described["paths"][wire.GET_SENSES]["post"]
    assert (
        set(bulk["requestBody"]["content"]) == {wire.JSON, wire.SAFETENSORS} == set(bulk["responses"]["200"]["content"])
    )
    assert wire.PROBLEM in bulk["responses"]["422"]["content"]
    for reference in references(described):
        place = described
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_statements_stay_prepared_from_one_question_to_the_next(published: Published) -> None:
    with opened(published.settings) as engine:
        shared = Catalogue(engine, published.settings.files)
        named = shared.resolve("tiny@1")
        for _ in range(10):  # the driver prepares what it has sent five times
            relations(named, "hot", shared, None)
        with shared.engine.connect() as connection:  # the pool's one connection
            prepared = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM relations%'")
            assert connection.execute(prepared).scalar_one() >= 1
