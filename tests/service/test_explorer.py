"""The explorer's files as they are served, and what is never in them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

import sensedict_server
from running_service import Service
from service_problems import expect_problem

FOLDER = Path(sensedict_server.__file__).parent / "explorer"
FILES = sorted(file.name for file in FOLDER.iterdir())
# What makes markup, code or requests of a text, or would need the policy to be looser.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|\beval\b|"
    r"new Function|srcdoc|\.cookie|setAttribute\(\s*[\"']style|XMLHttpRequest|WebSocket|EventSource|sendBeacon|"
    r"@import|\bstyle=|\bon\w+=\"|https?://|//cdn",
)


@pytest.mark.parametrize("name", FILES)
def test_files_make_no_markup_of_texts_and_ask_nobody_else(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert FORBIDDEN.findall(text) == []
    assert len(text.splitlines()) <= 300
    if name.endswith(".html"):
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style", text) == []


def test_the_page_names_every_file_and_no_other() -> None:
    page = (FOLDER / "index.html").read_text("utf-8")
    named = set(re.findall(r"(?:href|src)=\"explorer/([^\"]+)\"", page))
    assert named == set(FILES) - {"index.html"}


@pytest.mark.parametrize("path", ["/explorer", *(f"/explorer/{name}" for name in FILES)])
def test_files_come_with_a_policy_and_are_kept_by_their_content(service: Service, path: str) -> None:
    answer = httpx.get(service.url + path)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    again = httpx.get(service.url + path, headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert answer.headers["etag"].removeprefix("W/") == again.headers["etag"]  # weak where it was compressed


def test_browsers_are_led_to_the_page_and_others_are_not(service: Service) -> None:
    led = httpx.get(f"{service.url}/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (led.status_code, led.headers["location"]) == (307, "explorer")
    expect_problem(httpx.get(f"{service.url}/"), 404, "not-found")
    for path in ("/explorer/nosuch.js", "/explorer/..%2fapp.py", "/explorer/app.py"):
        expect_problem(httpx.get(service.url + path), 404, "not-found")
