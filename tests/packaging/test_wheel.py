"""The wheel holds what is no Python too."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_explorers_files_are_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    folder = ROOT / "server/sensedict_server/explorer"
    with zipfile.ZipFile(wheel) as packed:
        for file in folder.iterdir():
            assert packed.read(f"sensedict_server/explorer/{file.name}") == file.read_bytes()
