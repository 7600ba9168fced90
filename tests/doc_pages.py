"""The fenced blocks of the README and of the docs site's pages, for the tests that parse or run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = tuple(sorted((ROOT / "docs").rglob("*.md")))
PAGES = (ROOT / "README.md", *SITE)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its path from the root of the repository.
        line: where its fence stands, from 1.
        section: the title above it.
        language, text: what is behind the fence, and inside.
    """

    page: str
    line: int
    section: str
    language: str
    text: str


def name_of(page: Path) -> str:
    """The page's path from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, *languages: str) -> Iterator[Block]:
    """The page's blocks in some languages, in order."""
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        if found[1] in languages:
            before = FENCE.sub("", text[: found.start()])
            titles = _TITLE.findall(before)
            line = text.count("\n", 0, found.start()) + 1
            yield Block(name_of(page), line, titles[-1] if titles else "", found[1], found[2])
