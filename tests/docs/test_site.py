"""The docs site: it is built without a warning, loads nothing from elsewhere, and has all that is generated."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sensedict.cli import cli

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="the extra docs is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loading = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert not loading.findall(page.read_text("utf-8")), page.name


def test_formulas_are_mathml(site: Path) -> None:
    method = (site / "method.html").read_text("utf-8")
    formulas = re.findall(r"<math.*?</math>", method, re.DOTALL)
    assert len(formulas) > 20
    assert [formula for formula in formulas if "\\" in formula] == []  # a command that is not known stays as it is
    assert "$" not in re.sub(r"<(script|code)\b.*?</\1>", "", method, flags=re.DOTALL)


def test_every_command_is_told(site: Path) -> None:
    page = (site / "reference/commands.html").read_text("utf-8")

    def names(command: click.Command, before: str) -> list[str]:
        if not isinstance(command, click.Group):
            return [before]
        context = click.Context(command)
        return [
            name
            for child in command.list_commands(context)
            if (found := command.get_command(context, child)) is not None and not found.hidden
            for name in names(found, f"{before}-{child}")
        ]

    every = names(cli, "sensedict")
    assert len(every) > 40
    assert [name for name in every if f'id="{name}"' not in page] == []


def test_every_operation_is_told(site: Path) -> None:
    page = (site / "reference/http.html").read_text("utf-8")
    described = json.loads((site / "openapi.json").read_text("utf-8"))
    operations = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(operations) > 30
    assert [name for name in operations if f'id="{name}"' not in page] == []


def test_names_of_the_packages_are_told(site: Path) -> None:
    pages = {page: (site / f"reference/{page}.html").read_text("utf-8") for page in ("client", "trainer", "errors")}
    for page, name in (
        ("client", "sensedict.client.SenseClient"),
        ("client", "sensedict.questions.Questions.word"),
        ("client", "sensedict.client.open_dictionary"),
        ("trainer", "sensedict_trainer.distillation.Distillation.train"),
        ("trainer", "sensedict_trainer.distil.terms.sense.SenseLoss"),
        ("errors", "sensedict.errors.WordNotFound"),
    ):
        assert f'id="{name}"' in pages[page], name
