"""A place where the commands of a page are followed: its files, its database, its service, and nobody else's."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from tokenizers import Tokenizer

from conftest import copy_of_template
from doc_pages import Block
from moved_database import program
from own_server import own_server
from running_service import environment_of, free_port, running_service
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.pipeline import build_dictionary
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because, set_alias
from sensedict_server.settings import Settings

WRAPPER = Path(__file__).parent / "smaller_sensedict.py"
SOURCES = ("synonyms:syn.txt", "antonyms:ant.txt", "moby:words.txt", "opposites")
LEXICONS = ("english@1", "demo-english@1")
FILES = "any@1"  # the file set that pages call so
# What of a dictionary is not the build's default; of those that a page names, the ones it does not build are there.
DICTIONARIES: dict[str, dict[str, Any]] = {
    FILES: {"lexicon": "any@1"},
    "mine@1": {},
    "mine@2": {"seed": 1},
    "smollm2-demo@1": {"lexicon": "demo-english@1"},
    "smollm2@1": {},
    "smollm2-next@1": {},
    **{f"smollm2-k{k}@1": {"k": k} for k in (5, 10, 15, 20, 25)},
}
MADE = re.compile(r"lexicon load (\S+@\S+)|--name (\S+) --version (\S+)")


@dataclass(frozen=True)
class Place:
    """Where a page is followed.

    Attributes:
        folder: in which commands run.
        settings: of its database; `database_url` is None where it is the embedded one.
        url: of its own server, for the address that a page leaves to its reader.
        port: of its service.
        warm: where the process listens that forks for its commands.
        replaced: what else stands for the words of the page.
    """

    folder: Path
    settings: Settings
    url: URL
    port: int
    warm: Path
    replaced: dict[str, str] = field(default_factory=dict)

    def run(self, block: Block) -> str:
        """What a block prints; it must end well."""
        text = self.meant(block.text)
        if block.language == "console":
            text = re.sub(r"^\$ ", "", text, flags=re.MULTILINE)
        done = subprocess.run(
            self._command(block.language, text),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        said = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, f"{block.page}, line {block.line}\n{text}\n… {said[-6000:]}"
        return said

    def meant(self, text: str) -> str:
        """A page's text with what its reader puts into it, and the few words that the tiny files do not have."""
        plain = self.url.set(drivername="postgresql")
        here = {
            "http://host:8000": f"http://127.0.0.1:{self.port}",
            "http://127.0.0.1:8000": f"http://127.0.0.1:{self.port}",
            "postgresql://user@host/database": plain.render_as_string(),
            "postgresql://sensedict_api@db/sensedict": plain.set(username="sensedict_api").render_as_string(),
            "postgresql://…": plain.render_as_string(),
            "/models/smollm2": str(self.folder / "teacher"),
            "/text/leads.jsonl": str(self.folder / "leads.jsonl"),
            "s3://bucket/nightly": str(self.folder / "store"),
            "[1420, 2391]": str([self._token(word) for word in ("light", "dark")]),
            "--layer 15": "--layer 2",  # so is the tiny teacher
            "--device cuda": "--device cpu",
            **self.replaced,
        }
        for written, meant in here.items():
            text = text.replace(written, meant)
        return text

    def _token(self, word: str) -> int:
        """Of the tiny teacher, whose vocabulary ends before those of the pages."""
        found = Tokenizer.from_file(str(self.folder / "teacher/tokenizer.json")).token_to_id(f"Ġ{word}")
        assert found is not None
        return int(found)

    def _command(self, language: str, text: str) -> list[str]:
        """What runs a block; what one exports, the page's next ones have too."""
        if language == "python":
            return [sys.executable, "-W", "error", "-c", text]
        if language == "sql" and ".parquet'" in text:
            return [sys.executable, "-c", f"import duckdb; print(duckdb.sql({text!r}))"]
        if language == "sql":
            address = self.url.set(drivername="postgresql").render_as_string()
            return ["psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--command", text, address]
        before = "set -a\n[ ! -f .exports ] || . ./.exports\n"
        return ["bash", "-eo", "pipefail", "-c", f"{before}{text}\nexport -p > .exports"]

    def _environment(self) -> dict[str, str]:
        programs = (self.folder / "bin", Path(sys.executable).parent, Path(program("psql")).parent)
        return environment_of(self.settings) | {
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder / "packages"),
            "CURL_HOME": str(self.folder),
            "DOC_WARM": str(self.warm),
            "DOC_PORT": str(free_port()),
            "DOC_URL": f"http://127.0.0.1:{self.port}",
        }


@dataclass(frozen=True)
class Preparation:
    """What a page takes for granted.

    Attributes:
        needs: lexicons and dictionaries beside those that it names.
        files: contents by name.
        commands: which are typed first.
        replaced: what its reader puts in place of words of its own.
    """

    needs: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    commands: str = ""
    replaced: dict[str, str] = field(default_factory=dict)


@contextmanager
def made_place(
    blocks: list[Block], taken: Preparation, shelf: Path, folder: Path, postgres: URL, warm: Path
) -> Iterator[Place]:
    """A copy of the shelf, and what the page names and does not make itself, for as long as the block lasts.

    Args:
        blocks: of the page.
        taken: what it takes for granted.
        shelf: what `doc_shelf.fill` made.
        folder: where commands run; it is made.
        postgres: the template database.
        warm: where `warm_sensedict` listens.
    """
    text = "\n".join(block.text for block in blocks)
    shutil.copytree(shelf, folder, symlinks=True)
    _programs(folder)
    with ExitStack() as stack:
        if re.search("sensedict database (start|url)", text):
            given = stack.enter_context(own_server())
            settings, url = replace(given, database_url=None), given.database_url
        else:
            settings = stack.enter_context(copy_of_template(postgres, folder / "home"))
            url = settings.database_url
        assert url is not None
        settings.files.mkdir(parents=True, exist_ok=True)
        (folder / "files").symlink_to(settings.files)
        (folder / "FILES").symlink_to(settings.files / FILES)
        with opened(replace(settings, database_url=url)) as engine:
            _make(engine, settings, folder, {*taken.needs, *_named(text)})
        place = Place(folder, settings, url, free_port(), warm, taken.replaced)
        for name, content in taken.files.items():
            (folder / name).write_text(place.meant(content), "utf-8")
        if "plans.toml" in taken.files:
            settings = replace(settings, plans=folder / "plans.toml")
        if ":8000" in text or "sensedict query" in text:
            stack.enter_context(running_service(settings, folder / "service.log", place.port))
        place.run(Block(blocks[0].page, 0, "what it takes for granted", "sh", taken.commands))
        yield place


def _programs(folder: Path) -> None:
    """`sensedict` and `pip` as the page's commands find them; curl that fails where the service says no."""
    (folder / "bin").mkdir()
    (folder / ".venv/bin").mkdir(parents=True)
    scripts = {"sensedict": f"exec '{sys.executable}' '{WRAPPER}' \"$@\"", "pip": "echo not installed by a test"}
    for name, script in scripts.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / ".venv/bin/sensedict").symlink_to(folder / "bin/sensedict")
    (folder / ".curlrc").write_text("fail-with-body\nno-progress-meter\n", "utf-8")


def _named(text: str) -> set[str]:
    """Lexicons and dictionaries that the page's blocks name and do not make."""
    made = {first or f"{name}@{version}" for first, name, version in MADE.findall(text)}
    found = {ref for ref in (*LEXICONS, *DICTIONARIES) if re.search(rf"(?<![\w-]){ref}(?!\w)", text)}
    if "smollm2-demo" in text:  # also by an alias, or alone
        found.add("smollm2-demo@1")
    if "FILES" in text:
        found.add(FILES)
    return found - made


def _make(engine: Engine, settings: Settings, folder: Path, refs: set[str]) -> None:
    wanted = [ref for ref in DICTIONARIES if ref in refs]
    lexicons = {str(DICTIONARIES[ref].get("lexicon", "english@1")) for ref in wanted} | refs & set(LEXICONS)
    for ref in sorted(lexicons):
        sources = [parse_source(f"{kind}:{folder / file}" if file else kind) for kind, _, file in map(_split, SOURCES)]
        load_lexicon(engine, *ref.split("@"), Recipe(sources, []))
    for ref in wanted:
        name, version = ref.split("@")
        common: dict[str, Any] = {"lexicon": "english@1", "threads": 1} | DICTIONARIES[ref]
        build = BuildSettings(
            teacher=str(folder / "teacher"), corpus=(str(folder / "text"),), name=name, version=version, **common
        )
        build_dictionary(engine, settings.files, build, folder / "state")
        if name == "smollm2":
            set_alias(engine, name, "prod", version, Because("a test", "the page has it"))


def _split(source: str) -> tuple[str, str, str]:
    return source.partition(":")
