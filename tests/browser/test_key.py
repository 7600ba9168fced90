"""A service that asks for a key, and a reader who has one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, expect

from browser_reader import Reader
from running_service import Service, environment_of, running_service
from sensedict.cli import cli
from sensedict_server.settings import Settings


@dataclass(frozen=True)
class Locked:
    """The dictionaries of `explored` behind keys and without passages, and a key."""

    service: Service
    key: str


@pytest.fixture(scope="module")
def locked(explored: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    made = CliRunner().invoke(cli, ["keys", "create", "reader", "--json"], env=environment_of(explored))
    assert made.exit_code == 0, made.output
    settings = replace(explored, keys="required", contexts=False)
    with running_service(settings, tmp_path_factory.mktemp("locked") / "log") as service:
        yield Locked(service, json.loads(made.stdout)["key"])


def test_a_key_is_asked_for_once_and_forgotten_with_the_tab(chromium: Browser, locked: Locked) -> None:
    context = chromium.new_context()
    page = Reader(context.new_page(), locked.service).go(d="tiny@1", w="hot")
    dialog = page.get_by_role("dialog", name="A key, please")
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill("mistyped")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("did not take that key")
    field.fill(locked.key)
    page.keyboard.press("Enter")
    expect(page.locator("article.card")).to_have_count(3)
    expect(page.locator(".near a").first).to_be_visible()
    expect(dialog).to_be_hidden()
    assert page.evaluate("Object.keys(localStorage)") == []
    assert context.cookies() == []
    assert locked.key not in page.url

    expect(page.locator("article.card").first).to_contain_text("No passage")
    page.get_by_role("link", name="Map").click()
    page.locator("svg.plane").press("n")
    expect(page.locator(".details")).to_contain_text("hot sense 1")
    expect(page.locator("mark")).to_have_count(0)
    page.go_back()

    page.reload()  # the tab still has it
    expect(page.locator("article.card")).to_have_count(3)
    page.get_by_role("button", name="Key").click()
    page.get_by_role("button", name="Forget it").click()
    expect(field).to_be_focused()  # asked for anew
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("This needs a key")

    other = Reader(context.new_page(), locked.service).go(d="tiny@1", w="hot")
    expect(other.get_by_role("dialog")).to_be_visible()
    context.close()
