"""The Python of the README and of docs/client.md runs, against a service and a file set of another dictionary."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Published
from running_service import Service

ROOT = Path(__file__).resolve().parents[2]


def blocks() -> list[str]:
    """The Python blocks of both pages."""
    pages = [(ROOT / page).read_text("utf-8") for page in ("README.md", "docs/client.md")]
    return [block for page in pages for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("block", blocks(), ids=range(len(blocks())))
def test_an_example_runs(block: str, service: Service, published: Published, tmp_path: Path) -> None:
    here = {
        "http://127.0.0.1:8000": service.url,
        "files/smollm2-demo@1": str(published.folder),
        "smollm2-demo": "tiny",
        "light": "hot",
        "dark": "cold",
        "[1420, 2391]": "[1, 2]",
    }
    for written, meant in here.items():
        block = block.replace(written, meant)
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "print" not in block


def test_a_words_senses_take_five_lines() -> None:
    first = next(block for block in blocks() if ".word(" in block)
    assert len([line for line in first.splitlines() if line]) <= 5
