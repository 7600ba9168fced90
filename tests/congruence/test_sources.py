"""The same questions to `SenseClient` over HTTP, to `Snapshot` over the file set, and to a service that has imported
that set into an empty database: one answer, one error."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from sqlalchemy.engine import URL

from conftest import Published, copy_of_template
from moved_snapshot import import_from
from running_service import Service, running_service
from sensedict.client import SenseClient, SnapshotClient
from sensedict.errors import InvalidInput, NotFinite, SenseDictError, SenseNotFound, WrongDimension
from sensedict.snapshot import Snapshot
from sensedict.source import SenseSource
from sensedict.wire import Limits
from sensedict_server.database import opened
from tiny_dictionary import TOKENS, D
from waiting import Waiting

SENSES = 81
RANDOM = np.random.default_rng(3)
QUERIES = RANDOM.normal(size=(50, D))
MANY = Limits().max_items * 2 + 100  # three requests over HTTP


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[SenseClient]:
    with SenseClient(service.url, "tiny@1") as opened:
        yield opened


@pytest.fixture(scope="module")
def snapshot(published: Published) -> Iterator[Snapshot]:
    with Snapshot.open(published.folder, verify=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def reimported(postgres: URL, published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SenseClient]:
    """A client of a service whose database was empty; its file set is written anew from the imported rows."""
    home = tmp_path_factory.mktemp("reimported")
    with copy_of_template(postgres, home) as settings, opened(settings) as engine:
        import_from(published.folder, engine, settings)
        shutil.rmtree(settings.files / "tiny@1")
        with running_service(settings, home / "log") as service, SenseClient(service.url, "tiny@1") as client:
            yield client


@pytest.fixture(scope="module")
def at_once(service: Service) -> Iterator[Any]:
    """The async client, waited for."""
    waiting = Waiting(service.url, "tiny@1")
    yield waiting
    waiting.end()


@pytest.fixture(scope="module")
def folder(published: Published) -> Iterator[SnapshotClient]:
    """The client of the file set."""
    with SnapshotClient(published.folder) as opened:
        yield opened


@pytest.fixture(scope="module", params=["client", "snapshot", "reimported"])
def source(request: pytest.FixtureRequest) -> SenseSource:
    found: SenseSource = request.getfixturevalue(request.param)
    return found


def equal(one: Any, other: Any) -> None:
    """Same values, types and shapes all the way down."""
    assert type(one) is type(other)
    if is_dataclass(one) and not isinstance(one, type):
        for field in fields(one):
            equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


ANSWERS: dict[str, Callable[[SenseSource], object]] = {
    "identity": lambda source: source.identity,
    "sets of the vocabulary": lambda source: source.candidate_sets(np.arange(len(TOKENS))),
    "sets of one token": lambda source: source.candidate_sets(np.array([2])),
    "sets with repeats": lambda source: source.candidate_sets(np.array([5, 1, 5, 0], dtype=np.int16)),
    "sets of tokens that are none": lambda source: source.candidate_sets(np.array([40, 1, 2**32 - 1])),
    "more sets than a request holds": lambda source: source.candidate_sets(np.arange(MANY) % 43),
    "every sense": lambda source: source.get_senses(np.arange(SENSES)),
    "senses with repeats": lambda source: source.get_senses(np.array([80, 0, 80], dtype=np.uint8)),
    "more senses than a request holds": lambda source: source.get_senses(np.arange(MANY)[::-1] % SENSES),
    "nearest of the dictionary": lambda source: source.nearest_senses(QUERIES, 5),
    "nearest of float16": lambda source: source.nearest_senses(QUERIES.astype(np.float16), 1),
    "all are near": lambda source: source.nearest_senses(QUERIES[:3].astype(np.float32), 100),
    "nearest of owners": lambda source: source.nearest_senses(QUERIES, 2, RANDOM_OWNERS),
    "nearest of more than a request holds": lambda source: source.nearest_senses(
        np.tile(QUERIES, (MANY // 50 + 1, 1)), 3, np.arange((MANY // 50 + 1) * 50) % 43
    ),
}
RANDOM_OWNERS = RANDOM.integers(0, 43, 50)  # three of them are no token


@pytest.mark.parametrize("question", ANSWERS)
def test_one_answer(
    client: SenseClient,
    snapshot: Snapshot,
    reimported: SenseClient,
    at_once: Any,
    folder: SnapshotClient,
    question: str,
) -> None:
    answer = ANSWERS[question](client)
    for source in (snapshot, reimported, at_once, folder):
        equal(answer, ANSWERS[question](source))


ERRORS: dict[str, tuple[Callable[[SenseSource], object], type[SenseDictError]]] = {
    "no tokens": (lambda source: source.candidate_sets(np.array([], dtype=np.int64)), InvalidInput),
    "tokens that are no numbers": (lambda source: source.candidate_sets(np.array([1.5])), InvalidInput),
    "a negative token": (lambda source: source.candidate_sets(np.array([3, -1])), InvalidInput),
    "a token too large": (lambda source: source.candidate_sets(np.array([2**32])), InvalidInput),
    "tokens in a square": (lambda source: source.candidate_sets(np.ones((2, 2), np.int64)), InvalidInput),
    "no ids": (lambda source: source.get_senses(np.array([], dtype=np.int64)), InvalidInput),
    "an unknown sense": (lambda source: source.get_senses(np.array([0, SENSES])), SenseNotFound),
    "a negative sense": (lambda source: source.get_senses(np.array([-1])), SenseNotFound),
    "no vectors": (lambda source: source.nearest_senses(np.zeros((0, D)), 1), InvalidInput),
    "one vector without rows": (lambda source: source.nearest_senses(np.zeros(D), 1), InvalidInput),
    "vectors of whole numbers": (
        lambda source: source.nearest_senses(np.zeros((1, D), np.int64), 1),  # type: ignore[arg-type]
        InvalidInput,
    ),
    "another width": (lambda source: source.nearest_senses(np.zeros((2, D + 1)), 1), WrongDimension),
    "NaN": (lambda source: source.nearest_senses(np.full((2, D), np.nan), 1), NotFinite),
    "infinity": (lambda source: source.nearest_senses(np.full((2, D), -np.inf), 1), NotFinite),
    "too large for float32": (lambda source: source.nearest_senses(np.full((2, D), 1e39), 1), NotFinite),
    "too large for a distance": (lambda source: source.nearest_senses(np.full((2, D), np.float32(1e20)), 1), NotFinite),
    "p of nothing": (lambda source: source.nearest_senses(QUERIES, 0), InvalidInput),
    "p beyond the limit": (lambda source: source.nearest_senses(QUERIES, 101), InvalidInput),
    "fewer owners than vectors": (lambda source: source.nearest_senses(QUERIES, 1, np.arange(3)), InvalidInput),
}


@pytest.mark.parametrize("question", ERRORS)
def test_one_error(
    client: SenseClient, snapshot: Snapshot, at_once: Any, folder: SnapshotClient, question: str
) -> None:
    ask, kind = ERRORS[question]
    said = []
    for source in (client, snapshot, at_once, folder):
        with pytest.raises(kind) as caught:
            ask(source)
        assert type(caught.value) is kind
        said.append(caught.value.detail)
    assert said == said[:1] * 4


def test_sets_lead_to_vectors_and_back(source: SenseSource) -> None:
    """A trainer's way: tokens, their senses' ranges, their vectors, and each vector its own nearest sense."""
    sets = source.candidate_sets(np.arange(len(TOKENS)))
    assert sets.own_count.tolist() == [count for _, count in TOKENS]
    owned = [np.arange(first, first + count) for first, count in zip(sets.own_first, sets.own_count, strict=True)]
    ids = np.concatenate(owned)
    vectors = source.get_senses(ids)
    found = source.nearest_senses(vectors, 1, np.repeat(sets.tokens, sets.own_count))
    assert found.ids.tolist() == ids.tolist()
    assert not found.distances.any()


def test_answers_are_the_callers_own(source: SenseSource) -> None:
    vectors = source.get_senses(np.array([1]))
    vectors[:] = 0
    assert source.get_senses(np.array([1])).any()
