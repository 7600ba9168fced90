"""`python benchmarks/replica.py TEACHER`: what a publish costs a streaming replica, and what a sense takes of the disk.

A primary and a replica, both on this machine. Senses are those of `search.py`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from common import Row, write
from database import databases
from search import publish_senses, senses_around
from sqlalchemy import Engine, text

from sensedict_server.database import opened
from sensedict_server.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from streaming_replica import replica

COMMAND = "python benchmarks/replica.py TEACHER"
SIZES = {576: 20_000, 4_096: 20_000}  # senses by D


def main() -> None:
    """Measure, print the table, write it to `out/replica.json`."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder, databases() as fresh:
        for dim, count in SIZES.items():
            engine, vectors = fresh(), senses_around(Path(sys.argv[1]), dim, count)
            with replica(engine.url) as url, opened(Settings(Path(folder), url)) as reading:
                before, started = _wal(engine), time.monotonic()
                publish_senses(engine, Path(folder) / str(dim), vectors)
                published = time.monotonic()
                while not _asked(reading, "SELECT count(*) FROM dictionaries WHERE state = 'published'"):
                    time.sleep(0.002)
                seen = time.monotonic()
                there = _asked(reading, "SELECT count(*) FROM senses")
                if there != count:
                    raise RuntimeError(f"the replica has {there} of {count} senses: a publish was seen in part")
                wal, table = _wal(engine) - before, _asked(engine, "SELECT pg_total_relation_size('senses')")
            rows += [
                Row(f"seen-{dim} after the publish vs publish", seen - published, published - started, "s", COMMAND),
                Row(f"wal-{dim} vs vectors", wal / count, 2 * dim, "bytes a sense", COMMAND),
                Row(f"table-{dim} vs vectors", table / count, 2 * dim, "bytes a sense", COMMAND),
            ]
    print(f"table: {write('replica', rows)}")


def _wal(engine: Engine) -> int:
    return _asked(engine, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")


def _asked(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


if __name__ == "__main__":
    main()
