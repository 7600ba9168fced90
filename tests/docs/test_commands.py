"""Every command of the README and the docs site is run as it stands, page by page, or is named with what runs it.

What is not as on the page: teacher, text, word lists and tasks are tiny (`doc_shelf`); commands read fewer tokens, ask
fewer questions, take one seed and search no grid (`smaller_sensedict`); ports, addresses and the words of `Place.meant`
and of `GRANTED` are the test's own; `pip` installs nothing. A page begins with what it names and does not make itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

import doc_shelf
from doc_pages import PAGES, ROOT, Block, blocks_of, name_of
from doc_place import Preparation, made_place
from warm_sensedict import warm_sensedict

pytestmark = pytest.mark.slow
LANGUAGES = ("sh", "console", "python", "sql")


def first(page: str, language: str) -> str:
    """The page's first block in a language."""
    return next(blocks_of(ROOT / page, language)).text


# How a block begins that is not run here, by page, and the test or the make target that runs it.
ELSEWHERE = {
    ("README.md", "make demo"): "make demo",
    ("README.md", "docker compose"): "tests/compose/run.sh",
    ("docs/analytics.md", "SELECT"): "tests/service/test_analytics.py",
    ("docs/analytics.md", "WITH"): "tests/service/test_analytics.py",
    ("docs/backup.md", 'url="$'): "tests/service/test_backup.py",
    ("docs/backup.md", "createdb"): "tests/service/test_backup.py",
    ("docs/benchmarks.md", "make bench-serve"): "make bench-serve",
    ("docs/deploy.md", "docker compose"): "tests/compose/run.sh",
    ("docs/deploy.md", "mkdir"): "tests/compose/run.sh",
    ("docs/guides/run.md", "docker compose"): "tests/compose/run.sh",
    ("docs/security.md", "export SENSEDICT_KEY=$(docker"): "tests/compose/run.sh",
    ("docs/tutorial.md", ""): "tests/docs/test_tutorial.py",
}
SAME = "--source synonyms:hg2vec-syn-pairs.txt --source antonyms:hg2vec-ant-pairs.txt"
GRANTED = {
    "docs/analytics.md": Preparation(needs=("english@1",), commands="rm FOLDER && sensedict export english@1 FOLDER"),
    "docs/build.md": Preparation(files={"plans.toml": first("docs/build.md", "toml")}),
    "docs/client.md": Preparation(
        files={"generator.yml": first("docs/client.md", "yaml")},
        # by bash, which cannot take what is for zsh
        replaced={'eval "$(_SENSEDICT_COMPLETE=zsh_source sensedict)"': "_SENSEDICT_COMPLETE=zsh_source sensedict"},
    ),
    "docs/experiments.md": Preparation(
        replaced={
            "files/mine@1 …": "files/mine@1 --variant k=15:FILES --variant k=20:FILES --variant k=25:FILES "
            "--teacher FOLDER --text train.jsonl --held-out heldout.jsonl --out results"
        }
    ),
    "docs/guides/run.md": Preparation(needs=("mine@1",), commands="sensedict snapshot export mine@1 smollm2.tar"),
    "docs/lexicon-totals.md": Preparation(replaced={"…the same…": SAME}),
    "docs/security.md": Preparation(commands="sensedict keys write admin-key; openssl rand -hex 32 > api-password"),
    "docs/versions.md": Preparation(replaced={"sensedict build …": "sensedict build --teacher FOLDER --corpus text/"}),
}


def named(block: Block) -> list[tuple[str, str]]:
    """The entries of ELSEWHERE that a block belongs to."""
    return [entry for entry in ELSEWHERE if entry[0] == block.page and block.text.startswith(entry[1])]


def to_run(page: Path) -> list[Block]:
    """The page's blocks that are run here."""
    return [block for block in blocks_of(page, *LANGUAGES) if not named(block)]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf") / "shelf"
    folder.mkdir()
    doc_shelf.fill(folder)
    return folder


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    address = tmp_path_factory.mktemp("warm") / "socket"
    with warm_sensedict(address):
        yield address


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=name_of)
def test_the_commands_of_a_page_run(page: Path, shelf: Path, warm: Path, postgres: URL, tmp_path: Path) -> None:
    blocks = to_run(page)
    taken = GRANTED.get(name_of(page), Preparation())
    with made_place(blocks, taken, shelf, tmp_path / "here", postgres, warm) as place:
        for block in blocks:
            place.run(block)


def test_what_runs_elsewhere_is_there() -> None:
    everything = [block for page in PAGES for block in blocks_of(page, *LANGUAGES)]
    assert {entry for block in everything for entry in named(block)} == set(ELSEWHERE)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for runner in ELSEWHERE.values():
        target = runner.removeprefix("make ")
        assert re.search(rf"^{target}:", makefile, re.MULTILINE) if target != runner else (ROOT / runner).is_file()
