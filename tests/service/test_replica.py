"""Two nodes: a primary where dictionaries are published, and a service that reads from its streaming replica."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from moved_database import server
from running_service import running_service
from sensedict.client import SenseClient
from sensedict.errors import DictionaryGone, NotFound, Unavailable
from sensedict_server import lifecycle, removal, schema, upkeep
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because
from sensedict_server.settings import Settings
from sensedict_server.upkeep import Upkeep
from sensedict_server.uses import Uses
from service_problems import expect_problem
from streaming_replica import replica
from tiny_dictionary import RELATIONS, insert_lexicon, make_draft
from until import until

VERSIONS = 3
READERS = 2
WHY = Because("test", "test")


@dataclass(frozen=True)
class Nodes:
    """Settings of the primary and of the replica, each with files of its own, and what is to be published there."""

    primary: Settings
    reading: Settings
    draft: Draft


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    home = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        primary = Settings(home / "primary", stack.enter_context(server(18)))
        with opened(primary) as engine:
            schema.migrate(engine)
            draft = make_draft(*insert_lexicon(engine))
        assert primary.database_url is not None
        yield Nodes(primary, Settings(home / "replica", stack.enter_context(replica(primary.database_url))), draft)


class Reader(threading.Thread):
    """Asks the service for all of `tiny@latest`, again and again, as one who has just come."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.ended = threading.Event()
        self.seen: list[tuple[str, str, bytes, int]] = []
        self.failed: list[Exception] = []

    def run(self) -> None:
        """Read until told to stop."""
        while not self.ended.is_set():
            try:
                with SenseClient(self._url, "tiny@latest", patience=0) as client:
                    self.seen.append(self._read(client))
            except NotFound:  # before the first
                continue
            except Exception as error:
                self.failed.append(error)
                return

    def _read(self, client: SenseClient) -> tuple[str, str, bytes, int]:
        info = client.info()
        sets = client.candidate_sets(np.arange(info.vocabulary_size))
        vectors = client.get_senses(np.arange(info.senses))
        assert int(sets.own_count.sum()) <= info.senses
        first = client.sense(0).vector  # from the replica's rows; the others are from the file set made of them
        assert first == vectors[0].tolist()
        return info.version, info.content_hash, vectors.tobytes(), len(list(client.relations("hot")))


def _version(draft: Draft, number: int) -> Draft:
    random = np.random.default_rng(number)

    def changed(vectors: NDArray[np.float16]) -> NDArray[np.float16]:
        return random.normal(size=vectors.shape).astype(np.float16)

    tokens = replace(draft.tokens, vectors=changed(draft.tokens.vectors))
    words = replace(draft.words, vectors=changed(draft.words.vectors))
    return replace(draft, version=str(number), tokens=tokens, words=words)


def gone(url: str, ref: str) -> bool:
    try:
        with SenseClient(url, ref, patience=0) as client:
            client.info()
    except DictionaryGone:
        return True
    return False


def test_a_publish_is_seen_whole_or_not_at_all(nodes: Nodes, tmp_path: Path) -> None:
    published = {}
    with opened(nodes.primary) as engine, running_service(nodes.reading, tmp_path / "log") as service:
        readers = [Reader(service.url) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        for number in range(1, VERSIONS + 1):
            made = publish(engine, nodes.primary.files, _version(nodes.draft, number))
            until(lambda made=made: all(seen(reader, made.version) or reader.failed for reader in readers))
            published[made.version] = (made.version, made.content_hash)
        for reader in readers:
            reader.ended.set()
            reader.join()
        assert [reader.failed for reader in readers] == [[]] * READERS
        of_hot = sum("hot" in (word, other) for word, other, *_ in RELATIONS)
        whole: dict[str, bytes] = {}
        for reader in readers:
            assert [what[0] for what in reader.seen] == sorted(what[0] for what in reader.seen)  # never back
            for version, content_hash, vectors, relations in reader.seen:
                assert (version, content_hash) == published[version]
                assert whole.setdefault(version, vectors) == vectors
                assert relations == of_hot
        assert len(set(whole.values())) == VERSIONS

        lifecycle.withdraw(engine, "dictionary", "tiny@1", WHY)
        until(lambda: gone(service.url, "tiny@1"))
        answer = httpx.put(
            f"{service.url}/v1/dictionaries/tiny/aliases/mine", json={"version": "2", "reason": "test"}, timeout=30
        )
        expect_problem(answer, 503, "unavailable")
        assert "it is a standby, or set read-only" in answer.json()["detail"]
    assert "Traceback" not in service.log.read_text()


def seen(reader: Reader, version: str) -> bool:
    return any(what[0] == version for what in reader.seen)


def test_upkeep_of_a_replica_waits_until_it_is_promoted(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "REFRESH", 0.1)
    monkeypatch.setattr(upkeep, "FLUSH", 0.1)
    for module in (upkeep, removal):
        monkeypatch.setattr(module, "GRACE", 0.0)
    deleted = "SELECT count(*) FROM dictionaries WHERE (version, state) = ('11', 'withdrawn')"
    with opened(nodes.primary) as engine, opened(nodes.reading) as standby, caplog.at_level(logging.WARNING):
        for number in (11, 12):
            publish(engine, nodes.primary.files, _version(nodes.draft, number))
        lifecycle.withdraw(engine, "dictionary", "tiny@11", WHY)
        until(lambda: count(standby, deleted))
        uses = Uses()
        uses.note("tiny", "12", "somebody")
        at_work = Upkeep(standby, Catalogue(standby, nodes.reading.files), uses)
        at_work.start()
        until(lambda: caplog.messages)
        time.sleep(1)  # some turns more
        assert len(caplog.messages) == 1
        assert "who asks for which version is not noted: the database takes no changes now" in caplog.messages[0]
        assert count(standby, deleted) == 1
        with standby.connect() as connection:
            assert connection.execute(text("SELECT pg_promote()")).scalar_one()
        until(lambda: count(standby, deleted) == 0)
        until(
            lambda: count(standby, "SELECT count(*) FROM version_uses WHERE (version, key_name) = ('12', 'somebody')")
        )
        at_work.close()


def test_a_query_that_a_standby_ends_can_be_asked_again(database: Engine) -> None:
    ended = "DO $$ BEGIN RAISE 'canceling statement due to conflict with recovery' USING ERRCODE = '40001'; END $$"
    with database.connect() as connection, pytest.raises(Unavailable, match="set hot_standby_feedback = on"):
        connection.execute(text(ended))


def count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())
