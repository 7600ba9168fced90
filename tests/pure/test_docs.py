"""What README and docs say can be done: commands and options, requests, Python, links; and all pages are reached."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click
import pytest
import yaml
from sqlalchemy import create_engine

from doc_pages import FENCE, PAGES, ROOT, SITE, blocks_of, name_of
from sensedict.cli import cli
from sensedict_server.app import create_app
from sensedict_server.settings import Settings

COMMAND = r"^(\$ |sensedict |curl |docker |make |pip |python |SELECT )"
_NEXT = ("&&", "||", "|", ";", "&", ">", ">>", "<", ")")  # where a command ends


@dataclass(frozen=True)
class Command:
    """A command as a page has it: its words, and where."""

    page: str
    words: tuple[str, ...]
    whole: bool  # of a block: to be typed as it is; else named in a sentence

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """Page and text of the fenced blocks in some languages."""
    for page in PAGES:
        for block in blocks_of(page, *languages):
            yield block.page, block.text


def commands(program: str) -> Iterator[Command]:
    """Every command line of that program, in blocks, in the demo's script and, for `sensedict`, in sentences."""
    scripts = [*blocks("sh", "console"), ("examples/demo.sh", (ROOT / "examples/demo.sh").read_text("utf-8"))]
    for page, block in scripts:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            words = _words(line.removeprefix("$ "))
            for at, word in enumerate(words):
                if word in (program, f".venv/bin/{program}") and not _is_a_value(words[:at]):
                    rest = words[at + 1 :]
                    end = next((i for i, other in enumerate(rest) if other in _NEXT), len(rest))
                    yield Command(page, (program, *rest[:end]), whole=True)
    for page in PAGES if program == "sensedict" else ():
        prose = FENCE.sub("", page.read_text("utf-8"))
        for named in re.findall(r"`sensedict ([^`]*)`", prose):
            words = ("sensedict", *named.replace("\n", " ").split())
            yield Command(name_of(page), words, whole=False)


def _words(line: str) -> list[str]:
    """The words of a shell line without its comment; expansions in braces stand for nothing, `$(…)` is opened."""
    line = re.sub(r"…\S[^…]*\S…", "…", line)  # …the same…
    line = re.sub(r"\$\{[^}]*:\+[^}]*\}", "", line).replace("$(", " $( ").replace('"$( ', '$( "')
    lexer = shlex.shlex(line, posix=True, punctuation_chars="()<>|&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        return list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        return line.split()


def _is_a_value(before: list[str]) -> bool:
    """Whether what follows is a user, a service or a file of that name."""
    return bool(before) and before[-1] in ("-U", "--username", "ROLE", "exec", "-d", "for", "install", "_source")


SENSEDICT = sorted(set(commands("sensedict")), key=str)


@pytest.mark.parametrize("command", [one for one in SENSEDICT if one.whole], ids=str)
def test_a_command_can_be_typed(command: Command) -> None:
    found, context, left = _parsed(cli, list(command.words[1:]))
    assert not isinstance(found, click.Group) or not left
    if "…" in command.words or {"-h", "--help", "--version"} & set(command.words):
        return
    for parameter in found.params:
        given = context.params.get(parameter.name or "")
        if parameter.required:
            assert given not in (None, ()), f"{parameter.name} is missing"
        for value in given if isinstance(given, list) else [given]:
            bounded = isinstance(parameter.type, click.Choice | click.IntRange | click.FloatRange)
            if bounded and isinstance(value, str) and not value.startswith("$"):
                parameter.type.convert(value, parameter, context)


def _parsed(command: click.Command, words: list[str], parent: click.Context | None = None) -> Any:
    """The last command, its context with what it was given, and words that are too many; click's own parser."""
    context = click.Context(command, parent, info_name=command.name)
    given, rest, _ = command.make_parser(context).parse_args([word for word in words if word != "…"])
    context.params = given
    if isinstance(command, click.Group) and rest:
        for name in rest[0].split("|"):
            found = command.get_command(context, name)
            assert found is not None, f"no command {name}"
        return _parsed(found, rest[1:], context)
    assert not rest or "…" in words, f"too much: {rest}"
    return command, context, rest


@pytest.mark.parametrize("command", [one for one in SENSEDICT if not one.whole], ids=str)
def test_a_command_of_a_sentence_exists(command: Command) -> None:
    here: click.Command = cli
    for word in command.words[1:]:
        if word.startswith("-"):
            names = {name for parameter in here.params for name in parameter.opts} | {"-h", "--help"}
            assert re.split(r"[=|]", word)[0] in names, f"no option {word}"
        elif isinstance(here, click.Group) and not word.isupper():
            context = click.Context(here)
            for name in word.split("|"):
                found = here.get_command(context, name)
                assert found is not None or any(isinstance(p, click.Option) for p in here.params), f"no command {name}"
            here = found or here


def test_there_are_commands() -> None:
    assert len([one for one in SENSEDICT if one.whole]) > 60
    assert len({one.words[1] for one in SENSEDICT if len(one.words) > 1}) > 20


@cache
def _operations() -> list[tuple[re.Pattern[str], str, set[str]]]:
    described = create_app(create_engine("postgresql+psycopg://"), Settings(home=ROOT)).openapi()
    return [
        (
            re.compile(re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(path))),
            method.upper(),
            {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"},
        )
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("command", sorted(set(commands("curl")), key=str), ids=str)
def test_a_request_has_a_route(command: Command) -> None:
    address = next(word for word in command.words if word.startswith("http"))
    words = " ".join(command.words)
    named = re.search(r"(?:-X|--request) (\w+)", words)
    method = named[1] if named else "POST" if "--json" in words else "GET"
    asked = urlsplit(address)
    if asked.path in ("/openapi.json", "/docs"):
        return
    routes = [known for path, verb, known in _operations() if verb == method and path.fullmatch(asked.path)]
    assert routes, f"no route {method} {asked.path}"
    assert set(parse_qs(asked.query)) <= set.union(*routes)


def test_make_targets_scripts_and_settings_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    everything = "\n".join(page.read_text("utf-8") for page in PAGES)
    targets = {one.words[1] for one in commands("make")} | set(re.findall(r"`make ([a-z-]+)", everything))
    assert len(targets) >= 8
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in {one.words[1] for one in commands("python")} | set(re.findall(r"`python (\S+\.py)", everything)):
        assert script.startswith("-") or (ROOT / script).is_file(), script
    demo = (ROOT / "examples/demo.sh").read_text("utf-8")
    for setting in set(re.findall(r"\bDEMO_[A-Z_]+", everything)):
        assert setting in demo
    code = "".join(path.read_text("utf-8") for part in ("client", "server") for path in (ROOT / part).rglob("*.py"))
    for setting in set(re.findall(r"\bSENSEDICT_(?:HOME|DATABASE_URL|POOL_SIZE|KEY)\b", everything)):
        assert setting in code


@pytest.mark.parametrize(("page", "block"), [*blocks("python", "py")])
def test_python_compiles_and_imports_what_there_is(page: str, block: str) -> None:
    for node in ast.walk(ast.parse(block, page)):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module} has no {name.name}"


@pytest.mark.parametrize(("page", "block"), [*blocks("toml", "json")])
def test_toml_and_json_can_be_read(page: str, block: str) -> None:
    if block.lstrip().startswith(("{", "[{")):
        json.loads(block)
    else:
        tomllib.loads(block)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; the site's own are checked when it is built."""
    text = FENCE.sub("", page.read_text("utf-8"))
    titles = [re.sub(r"[^\w\- ]", "", title.lower()) for title in re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)]
    return {title.strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:", target):
            place, _, anchor = target.partition("#")
            there = page.parent / place if place else page
            assert there.exists(), target
            assert not anchor or anchor in _anchors(there), target


def test_the_site_has_every_page() -> None:
    described = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", json.dumps(described["nav"])))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in SITE} <= listed


@pytest.mark.parametrize("page", SITE, ids=name_of)
def test_lists_and_tables_stand_apart(page: Path) -> None:
    """The site's Markdown, unlike GitHub's, takes a list or a table right under a sentence for a part of it."""
    kind = re.compile(r"([-*] |\d+\. )|(\|)")
    before = ""
    for line in FENCE.sub("", page.read_text("utf-8")).splitlines():
        here, above = kind.match(line), kind.match(before)
        goes_on = before.startswith("  ") or bool(above)
        assert not here or not before or goes_on, line
        before = line.rstrip()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_command_stands_in_a_block_that_is_run(page: Path) -> None:
    """What tests/docs/test_commands.py runs are blocks of four languages, fenced at the beginning of a line."""
    text = page.read_text("utf-8")
    assert not re.search(r"^ +```", text, re.MULTILINE)
    for language, block in FENCE.findall(text):
        if language not in ("sh", "console", "python", "sql"):
            assert language in ("", "text", "toml", "yaml", "json"), language
            assert not re.search(COMMAND, block, re.MULTILINE), block
