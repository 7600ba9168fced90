"""The commands of the README and of docs/ exist: `sensedict …` with its options, `make …`, settings of the demo."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from sensedict.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
README = "\n".join(page.read_text("utf-8") for page in PAGES)


def commands() -> list[str]:
    """Every `sensedict` command line of the README, of docs/ and of the demo, whole."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    script = (ROOT / "examples/demo.sh").read_text("utf-8")
    lines = "\n".join([*blocks, script]).replace("\\\n", " ").splitlines()
    whole = re.compile(r"(?<!ROLE )(?<!-U )\bsensedict [^&|>)]*")  # it is the name of a user, too
    found = [re.sub(r"\s+#.*", "", part) for line in lines for part in whole.findall(line)]
    inline = re.findall(r"`(sensedict [^`]*)`", README)
    return [part for part in (*found, *inline) if not part.startswith("sensedict[")]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_exists(line: str) -> None:
    command: click.Command = cli
    words = iter(shlex.split(re.sub(r"\$\{[^}]*\}", "", line))[1:])
    for word in words:
        if word.startswith("-"):
            names = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help", "--version"}
            assert word.partition("=")[0] in names, f"{line}: no option {word}"
        elif isinstance(command, click.Group):
            before = command
            for name in word.split("|")[:-1]:  # publish|alias|delete
                assert command.get_command(click.Context(command), name), f"{line}: no command {name}"
            found = command.get_command(click.Context(command), word.split("|")[-1])
            if found is None:
                values = [parameter for parameter in before.params if isinstance(parameter, click.Option)]
                assert values, f"{line}: no command {word}"
                continue
            command = found


def test_there_are_commands() -> None:
    assert len(commands()) > 15


def test_make_targets_and_settings_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    written = re.findall(r"^make ([a-z-]+)", blocks, re.MULTILINE) + re.findall(r"`make ([a-z-]+)", README)
    assert len(written) >= 3
    for target in written:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    script = (ROOT / "examples/demo.sh").read_text("utf-8")
    for setting in set(re.findall(r"\bDEMO_[A-Z_]+", README)):
        assert setting in script
    code = "".join(path.read_text("utf-8") for path in (ROOT / "server").rglob("*.py"))
    for setting in set(re.findall(r"\bSENSEDICT_(?:HOME|DATABASE_URL|POOL_SIZE)\b", README)):
        assert setting in code


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
