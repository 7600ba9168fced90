"""What the clients have in common: methods, keys, warnings, and many questions at once."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from running_service import Service
from sensedict import wire
from sensedict.client import AsyncSenseClient, SenseClient, SnapshotClient
from sensedict.errors import ConfigurationError, MissingExtra, NotInSnapshot, TooManyRequests, Unavailable
from sensedict.fileset import MANIFEST, OF_LEXICON
from sensedict.questions import Questions
from sensedict.service import KEY
from stub_service import INFO, Stub, ok, problem, safetensors
from tiny_dictionary import WORDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.close()


def methods(of: type) -> dict[str, tuple[list[str], str]]:
    """Parameters and first line of each public method and property."""
    return {
        name: (
            [str(parameter) for parameter in inspect.signature(found).parameters.values()] if callable(found) else [],
            (inspect.getdoc(found) or "").partition("\n")[0],
        )
        for name, found in inspect.getmembers(of)
        if not name.startswith("_")
    }


def test_the_clients_have_the_same_methods() -> None:
    sync, at_once, questions = methods(SenseClient), methods(AsyncSenseClient), methods(Questions)
    assert sync == methods(SnapshotClient)
    assert set(sync) == set(at_once) == {*questions, "close"}
    for name in questions.keys() - {"identity"}:  # there a property
        assert sync[name] == at_once[name] == questions[name]
    assert str(inspect.signature(AsyncSenseClient.relations)).endswith("-> 'AsyncIterator[wire.Relation]'")
    assert str(inspect.signature(SenseClient.word)).endswith("-> 'wire.WordSenses'")


def ask(stub: Stub, kind: str, **options: Any) -> list[wire.DictionaryInfo]:
    """One question by that kind of client."""
    if kind == "sync":
        with SenseClient(stub.url, "tiny", **options) as client:
            return client.dictionaries()

    async def main() -> list[wire.DictionaryInfo]:
        async with AsyncSenseClient(stub.url, "tiny", **options) as client:
            return await client.dictionaries()

    return asyncio.run(main())


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
def test_a_key_goes_to_the_service_and_nowhere_else(
    stub: Stub, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        stub.answers = [problem(503, "unavailable", "away"), ok([INFO]), ok([]), ok([])]
        ask(stub, kind, key="sk-of-the-argument")
        monkeypatch.setenv(KEY, "sk-of-the-environment")
        ask(stub, kind)
        ask(stub, kind, key="")
        said = [headers.get("authorization") for headers in stub.headers]
        assert said == ["Bearer sk-of-the-argument"] * 2 + ["Bearer sk-of-the-environment", None]
        assert all(headers["user-agent"].startswith("sensedict/") for headers in stub.headers)

        elsewhere = Stub()
        stub.answers = [(307, {"Location": f"{elsewhere.url}/v1/dictionaries"}, b"")]
        with pytest.raises(ConfigurationError, match=f"307 .* and names {elsewhere.url}/v1/dictionaries"):
            ask(stub, kind)
        assert elsewhere.asked == []
        elsewhere.close()
    assert "sk-of" not in caplog.text
    with pytest.raises(ConfigurationError, match="no key has: give it whole, as `key` or in SENSEDICT_KEY") as caught:
        ask(stub, kind, key="sk-secret\n")
    assert "secret" not in caught.value.detail


@KINDS
def test_too_many_requests_are_asked_again(stub: Stub, kind: str) -> None:
    stub.answers = [problem(429, "too-many-requests", "slower", {"Retry-After": "0"}), ok([INFO])]
    assert len(ask(stub, kind)) == 1
    stub.answers = [problem(429, "too-many-requests", "slower", {"Retry-After": "99"}) for _ in range(2)]
    with pytest.raises(TooManyRequests, match="slower") as caught:
        ask(stub, kind)
    assert caught.value.retry_after == 99
    stub.answers = [(429, {}, b"a proxy's")]
    with pytest.raises(Unavailable, match="429"):
        ask(stub, kind, patience=0)


@KINDS
@pytest.mark.parametrize(
    ("headers", "says"),
    [
        (
            {
                "Deprecation": "@1688169599",
                "Sunset": "Sun, 30 Jun 2030 23:59:59 GMT",
                "Link": '</v1/x>; rel="alternate"',
            },
            "is deprecated since 2023-06-30 and to go on 2030-06-30: </v1/x>",
        ),
        ({"Deprecation": "true"}, "/v1/dictionaries is deprecated: ask for another version"),
        ({"Sunset": "Sun, 30 Jun 2030 23:59:59 GMT"}, "is to go on 2030-06-30"),
        ({"Sunset": "soon"}, ""),
    ],
)
def test_what_is_to_be_retired_is_said_once(stub: Stub, kind: str, headers: dict[str, str], says: str) -> None:
    status, media, body = ok([])
    stub.answers = [(status, media | headers, body)] * 3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # as Python shows them to a user: each once
        for _ in range(3):
            ask(stub, kind)
    told = [str(warning.message) for warning in caught if warning.category is FutureWarning]
    assert len(told) == bool(says)
    assert not says or says in told[0]


def test_streams_fetch_as_they_are_read(stub: Stub) -> None:
    """A stream that is left fetches no more; parts hold what one request may."""
    stub.answers = [safetensors({"vectors": np.full((4, 2), part, np.float16)}) for part in range(3)]

    async def main() -> list[tuple[list[int], float]]:
        found = []
        async with AsyncSenseClient(stub.url, "tiny@1") as client:
            async for ids, vectors in client.iter_senses(np.arange(12)):
                found.append((ids.tolist(), float(vectors[0, 0])))
                if len(found) == 2:
                    break
        return found

    assert asyncio.run(main()) == [([0, 1, 2, 3], 0.0), ([4, 5, 6, 7], 1.0)]
    assert len(stub.answers) == 1


def test_many_questions_at_once(service: Service) -> None:
    async def main() -> list[wire.WordSenses]:
        async with AsyncSenseClient(service.url, "tiny", connections=4) as client:
            return await asyncio.gather(*(client.word(word) for word in WORDS))

    with SenseClient(service.url, "tiny") as client:
        one_by_one = [client.word(word) for word in WORDS]
    assert asyncio.run(main()) == one_by_one


def test_as_many_connections_as_were_wanted(stub: Stub) -> None:
    inside, most, lock = 0, 0, threading.Lock()
    gate = threading.Event()

    def held(handler: Any) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 3:
                gate.set()
        gate.wait(60)
        with lock:
            inside -= 1
        stub.answers.insert(0, ok([]))
        stub.asked.pop()
        stub.answer(handler)

    stub.answers = [held] * 9

    async def main() -> None:
        async with AsyncSenseClient(stub.url, "tiny", connections=3) as client:
            await asyncio.gather(*(client.dictionaries() for _ in range(9)))

    asyncio.run(main())
    assert most == 3


PROGRAM = """
import asyncio
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensedict.client import AsyncSenseClient, SenseClient, SnapshotClient, open_dictionary
from sensedict.errors import SenseDictError, WordNotFound
from sensedict.source import SenseSource
from sensedict.wire import Relation, WordSenses


def opposites(word: str) -> list[str]:
    with SenseClient("http://127.0.0.1:8000", "smollm2-demo", key="k") as senses:
        found: WordSenses = senses.word(word, pos="noun")
        relations: list[Relation] = list(senses.relations(word, "antonym", depth=2))
        return [found.word, *(relation.other for relation in relations)]


async def both() -> tuple[WordSenses, WordSenses]:
    async with AsyncSenseClient("http://127.0.0.1:8000", "smollm2-demo") as senses:
        async for relation in senses.relations("light"):
            print(relation.other, (await senses.identity).dim)
        return await asyncio.gather(senses.word("light"), senses.word("dark"))


def parts(source: SenseClient | SnapshotClient) -> npt.NDArray[np.float16]:
    vectors = [found for _, found in source.iter_senses(np.arange(9))]
    return np.concatenate(vectors)


source: SenseSource = open_dictionary(Path("files"), "smollm2-demo@1")
try:
    asyncio.run(both())
except WordNotFound as error:
    print(error.detail)
"""


def test_a_users_program_is_typed(tmp_path: Path) -> None:
    """And a wrong one is found out."""
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(
        "from sensedict.client import SenseClient\n"
        'with SenseClient("http://host", "tiny") as senses:\n'
        "    senses.word(3)\n"
        '    senses.word("light", part="noun")\n'
        '    senses.word("light").sense\n'
        '    senses.relations("light", direction="up")\n'
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), "--no-error-summary", "right.py", "wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    places = [line.partition(": error")[0] for line in done.stdout.splitlines() if ": error" in line]
    assert places == [f"wrong.py:{line}" for line in (3, 4, 5, 6)], done.stdout + done.stderr


def test_a_file_set_without_pyarrow(monkeypatch: pytest.MonkeyPatch, published: Any) -> None:
    """Bulk reads need nothing more; what is in Parquet names the extra."""
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with SnapshotClient(published.folder) as client:
        assert client.get_senses(np.array([1])).shape == (1, 8)
        assert client.info().name == "tiny"
        with pytest.raises(MissingExtra, match=r"pip install 'sensedict\[snapshot\]'"):
            client.word("hot")


def test_a_file_set_of_the_first_format(published: Any, tmp_path: Path) -> None:
    """It holds a part of the lexicon: what is there is answered, the rest is an error, never half an answer."""
    folder = Path(shutil.copytree(published.folder, tmp_path / "tiny@1"))
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["record"]
    left = {*OF_LEXICON} - {"relations.parquet"}
    files = {name: entry for name, entry in manifest["files"].items() if name not in left}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": 1, "files": files}))
    with SnapshotClient(folder) as old, SnapshotClient(published.folder) as new:
        assert old.info() == new.info().model_copy(update={"published_at": None})
        assert old.token(1) == new.token(1)
        assert old.neighbours(3) == new.neighbours(3)
        for ask in (lambda: old.word("hot"), lambda: old.explain(next(new.relations("hot")).id)):
            with pytest.raises(NotInSnapshot, match=r"lacks .*\.parquet, since .* format 1: ask"):
                ask()


@pytest.mark.parametrize("client", [SenseClient, AsyncSenseClient])
def test_no_connections_are_refused_and_not_waited_for(client: type[SenseClient] | type[AsyncSenseClient]) -> None:
    with pytest.raises(ConfigurationError, match="connections is 0: at least 1 is needed"):
        client("http://127.0.0.1:8000", "tiny", connections=0)
