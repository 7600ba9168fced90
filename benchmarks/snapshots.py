"""Export and import of a made-up dictionary over real databases: bytes and rows a second.

`python benchmarks/snapshots.py [--tokens 20000] [--dim 576] [--k 10] [--relations 200000]`
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from database import made_draft
from sqlalchemy import Engine, insert, text, update

from sensedict.archive import Archive
from sensedict_server import embedded, files, schema
from sensedict_server.build.contents import Draft, TokenSenses, WordSenses
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.settings import Settings
from sensedict_server.snapshots.check import check
from sensedict_server.snapshots.importing import import_staged
from sensedict_server.snapshots.staging import receive, staging
from sensedict_server.tables import lexicons, relation_sources

T = TypeVar("T")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    for name, value in (("tokens", 20_000), ("dim", 576), ("k", 10), ("relations", 200_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="sensedict-bench-"))
    home.chmod(0o755)
    here, there = (Settings(home=home / name) for name in ("here", "there"))
    took: dict[str, float] = {}
    with opened(here) as engine, opened(there) as other:
        for one in (engine, other):
            schema.migrate(one)
        dictionary = _timed(took, "publish", lambda: publish(engine, here.files, _draft(engine, asked)))
        place = here.files / dictionary.ref
        _timed(took, "write the file set", lambda: _write_anew(engine, here, dictionary))
        with Archive(place, ()) as archive, open(home / "a.tar", "wb") as file:
            _timed(took, "export", lambda: [file.write(piece) for piece in archive.read()])
            size = archive.size
        with staging(there.files) as folder, open(home / "a.tar", "rb") as file:
            pieces = iter(lambda: file.read(2**20), b"")
            staged = _timed(took, "receive and hash", lambda: receive(pieces, folder))
            _timed(took, "check", lambda: check(staged))
            _timed(took, "import (check, load)", lambda: import_staged(other, there.files, staged, Because("b", "b")))
    for settings in (here, there):
        embedded.stop(settings.embedded)
    shutil.rmtree(home)
    senses = asked.tokens * asked.k
    rows = senses * 2 + asked.tokens + asked.relations * 2
    print(f"{size / 1e6:,.0f} MB, {senses:,} senses, about {rows:,} rows with contexts, words and relations")
    for what, seconds in took.items():
        print(f"{what:<24}{seconds:8.2f} s {size / 1e6 / seconds:10,.0f} MB/s {rows / seconds:12,.0f} rows/s")


def _timed(took: dict[str, float], what: str, work: Callable[[], T]) -> T:
    begun, used = time.perf_counter(), time.process_time()
    done = work()
    took[what] = time.perf_counter() - begun
    print(f"{what}: {time.process_time() - used:.2f} s of this process's CPU", file=sys.stderr)
    return done


def _write_anew(engine: Engine, settings: Settings, dictionary: Dictionary) -> Path:
    place = files.folder(settings.files, dictionary.ref)
    place.rename(place.with_name("before"))
    return files.ensure(engine, settings.files, dictionary)


def _draft(engine: Engine, asked: argparse.Namespace) -> Draft:
    """One word a token; each word in as many relations as there are to go round."""
    random = np.random.default_rng(1)
    with engine.begin() as connection:
        lexicon = connection.execute(
            insert(lexicons).values(name="made", version="1").returning(lexicons.c.id)
        ).scalar_one()
        values = {"lexicon_id": lexicon, "name": "made", "licence": "none", "version": "1"}
        source = connection.execute(
            insert(relation_sources).values(values).returning(relation_sources.c.id)
        ).scalar_one()
        connection.execute(
            text("INSERT INTO words (text) SELECT 'w' || i FROM generate_series(1, :n) i"), {"n": asked.tokens}
        )
        connection.execute(
            text(
                "INSERT INTO relations (lexicon_id, word_id, other_id, type, source_id) "
                "SELECT :l, least(a, b), greatest(a, b), CASE WHEN i % 4 = 0 THEN 'antonym' ELSE 'synonym' END, :s "
                "FROM (SELECT i, 1 + i % :n AS a, 1 + (i % :n + 1 + i / :n) % :n AS b "
                "FROM generate_series(0, :r - 1) i) t WHERE a <> b ON CONFLICT DO NOTHING"
            ),
            {"l": lexicon, "s": source, "n": asked.tokens, "r": asked.relations},
        )
        connection.execute(update(lexicons).where(lexicons.c.id == lexicon).values(state="published"))
    n = asked.tokens * asked.k
    tokens = TokenSenses(
        texts=[f" w{i + 1}" for i in range(asked.tokens)],
        occurrences=random.integers(0, 1000, asked.tokens),
        offsets=np.arange(asked.tokens + 1) * asked.k,
        vectors=random.standard_normal((n, asked.dim), dtype=np.float32).astype(np.float16),
        counts=np.tile(np.arange(asked.k, 0, -1), asked.tokens),
        inertia=random.random(n).astype(np.float32),
        contexts=[[(f"it was the sense {i} that stood here", 7, 16)] for i in range(n)],
    )
    words = WordSenses(
        word_ids=np.arange(1, asked.tokens + 1),
        token_ids=[(i,) for i in range(asked.tokens)],
        offsets=np.zeros(asked.tokens + 1, np.int64),
        vectors=np.empty((0, asked.dim), np.float16),
        reasons=[None] * asked.tokens,
    )
    return made_draft(lexicon, asked.k, tokens, words)


if __name__ == "__main__":
    main()
