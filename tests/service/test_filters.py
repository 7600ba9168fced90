"""Questions that are misspelt: parameters that no route has, and values that no relation of the lexicon has."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import URL

from conftest import copy_of_template
from rich_lexicon import insert_rich_lexicon
from running_service import Service, running_service
from sensedict.cli import cli
from sensedict.errors import InvalidInput
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from service_problems import expect_problem
from tiny_dictionary import make_draft

TINY = "/v1/dictionaries/tiny@1"


@pytest.fixture(scope="module")
def rich(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of `tiny@1` over the rich lexicon."""
    folder = tmp_path_factory.mktemp("filters")
    with copy_of_template(postgres, folder / "home") as settings:
        with opened(settings) as engine:
            lexicon, words, _ = insert_rich_lexicon(engine)
            publish(engine, settings.files, make_draft(lexicon, words))
        with running_service(settings, folder / "log") as service:
            yield service


@pytest.fixture
def http(rich: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=rich.url) as client:
        yield client


def test_no_route_passes_over_a_parameter(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()["paths"]
    routes = [(path, method) for path, methods in described.items() for method in methods]
    assert len([method for _, method in routes if method == "get"]) >= 12
    for path, method in routes:
        filled = path.format(ref="tiny@1", token=1, sense=1, relation=1, job=1, name="tiny", alias="latest")
        answer = http.request(method, filled, params={"word": "hot", "tpye": "antonym"})
        problem = expect_problem(answer, 422, "invalid-input", "/tpye: the route has no such parameter")
        known = [
            parameter["name"]
            for parameter in described[path][method].get("parameters", [])
            if parameter["in"] == "query"
        ]
        told = problem.errors[-1].detail
        assert (", ".join(known) if known else "it has none") in told
        assert ("Did you mean 'type'?" in told) == ("type" in known)


def test_a_parameter_that_is_no_list_is_given_once(http: httpx.Client) -> None:
    path = f"{TINY}/relations?word=hot&type=antonym&type=synonym"
    assert http.get(path).status_code == 200
    expect_problem(http.get(f"{path}&word=cold"), 422, "invalid-input", "/word: given several times")
    expect_problem(http.get(f"{path}&depth=1&depth=2"), 422, "invalid-input", "/depth: given several times")


@pytest.mark.parametrize("word", ["%ff%fe", "caf%E9", "%ED%A0%80", "a%C3"])
def test_a_word_that_is_not_utf_8(http: httpx.Client, word: str) -> None:
    for path in (f"senses?word={word}", f"relations?word={word}", f"path?other=hot&word={word}"):
        expect_problem(http.get(f"{TINY}/{path}"), 422, "invalid-input", "'word' is not UTF-8")
    expect_problem(http.get(f"{TINY}/relations?{word}=a"), 422, "invalid-input", "is not UTF-8")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("type=antonim", "rich@1 has no relations of type 'antonim': it has antonym, hypernym, related, synonym. Did"),
        ("type=antonim", "Did you mean 'antonym'?"),
        ("type=antonym&type=qq", "no relations of type 'qq': it has antonym, hypernym, related, synonym"),
        ("type=", "no relations of type ''"),
        ("source=mobi", "no relations of source 'mobi': it has judgements, thesaurus, wiktionary"),
        ("source=morphemes", "no relations of source 'morphemes'"),  # it is one, and lists none
        ("pos=nonsense", "no relations of pos 'nonsense': it has adjective, noun"),
        ("rule=neg", "no relations of rule 'neg': it has negation, negation:un-"),
        ("rule=negation:in-", "Did you mean 'negation:un-'?"),
    ],
)
def test_values_that_the_lexicon_does_not_have(http: httpx.Client, asked: str, says: str) -> None:
    for depth in (1, 2):
        answer = http.get(f"{TINY}/relations?word=hot&depth={depth}&{asked}")
        expect_problem(answer, 422, "invalid-input", says)
    if asked.startswith("type"):
        expect_problem(http.get(f"{TINY}/path?word=hot&other=cold&{asked}"), 422, "invalid-input", says)


def test_parts_of_speech_of_words(http: httpx.Client) -> None:
    says = "rich@1 has no words of pos 'nuon': it has adjective, noun, verb. Did you mean 'noun'?"
    expect_problem(http.get(f"{TINY}/senses?word=cold&pos=nuon"), 422, "invalid-input", says)
    assert http.get(f"{TINY}/senses?word=big&pos=verb").status_code == 200  # of a form alone


def test_values_that_no_relation_of_the_word_has(http: httpx.Client) -> None:
    for asked in ("type=hypernym", "source=judgements&type=synonym", "rule=negation", "pos=noun"):
        answer = http.get(f"{TINY}/relations?word=glad&{asked}").raise_for_status().json()
        assert (answer["relations"], answer["total"]) == ([], None)


def test_a_lexicon_without_rules_or_parts_of_speech(service: Service) -> None:
    with httpx.Client(base_url=service.url) as http:
        expect_problem(http.get(f"{TINY}/relations?word=hot&pos=noun"), 422, "invalid-input", "'noun': it has none")
        expect_problem(http.get(f"{TINY}/senses?word=hot&pos=noun"), 422, "invalid-input", "'noun': it has none")


@pytest.mark.parametrize("depth", [1, 3])
def test_how_many_relations_there_are(http: httpx.Client, depth: int) -> None:
    asked: dict[str, str | int] = {"word": "cold", "depth": depth, "count": "true"}
    whole = http.get(f"{TINY}/relations", params=asked).raise_for_status().json()
    assert whole["total"] == len(whole["relations"]) > 3
    page = http.get(f"{TINY}/relations", params={**asked, "limit": 2}).json()
    next_page = http.get(f"{TINY}/relations", params={**asked, "limit": 2, "cursor": page["next_cursor"]}).json()
    assert page["total"] == next_page["total"] == whole["total"]
    out = http.get(f"{TINY}/relations", params={**asked, "limit": 1, "direction": "out", "type": "hypernym"}).json()
    assert out["total"] == depth  # frost, up, ice cream
    assert http.get(f"{TINY}/relations", params={**asked, "count": "false"}).json() == {**whole, "total": None}
    assert http.get(f"{TINY}/relations?word=cat&count=true").json()["total"] == 0  # a bare token


def test_the_command_line_tells_what_is_left_out(rich: Service) -> None:
    def query(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["query", "--server", rich.url, *arguments])
        if isinstance(done.exception, InvalidInput):
            return done.exception.detail
        assert done.exit_code == 0, done.output
        return done.output

    few = query("relations", "cold", "--limit", "1").splitlines()
    assert [line.split()[0] for line in few[:1]] == ["id"]
    assert few[2:] == ["and 3 more: --limit 4 shows them all"]
    assert len(query("relations", "cold", "--limit", "4").splitlines()) == 5
    for arguments in (("relations", "cold"), ("path", "cold", "hot")):
        assert "Did you mean 'antonym'?" in query(*arguments, "--type", "antonim")
    names = CliRunner().invoke(cli, ["query", "--server", rich.url, "--dictionary", "a/b", "senses", "hot"]).exception
    assert "there are tiny" in str(names)
