"""SenseClient against a little HTTP server that misbehaves on purpose."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from running_service import SENSEDICT, free_port
from sensedict import arrays, errors, wire
from sensedict.cli import cli
from sensedict.client import SenseClient
from sensedict.errors import (
    ConfigurationError,
    Corrupt,
    DictionaryNotFound,
    InvalidInput,
    MalformedBody,
    SenseDictError,
    Unavailable,
)
from stub_service import INFO, Answer, Stub, ok, problem, safetensors


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.close()


@pytest.fixture
def client(stub: Stub) -> Iterator[SenseClient]:
    with SenseClient(stub.url, "tiny@latest", timeout=60, patience=60) as made:
        yield made


def test_an_id_map_that_is_none_is_not_written(stub: Stub, client: SenseClient, tmp_path: Path) -> None:
    stub.answers = [(200, {"Content-Type": wire.PARQUET}, body) for body in (b"PAR1 and no end", b"PAR1 PAR1")]
    with pytest.raises(MalformedBody, match=r"the map to 'tiny@2' is no Parquet file: check the address"):
        client.download_id_map("tiny@2", tmp_path / "map.parquet")
    assert not list(tmp_path.iterdir())
    client.download_id_map("tiny@2", tmp_path / "map.parquet")
    assert stub.asked[-1] == "GET /v1/dictionaries/tiny@1/idMap?to=tiny%402"
    assert (tmp_path / "map.parquet").read_bytes() == b"PAR1 PAR1"


def test_an_alias_is_looked_up_once_and_then_the_version_named(stub: Stub, client: SenseClient) -> None:
    stub.answers = [safetensors({"vectors": np.ones((1, 2), np.float16)}) for _ in range(2)]
    client.get_senses(np.array([1]))
    client.get_senses(np.array([1]))
    assert stub.asked.count("GET /v1/dictionaries/tiny@latest") == 1
    assert stub.asked.count(f"GET {wire.LIMITS}") == 1
    assert stub.asked[-2:] == ["POST /v1/dictionaries/tiny@1:getSenses"] * 2


def test_a_busy_service_is_asked_again_when_it_says(
    stub: Stub, client: SenseClient, caplog: pytest.LogCaptureFixture
) -> None:
    stub.answers = [
        problem(503, "unavailable", "the database is away", {"Retry-After": "1"}),
        (502, {}, b"<html>bad gateway</html>"),
        ok([INFO]),
    ]
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert client.dictionaries()[0].name == "tiny"
    assert time.monotonic() - begun >= 1
    assert len(stub.asked) == 3
    assert "the database is away; asking again in 1.0 s" in caplog.text
    assert "502" in caplog.text


def test_a_date_to_retry_after_is_understood(stub: Stub, client: SenseClient) -> None:
    begun = time.monotonic()
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)  # whole seconds: 2 to 3 s from now
    stub.answers = [problem(503, "unavailable", "away", {"Retry-After": later}), ok([])]
    assert client.dictionaries() == []
    assert time.monotonic() - begun > 1


@pytest.mark.parametrize("after", ["0", "-5", "soon", ""])
def test_a_broken_retry_after_is_passed_over(stub: Stub, client: SenseClient, after: str) -> None:
    stub.answers = [problem(503, "unavailable", "away", {"Retry-After": after}), ok([])]
    assert client.dictionaries() == []


def test_patience_ends_with_what_the_service_said(stub: Stub) -> None:
    stub.answers = [problem(503, "unavailable", "the database is away") for _ in range(50)]
    with (
        SenseClient(stub.url, "tiny", patience=1.5) as client,
        pytest.raises(Unavailable, match=r"the database is away \(asked \d+ times\)"),
    ):
        client.dictionaries()
    assert 1 < len(stub.asked) < 50


def test_a_wait_longer_than_the_patience_is_not_begun(stub: Stub, client: SenseClient) -> None:
    stub.answers = [problem(503, "unavailable", "restoring", {"Retry-After": "3600"})]
    with pytest.raises(Unavailable, match="restoring") as caught:
        client.dictionaries()
    assert caught.value.retry_after == 3600
    assert len(stub.asked) == 1


def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        SenseClient(url, "tiny", patience=0) as client,
        pytest.raises(Unavailable, match=rf"{url} does not answer \(.*refused.*is `sensedict serve` running there"),
    ):
        client.dictionaries()
    assert not caplog.records


def test_a_service_that_comes_back_is_found() -> None:
    port = free_port()
    started: list[Stub] = []

    def start() -> None:
        late = Stub(port)
        late.answers = [ok([INFO])]
        started.append(late)

    timer = threading.Timer(0.7, start)
    timer.start()
    with SenseClient(f"http://127.0.0.1:{port}", "tiny", patience=60) as client:
        assert len(client.dictionaries()) == 1
    timer.join()
    started[0].close()


def test_an_answer_cut_off_is_asked_for_again(stub: Stub, client: SenseClient) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    stub.answers = [cut, safetensors({"vectors": np.full((2, 2), 3, np.float16)})]
    assert client.get_senses(np.array([4, 5])).tolist() == [[3, 3], [3, 3]]


def test_a_silent_service_runs_into_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, nobody answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with SenseClient(url, "tiny", timeout=0.3, patience=0) as client, pytest.raises(Unavailable, match="timed out"):
            client.dictionaries()


@pytest.mark.parametrize(
    ("code", "kind"), [(code, kind) for code, kind in sorted(errors.by_code().items()) if kind is not Unavailable]
)
def test_a_problem_becomes_its_exception(
    stub: Stub, client: SenseClient, code: str, kind: type[SenseDictError]
) -> None:
    stub.answers = [problem(kind.status, code, "what and the fix")]
    with (
        SenseClient(stub.url, "tiny", patience=0) as client,
        pytest.raises(SenseDictError, match="what and the fix") as caught,
    ):
        client.dictionaries()
    assert type(caught.value) is kind


def test_a_problem_names_its_faults_and_its_request(stub: Stub, client: SenseClient) -> None:
    stub.answers = [
        problem(422, "invalid-input", "two faults", errors=[{"pointer": "/ids/3", "detail": "not a number"}]),
        problem(500, "corrupt", "a file changed"),
        problem(418, "of-a-later-release", "something new"),
    ]
    with pytest.raises(InvalidInput, match="two faults; /ids/3: not a number"):
        client.word("x")
    with pytest.raises(Corrupt, match=r"a file changed \(request r7\)"):
        client.word("x")
    with pytest.raises(SenseDictError, match="something new") as caught:
        client.word("x")
    assert type(caught.value) is SenseDictError


def test_an_unknown_dictionary(stub: Stub) -> None:
    stub.answers = [problem(404, "dictionary-not-found", "there is no dictionary 'other'")]
    with SenseClient(stub.url, "other@1") as client, pytest.raises(DictionaryNotFound, match="'other'"):
        _ = client.identity
    assert stub.asked == ["GET /v1/dictionaries/other@1"]


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, b"<html>nginx</html>"),
        (404, {}, b'{"detail":"Not Found"}'),
        (404, {}, b"[]"),
        (301, {"Location": "/elsewhere"}, b""),
        (400, {}, b'{"type": 7, "detail": "x"}'),
        (200, {}, b"<html>hello</html>"),
        (200, {}, b'{"name": "tiny"}'),
    ],
)
def test_another_kind_of_service_is_recognised(stub: Stub, answer: Answer) -> None:
    stub.answers = [answer]
    with SenseClient(stub.url, "other") as client, pytest.raises(ConfigurationError, match="check the address"):
        client.info()


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "127.0.0.1", "ftp://host", "http://", "http://host:port", "http://\n"]
)
def test_no_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write e\.g\. http://127\.0\.0\.1:8000"):
        SenseClient(url, "tiny")


def test_a_root_below_a_path_is_kept(stub: Stub) -> None:
    stub.answers = [ok([])]
    with SenseClient(f"{stub.url}/senses/", "tiny") as client:
        client.dictionaries()
    assert stub.asked == ["GET /senses/v1/dictionaries"]


@pytest.mark.parametrize(
    ("word", "sent"),
    [
        ("a/b", "a%2Fb"),
        ("ice cream", "ice+cream"),
        ("naïve", "na%C3%AFve"),
        ("c++ & d=e#f?", "c%2B%2B+%26+d%3De%23f%3F"),
        ("..", ".."),
    ],
)
def test_words_are_sent_whole(stub: Stub, client: SenseClient, word: str, sent: str) -> None:
    stub.answers = [ok({"word": word, "tokens": [], "token_texts": [], "composed": False, "senses": [], "reason": "x"})]
    assert client.word(word).word == word
    assert stub.asked[-1] == f"GET /v1/dictionaries/tiny@1/senses?word={sent}"


def test_a_word_that_is_no_text(client: SenseClient) -> None:
    with pytest.raises(InvalidInput, match="not Unicode"):
        client.word("half \ud83d")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("a" * 10_000_000, "a word of 10000000 characters; at most 256"),
        ("é" * 257, "a word of 257 characters"),
        (" ", "the word is empty"),
        ("a\x00", "U+0000"),
    ],
)
def test_what_is_no_word_is_not_sent(stub: Stub, client: SenseClient, word: str, says: str) -> None:
    asking: list[Callable[[], object]] = [
        lambda: client.word(word),
        lambda: list(client.relations(word)),
        lambda: client.path(word, "hot"),
        lambda: client.path("hot", word),
    ]
    for ask in asking:
        with pytest.raises(InvalidInput, match=re.escape(says)):
            ask()
    assert not [asked for asked in stub.asked if "word=" in asked]


def test_what_is_too_long_for_an_address_is_named(client: SenseClient) -> None:
    with pytest.raises(InvalidInput, match="pos is too long to be sent"):
        client.word("hot", pos="a" * 100_000)
    with pytest.raises(InvalidInput, match="type is too long to be sent"):
        list(client.relations("hot", ["a" * 100_000]))


@pytest.mark.parametrize("name", ["a/b", "", "..", ".", "tiny@1@2", "tiny@a/b", "tiny:getSenses", "a b", "x" * 70_000])
def test_what_can_name_no_dictionary(stub: Stub, name: str) -> None:
    stub.answers = [ok([INFO])]
    says = r"can name no dictionary: write name@version or .*; there are tiny$"
    with SenseClient(stub.url, name) as client, pytest.raises(DictionaryNotFound, match=says):
        client.word("hot")


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/senses/v1"])
def test_the_root_is_without_the_version_of_the_contract(end: str) -> None:
    says = rf"leave /v1 out, as in http://host:8000{end.rstrip('/').removesuffix('/v1')}$"
    with pytest.raises(ConfigurationError, match=says):
        SenseClient(f"http://host:8000{end}", "tiny")


def test_a_fault_is_told_once(stub: Stub, client: SenseClient) -> None:
    faults = [{"pointer": "/depth", "detail": "too deep"}, {"pointer": "/x", "detail": "unknown"}]
    stub.answers = [problem(422, "invalid-input", "/depth: too deep", errors=faults)]
    with pytest.raises(InvalidInput) as caught:
        client.word("x")
    assert caught.value.detail == "/depth: too deep; /x: unknown"


def pages_of(*pages: tuple[list[int], str | None], **more: object) -> list[Answer]:
    """Pages of relations with these ids, each with the cursor of the next."""
    relation = {"word": "a", "type": "synonym", "source": "s", "licence": "l", "rule": None, "parent": None}
    return [
        ok(
            {
                "word": "a",
                "relations": [relation | {"id": i, "other": f"w{i}", "conflict": False} for i in ids],
                "next_cursor": cursor,
                **more,
            }
        )
        for ids, cursor in pages
    ]


def test_no_more_relations_are_asked_for_than_are_wanted(stub: Stub, client: SenseClient) -> None:
    stub.answers = [*pages_of(([1, 2], "c1"), ([3, 4], "c2"), ([5], "c3"))]
    assert [entry.id for entry in client.relations("a", limit=5)] == [1, 2, 3, 4, 5]
    path = "GET /v1/dictionaries/tiny@1/relations?word=a"
    assert stub.asked[-3:] == [f"{path}&limit=2", f"{path}&limit=2&cursor=c1", f"{path}&limit=1&cursor=c2"]
    stub.answers = [*pages_of(([1], None))]
    assert len(list(client.relations("a", depth=2))) == 1
    assert stub.asked[-1] == f"{path}&depth=2&limit=2"  # the largest page: each takes the walk anew
    with pytest.raises(InvalidInput, match="1 or more, got 0"):
        list(client.relations("a", limit=0))


def query(stub: Stub, *arguments: str) -> list[str]:
    return [*SENSEDICT, "query", "--server", stub.url, "--dictionary", "tiny@1", *arguments]


@pytest.mark.parametrize("form", ["table", "--json"])
def test_a_page_is_printed_before_the_next_is_there(stub: Stub, form: str) -> None:
    printed = threading.Event()
    first, second = pages_of(([1, 2], "c1"), ([3], "c2"), total=7, cut=True, words_reached=9)

    def held(handler: BaseHTTPRequestHandler) -> None:
        assert printed.wait(30)
        stub.answers.insert(0, second)
        stub.answer(handler)

    stub.answers = [first, held]
    more = ["--json"] if form == "--json" else []
    command = query(stub, "relations", "a", "--depth", "2", "--limit", "3", *more)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = ""
        while "w2" not in seen:
            line = process.stdout.readline()
            assert line, "the first page was not printed"
            seen += line
        printed.set()
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0
    told = errors if more else rest
    assert "and 4 more: --limit 7 shows them all\nthe walk ended at the nearest 9 words" in told
    if more:
        assert [entry["id"] for entry in json.loads(seen + rest)] == [1, 2, 3]
    else:
        assert errors == ""
        assert [line.split()[0] for line in (seen + rest).splitlines()] == ["id", "1", "2", "id", "3", "and", "the"]


def test_a_reader_that_goes_away_ends_it_quietly(stub: Stub) -> None:
    stub.answers = [*pages_of(*(([1, 2], "c") for _ in range(50)))]
    command = query(stub, "relations", "a", "--limit", "100")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=300)
    assert errors == ""
    assert stub.answers  # and asks for no more pages


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("relations", "light", "--depth", "99"), "99 is not in the range 1<=x<=6"),
        (("relations", "light", "--limit", "0"), "0 is not in the range x>=1"),
        (("senses", "light", "--neighbours", "51"), "51 is not in the range 0<=x<=50"),
        (("neighbours", "1", "--limit", "51"), "51 is not in the range 1<=x<=50"),
    ],
)
def test_bounds_are_checked_before_anybody_is_asked(stub: Stub, arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(cli, ["query", "--server", stub.url, *arguments])
    assert done.exit_code == 2
    assert says in done.output
    assert stub.asked == []
    help = CliRunner().invoke(cli, ["query", arguments[0], "--help"]).output
    assert says.removeprefix(says.split()[0]).removeprefix(" is not in the range ") in help


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ("words", "no way of type 'antonym' from a to b was found before the search had reached 10000 words"),
        ("relations", "no way of type 'antonym' from a to b has at most 12 relations: there may be a longer one"),
        (None, "there is no way of type 'antonym' from a to b"),
    ],
)
def test_what_is_said_of_no_path(stub: Stub, bound: str | None, says: str) -> None:
    stub.answers = [ok({"word": "a", "other": "b", "found": False, "words": [], "relations": [], "bound": bound})]
    asked = ["query", "--server", stub.url, "--dictionary", "tiny@1", "path", "a", "b", "--type", "antonym"]
    assert CliRunner().invoke(cli, asked).output.startswith(says)


def test_relations_come_page_by_page(stub: Stub, client: SenseClient) -> None:
    relation = {"word": "a", "type": "synonym", "source": "s", "licence": "l", "rule": None, "parent": None}

    def page(ids: list[int], cursor: str | None) -> Answer:
        relations = [relation | {"id": i, "other": f"w{i}", "conflict": False} for i in ids]
        return ok({"word": "a", "relations": relations, "next_cursor": cursor})

    stub.answers = [page([1, 2], "c=/1"), page([], "c2"), page([3], None)]
    found = client.relations("a", "synonym")
    assert next(found).id == 1
    assert len(stub.answers) == 2  # the rest is not asked for before it is wanted
    assert [entry.id for entry in found] == [2, 3]
    path = "GET /v1/dictionaries/tiny@1/relations?word=a&type=synonym"
    assert stub.asked[-3:] == [path, f"{path}&cursor=c%3D%2F1", f"{path}&cursor=c2"]


def test_vectors_are_used_where_they_were_received(stub: Stub, client: SenseClient) -> None:
    stub.answers = [safetensors({"vectors": np.ones((3, 2), np.float16)})]
    found = client.get_senses(np.array([0, 1, 2]))
    assert not found.flags.owndata  # a view of the body
    assert found.flags.writeable  # and a tensor can be made of it without a warning
    assert found.flags.aligned


def tensors_of(body: bytes) -> arrays.Tensors:
    return arrays.decode(body)[0]


def test_a_large_request_is_split_and_rejoined_in_order(stub: Stub, client: SenseClient) -> None:
    stub.answers = [
        safetensors({"vectors": np.array([[i, i] for i in part], np.float16)})
        for part in ([0, 1, 2, 3], [4, 5, 6, 7], [8])
    ]
    assert client.get_senses(np.arange(9))[:, 0].tolist() == list(range(9))
    assert [tensors_of(body)["ids"].tolist() for body in stub.bodies] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_a_part_is_asked_for_again_on_its_own(stub: Stub, client: SenseClient) -> None:
    first, second = (safetensors({"vectors": np.full((n, 2), n, np.float16)}) for n in (4, 2))
    stub.answers = [first, problem(503, "unavailable", "away"), second]
    assert client.get_senses(np.arange(6))[:, 0].tolist() == [4, 4, 4, 4, 2, 2]
    assert [tensors_of(body)["ids"].tolist() for body in stub.bodies] == [[0, 1, 2, 3], [4, 5], [4, 5]]


def test_errors_of_items_count_in_the_whole(stub: Stub, client: SenseClient) -> None:
    def part(tokens: list[int], lengths: list[int], wrong: int) -> Answer:
        n = len(tokens)
        offsets = np.cumsum([0, *lengths]).astype(np.uint32)
        tensors: arrays.Tensors = {"tokens": np.uint32(tokens), "own_first": np.uint32([0] * n)}
        tensors |= {"own_count": np.uint16([0] * n)}
        for name in ("synonyms", "antonyms"):
            tensors |= {f"{name}_offsets": offsets, f"{name}_first": np.uint32(tokens[:1] * int(offsets[-1]))}
            tensors |= {f"{name}_count": np.uint16([1] * int(offsets[-1]))}
        errors = [{"index": wrong, "code": "token-not-found", "detail": "none"}]
        return 200, {"Content-Type": wire.SAFETENSORS}, arrays.encode(tensors, {"errors": json.dumps(errors)})

    stub.answers = [part([10, 11, 12, 13], [1, 0, 2, 0], 3), part([14, 15], [0, 3], 0)]
    found = client.candidate_sets(np.arange(10, 16))
    assert found.tokens.tolist() == [10, 11, 12, 13, 14, 15]
    assert found.synonyms.offsets.tolist() == [0, 1, 1, 3, 3, 3, 6]
    assert found.antonyms.first.tolist() == [10, 10, 10, 14, 14, 14]
    assert [error.index for error in found.errors] == [3, 4]


def test_owners_are_split_with_their_vectors(stub: Stub, client: SenseClient) -> None:
    def part(n: int) -> Answer:
        return safetensors(
            {
                "offsets": np.arange(n + 1, dtype=np.uint32),
                "ids": np.arange(n, dtype=np.uint32),
                "distances": np.zeros(n, np.float32),
            }
        )

    stub.answers = [part(4), part(1)]
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = client.nearest_senses(vectors, 1, np.arange(5))
    assert found.offsets.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.ids.tolist() == [0, 1, 2, 3, 0]
    sent = [arrays.decode(body) for body in stub.bodies]
    assert [tensors["tokens"].tolist() for tensors, _ in sent] == [[0, 1, 2, 3], [4]]
    assert np.array_equal(np.concatenate([tensors["vectors"] for tensors, _ in sent]), vectors)
    assert [metadata["p"] for _, metadata in sent] == ["1", "1"]


@pytest.mark.parametrize("encoding", ["chunked", "gzip"])
def test_answers_of_unknown_length_are_read(stub: Stub, client: SenseClient, encoding: str) -> None:
    body = arrays.encode({"vectors": np.ones((1, 2), np.float16)})

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if encoding == "gzip":  # a proxy may do what it was asked not to
            packed = gzip.compress(body)
            handler.send_header("Content-Encoding", "gzip")
            handler.send_header("Content-Length", str(len(packed)))
            handler.end_headers()
            handler.wfile.write(packed)
        else:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    stub.answers = [send]
    assert client.get_senses(np.array([0])).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {}, b"no safetensors"), "getSenses cannot be read: not safetensors"),
        (safetensors({"vectors": np.ones((1, 2), np.float32)}), "'vectors' is float32"),
        (safetensors({"other": np.ones((1, 2), np.float16)}), "'vectors' is missing"),
        (safetensors({"vectors": np.ones((2, 2), np.float16)}), "2 items of 1"),
    ],
)
def test_a_bulk_answer_that_does_not_fit(stub: Stub, client: SenseClient, answer: Answer, message: str) -> None:
    stub.answers = [answer]
    with pytest.raises(MalformedBody, match=message):
        client.get_senses(np.array([0]))
