"""What the explorer's page adds to the API's answers where 70,000 tokens have senses.

Run: python benchmarks/explorer.py

A real Chromium without a window, on the machine of the service. The page's time is its own: from the key or the address
to the frame in which the reader sees what was asked for, so with the 60 ms that typing must rest. The peer is the same
question to the API by httpx, on a connection that is open; for the zoom it is a frame in which nothing changes. Each
round asks for another word or prefix, which no cache of the browser has.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import numpy as np
from common import Row, write
from database import databases, made_draft
from playwright.sync_api import Page, sync_playwright
from serve_dictionary import made_vectors, publish_lexicon, spelt
from serve_processes import service
from sqlalchemy import Connection, Engine

from sensedict_server.build.contents import TokenSenses, WordSenses
from sensedict_server.build.publish import publish

COMMAND = "python benchmarks/explorer.py"
TOKENS, DIM = 70_000, 576
K, COMMON = 10, 5_000  # the common tokens have K senses and stand in relations; the others have one
RELATED = 6  # words of each of them
ROUNDS = 9
SEEN = 60_000  # ms to wait for at most
# Tells when CHECK holds in a frame that is about to be seen, in ms since the key, the wheel or the new address. The
# page's policy forbids code made of text, so CHECK is put into what the browser is given.
WATCH = """() => { window.timed = new Promise((tell, fail) => {
  let began = null;
  const begin = (event) => { began ??= event.timeStamp; };
  for (const kind of ["keydown", "wheel", "hashchange"]) addEventListener(kind, begin, { capture: true, once: true });
  const look = () => (began !== null && (CHECK) ? tell(performance.now() - began) : requestAnimationFrame(look));
  requestAnimationFrame(look);
  setTimeout(() => fail(new Error("never seen")), SEEN);
}); }"""
FRAME = "() => new Promise((tell) => requestAnimationFrame((a) => requestAnimationFrame((b) => tell(b - a))))"
# What lies near comes later; who asks for the next word before leaves a search behind that takes the next one's time.
QUIET = """() => new Promise((tell) => {
  const look = () => (document.body.textContent.includes("Looking for what lies near") ? setTimeout(look, 50) : tell());
  look();
})"""
WORD = "document.querySelector('h1')?.textContent"


def main() -> None:
    """Measure, print the table, write it to `out/explorer.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="Keep what was to be seen.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder, databases() as fresh:
        engine, home = fresh(), Path(folder)
        make(engine, home / "files")
        with (
            service(engine, home, home / "log") as url,
            httpx.Client(base_url=url, timeout=60) as http,
            chromium() as page,
        ):
            page.goto(f"{url}/explorer#d=made%401")
            page.get_by_role("heading", level=1).wait_for()
            rows = measured(page, http, given.screenshots)
    print(f"table: {write('explorer', rows)}")


def measured(page: Page, http: httpx.Client, screenshots: Path | None) -> list[Row]:
    """A row for each thing that a reader waits for."""
    api = "/v1/dictionaries/made@1"
    words = iter(np.random.default_rng(1).choice(COMMON, 5 * (ROUNDS + 1) + 2, replace=False).tolist())

    def shape() -> str:
        return spelt(next(words)).strip()

    def asked(what: str, **parameters: str | int) -> Callable[[str], float]:
        def ask(word: str) -> float:
            began = time.perf_counter()
            http.get(f"{api}/{what}", params={**parameters, "prefix" if what == "words" else "word": word}).read()
            return (time.perf_counter() - began) * 1000

        return ask

    def go(view: str, check: str) -> Callable[[str], float]:
        def shown(word: str) -> float:
            watch(page, f"{WORD} === '{word}' && {check}")
            page.evaluate(f"location.hash = '#w={word}&d=made%401{view}'")
            taken = timed(page)
            page.evaluate(QUIET)
            return taken

        return shown

    cards = f"document.querySelectorAll('article.card').length === {K}"
    near = f"document.querySelectorAll('.card .near a:first-of-type').length === {K}"
    own = f"document.querySelectorAll('.mark.own').length === {K}"
    found = "document.querySelector('.mark.neighbour') !== null"
    rows = [
        row("suggestions vs API", lambda word: suggested(page, word), asked("words", limit=10), lambda: shape()[:3]),
        row("senses vs API", go("", cards), asked("senses"), shape),
        row("senses with neighbours vs API", go("", near), asked("senses", neighbours=6), shape),
        row("map vs API", go("&v=map", own), asked("map", neighbours=0), shape),
        row("map with neighbours vs API", go("&v=map", found), asked("map", neighbours=2), shape),
    ]
    if screenshots:
        page.screenshot(path=screenshots / "map.png")
    page.hover("svg.plane")
    rows.append(row("zoom vs an empty frame", lambda _: zoomed(page), lambda _: float(page.evaluate(FRAME)), str))
    if screenshots:
        page.screenshot(path=screenshots / "zoomed.png")
        go("", near)(shape())
        page.screenshot(path=screenshots / "senses.png")
        suggested(page, shape()[:3])
        page.screenshot(path=screenshots / "suggestions.png")
    return rows


def row(name: str, ours: Callable[[str], float], peer: Callable[[str], float], word: Callable[[], str]) -> Row:
    """Medians of both, in turns, as rates; the first round is none."""
    ours(asked := word()), peer(asked)
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS):
        asked = word()
        for turn in (0, 1) if number % 2 else (1, 0):
            taken[turn].append((ours, peer)[turn](asked))
    print(f"{name}: {median(taken[0]):.0f} ms, at most {max(taken[0]):.0f}; {median(taken[1]):.0f} ms", file=sys.stderr)
    return Row(name, 1000 / median(taken[0]), 1000 / median(taken[1]), "a second", COMMAND)


def suggested(page: Page, prefix: str) -> float:
    """From the last letter's key to the list."""
    field = page.locator("#word")
    field.fill(prefix[:-1])
    page.wait_for_timeout(300)  # a reader's list for what is typed so far
    begins = f"document.querySelector('#suggestions li')?.dataset.word.startsWith('{prefix}')"
    watch(page, f"!document.getElementById('suggestions').hidden && {begins}")
    page.keyboard.press(prefix[-1])
    return timed(page)


def zoomed(page: Page) -> float:
    """From the wheel to marks that moved."""
    page.evaluate("window.before = document.querySelector('.mark').getAttribute('transform')")
    watch(page, "document.querySelector('.mark').getAttribute('transform') !== window.before")
    page.mouse.wheel(0, -60)
    return timed(page)


def watch(page: Page, check: str) -> None:
    """Let the page count the time from what is done next until that holds."""
    page.evaluate(WATCH.replace("CHECK", check).replace("SEEN", str(SEEN)))


def timed(page: Page) -> float:
    """Milliseconds that the page itself counted."""
    return float(page.evaluate("window.timed"))


@contextmanager
def chromium() -> Iterator[Page]:
    """A tab of this machine's browser."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("there is no Chromium: on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        # Without its sandbox, which a container has no rights for: the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(SEEN)
        yield page
        browser.close()


def make(engine: Engine, files: Path) -> None:
    """Publish `made@1`: TOKENS tokens, each with senses, the common ones with relations."""
    random = np.random.default_rng(0)
    ranks = np.arange(TOKENS)
    sizes = np.where(ranks < COMMON, K, 1)
    n = int(sizes.sum())
    with engine.begin() as connection:
        lexicon, word_ids = _lexicon(connection, random)
    vectors = made_vectors(n, DIM, random)
    tokens = TokenSenses(
        texts=[spelt(token) for token in range(TOKENS)],
        occurrences=(10_000_000 / (ranks + 2.7)).astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        vectors=vectors,
        counts=100 - (np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)),
        inertia=random.random(n).astype(np.float32),
        contexts=[()] * n,
    )
    none = np.zeros(COMMON + 1, np.int64)
    words = WordSenses(np.array(word_ids), [(token,) for token in range(COMMON)], none, vectors[:0], [None] * COMMON)
    publish(engine, files, made_draft(lexicon, K, tokens, words))


def _lexicon(connection: Connection, random: np.random.Generator) -> tuple[int, list[int]]:
    """The published lexicon `made@1`: its id, and its words' ids in rising order."""
    pairs = np.sort(np.stack([np.repeat(np.arange(COMMON), RELATED), random.integers(0, COMMON, COMMON * RELATED)], 1))
    found = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist()
    kinds = ["synonym" if row % 5 else "antonym" for row in range(len(found))]
    return publish_lexicon(connection, [spelt(token).strip() for token in range(COMMON)], found, kinds)


if __name__ == "__main__":
    main()
