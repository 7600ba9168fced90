"""Writes a tiny teacher, text and a plan `tiny` into the folder of the first argument, for `run.sh`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script: pytest's settings do not hold here

from tiny_teacher import corpus, save_tiny_teacher

PLAN = """
[tiny]
teacher = "/plans/teacher"
corpus = ["/plans/text.txt"]
lexicon = "rich@1"
name = "built"
version = "1"
k = 2
threads = 1
store = "/var/lib/sensedict/builds/tiny"
"""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    save_tiny_teacher(folder / "teacher", layers=2, dim=16)
    (folder / "text.txt").write_text("\n".join(corpus(100)))
    (folder / "plans.toml").write_text(PLAN)
