"""Approximate search over a whole dictionary: its index made, broken, used and dropped, for vectors narrow and wide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from conftest import Published, copy_of_template
from running_service import Service, environment_of, running_service
from sensedict.cli import cli
from sensedict.client import AsyncSenseClient, SenseClient, SnapshotClient
from sensedict.errors import ConfigurationError, Conflict, InvalidInput, NotInSnapshot, SearchIndexNotFound, Unavailable
from sensedict.snapshot import Snapshot
from sensedict.source import NearestSenses
from sensedict_server import lifecycle, removal, roles, search, search_index
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.search import Progress, index_progress, index_state
from sensedict_server.settings import Settings
from sensedict_server.work import Work, current
from tiny_dictionary import insert_lexicon, make_draft
from until import until

RANDOM = np.random.default_rng(3)
WIDTHS = {"narrow": 8, "wide": 4_100}  # those that pgvector indexes as they are, and by their signs
WHY = Because("test", "test")


@dataclass(frozen=True)
class Served:
    """Two dictionaries, and the service that answers for them."""

    service: Service
    settings: Settings
    dictionaries: dict[str, Dictionary]


def _wide(draft: Draft, name: str, dim: int) -> Draft:
    def vectors(n: int) -> np.ndarray:  # type: ignore[type-arg]
        return RANDOM.normal(size=(n, dim)).astype(np.float16)

    tokens = replace(draft.tokens, vectors=vectors(len(draft.tokens.vectors)))
    return replace(
        draft, name=name, tokens=tokens, words=replace(draft.words, vectors=vectors(len(draft.words.vectors)))
    )


@pytest.fixture(scope="module")
def served(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("search")
    with copy_of_template(postgres, home) as settings:
        with opened(settings) as database:
            lexicon, words = insert_lexicon(database)
            made = {
                name: publish(database, settings.files, _wide(make_draft(lexicon, words), name, dim))
                for name, dim in WIDTHS.items()
            }
        with running_service(settings, home / "log") as service:
            yield Served(service, settings, made)


def sensedict(settings: Settings, *arguments: str) -> str:
    """What the command prints; an error of ours is raised."""
    done = CliRunner().invoke(cli, arguments, env=environment_of(settings))
    if done.exception is not None:
        raise done.exception
    return done.output


def test_exact_search_ends_when_nobody_waits(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts, between which it looks; the answer is the one of all at once."""
    monkeypatch.setattr(search, "_AT_ONCE", 3)
    vectors = np.random.default_rng(5).standard_normal((10, 8)).astype(np.float32)
    with Snapshot.open(published.folder) as senses:
        found, whole = search.exactly_nearest(senses, vectors, 4), senses.nearest_senses(vectors, 4)
        for name in ("offsets", "ids", "distances"):
            assert getattr(found, name).tolist() == getattr(whole, name).tolist()
        assert (found.p, found.search, found.short.tolist()) == (whole.p, whole.search, whole.short.tolist())
        work = Work("gone")
        work.stop()
        token = current.set(work)
        try:
            with pytest.raises(Unavailable, match="0 of 10 vectors"):
                search.exactly_nearest(senses, vectors, 4)
        finally:
            current.reset(token)
        monkeypatch.setattr(search, "LIMITS", search.LIMITS.model_copy(update={"request_seconds": -1}))
        with pytest.raises(Unavailable, match="send fewer at once"):
            search.exactly_nearest(senses, vectors, 4)


def test_approximate_search(served: Served) -> None:
    """So few senses that the index finds them all: what is compared exactly then is what exact search gives."""
    for name, dim in WIDTHS.items():
        queries = RANDOM.normal(size=(70, dim)).astype(np.float32)
        queries[1, 0] = 1e6  # more than a halfvec holds
        with SenseClient(served.service.url, f"{name}@1") as client:
            with pytest.raises(SearchIndexNotFound, match=f"`sensedict dictionary index {name}@1` makes one"):
                client.nearest_senses(queries, 3, search="approximate")
            assert sensedict(served.settings, "dictionary", "index", name).endswith(f"{name}@1 has its index\n")
            assert sensedict(served.settings, "dictionary", "index", name) == f"{name}@1 has its index already\n"
            for p, short in ((3, False), (100, True)):
                exact, found = (
                    client.nearest_senses(queries, p),
                    client.nearest_senses(queries, p, search="approximate"),
                )
                assert (exact.search, found.search) == ("exact", "approximate")
                assert exact.short.tolist() == found.short.tolist() == [short] * len(queries)
                for field in ("offsets", "ids", "distances"):
                    np.testing.assert_array_equal(getattr(exact, field), getattr(found, field))
        body = {"vectors": queries[:2].tolist(), "p": 100, "search": "approximate"}
        said = httpx.post(f"{served.service.url}/v1/dictionaries/{name}@1:nearestSenses", json=body, timeout=30).json()
        assert (said["search"], said["short"], said["errors"]) == ("approximate", [True, True], [])
        assert [len(row) for row in said["nearest"]] == [served.dictionaries[name].senses] * 2

    async def awaited() -> NearestSenses:
        async with AsyncSenseClient(served.service.url, f"{name}@1") as client:
            return await client.nearest_senses(queries, 3, search="approximate")

    assert asyncio.run(awaited()).search == "approximate"


def test_what_cannot_be_asked_approximately(served: Served) -> None:
    queries = np.zeros((1, 8), np.float32)
    with SenseClient(served.service.url, "narrow@1") as client:
        with pytest.raises(InvalidInput, match="leave `search` or `tokens` out"):
            client.nearest_senses(queries, 1, np.array([1]), search="approximate")
        with pytest.raises(InvalidInput, match="search is exact or approximate, got 'quick'"):
            client.nearest_senses(queries, 1, search="quick")  # type: ignore[arg-type]
    path = f"{served.service.url}/v1/dictionaries/narrow@1:nearestSenses"
    for body in ({"search": "quick"}, {"search": "approximate", "tokens": [1]}):
        assert httpx.post(path, json={"vectors": queries.tolist(), **body}, timeout=30).status_code == 422
    with (
        SnapshotClient(served.settings.files / "narrow@1") as folder,
        pytest.raises(NotInSnapshot, match="no index for approximate search: leave `search` out, or ask a service"),
    ):
        folder.nearest_senses(queries, 1, search="approximate")


def test_an_index_that_was_not_finished(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    tiny = publish(database, settings.files, tiny_draft)
    told: list[Progress] = []
    with ThreadPoolExecutor(1) as beside, database.connect() as writer, database.connect() as looking:
        looking.execution_options(isolation_level="AUTOCOMMIT")
        writer.execute(text("LOCK TABLE senses IN ROW EXCLUSIVE MODE"))  # as who writes: it is waited for
        making = beside.submit(search_index.make, database, tiny, told.append)
        until(lambda: index_progress(looking, tiny.id) is not None)
        with pytest.raises(Conflict, match="the index of tiny@1 is being made by another process"):
            search_index.make(database, tiny, told.append)
        until(lambda: told)
        looking.execute(text("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index"))
        with pytest.raises(Unavailable, match="the database stopped the query"):
            making.result()
        assert index_state(looking, tiny.id) == "broken"
        writer.rollback()
        assert search_index.make(database, tiny, told.append)
        assert index_state(looking, tiny.id) == "valid"
    assert told[0].phase.startswith("waiting")


def test_the_service_drops_the_index_of_what_is_deleted_and_makes_none(
    database: Engine, settings: Settings, tiny_draft: Draft
) -> None:
    tiny = publish(database, settings.files, tiny_draft)
    with database.begin() as connection:
        roles.make_login(connection, "searcher", None)
    assert settings.database_url is not None
    with opened(replace(settings, database_url=settings.database_url.set(username="searcher"))) as service:
        with pytest.raises(ConfigurationError, match="'searcher' may not make an index: run the command as the owner"):
            search_index.make(service, tiny, print)
        assert search_index.make(database, Catalogue(database, settings.files).resolve("tiny"), print)
        with pytest.raises(Conflict, match="is published: its index is in use"):
            search_index.drop(service, tiny.id)
        lifecycle.remove_alias(service, "tiny", "latest", WHY)
        lifecycle.withdraw(service, "dictionary", "tiny@1", WHY)
        assert sum(removal.remove_withdrawn(service, "dictionary", 0.0)) > 0
        with database.connect() as connection:
            assert index_state(connection, tiny.id) is None
        assert not search_index.drop(service, tiny.id)
