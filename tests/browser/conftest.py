"""A real Chromium on the page that a real service serves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy.engine import URL

from browser_reader import Reader
from conftest import copy_of_template
from hostile_dictionary import hostile_draft
from running_service import Service, running_service
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.queries.id_maps import add_id_map
from sensedict_server.settings import Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")  # playwright keeps an event loop running, and later tests start their own
def chromium() -> Iterator[Browser]:
    """The browser of this machine, without a window."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if found is None:
        pytest.skip(f"there is none of {', '.join(CHROMIUM)}: on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        # Without its sandbox, which a container has no rights for: the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def explored(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with `tiny@1` of `hostile_dictionary`, `tiny@2`, and a map of the senses of "hot" between them."""
    with copy_of_template(postgres, tmp_path_factory.mktemp("explored")) as made:
        with opened(made) as engine:
            draft = hostile_draft(engine)
            old = publish(engine, made.files, draft)
            new = publish(engine, made.files, replace(draft, version="2"))
            with engine.begin() as connection:
                add_id_map(connection, old.id, new.id, {}, map_of_hot())
        yield made


def map_of_hot() -> bytes:
    """Two senses changed places, one is gone and one is new."""
    rows = [(0, 2, 0.0, "kept"), (1, None, None, "gone"), (2, 0, 0.7, "moved"), (None, 1, None, "new")]
    columns = dict(zip(("old_id", "new_id", "distance", "state"), zip(*rows, strict=True), strict=True))
    kinds = {"old_id": pa.int64(), "new_id": pa.int64(), "distance": pa.float64(), "state": pa.string()}
    out = BytesIO()
    pq.write_table(pa.table(columns, schema=pa.schema(kinds)), out)
    return out.getvalue()


@pytest.fixture(scope="session")
def explorer(explored: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service over `explored`, open to all."""
    with running_service(explored, tmp_path_factory.mktemp("explorer") / "log") as service:
        yield service


@pytest.fixture
def reader(chromium: Browser, explorer: Service) -> Iterator[Reader]:
    """A reader in a tab of their own; a fault that the browser told of fails the test."""
    context = chromium.new_context()
    found = Reader(context.new_page(), explorer)
    yield found
    context.close()
    assert [fault for fault in found.faults if "404" not in fault] == []  # what is not there is an answer
