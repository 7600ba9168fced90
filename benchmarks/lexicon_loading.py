"""Loading a lexicon of a million relations, against a bare COPY of its finished rows into the same table."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from common import Row
from database import databases
from psycopg import sql
from sqlalchemy import Connection, Engine, text

from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.sources import parse_source
from sensedict_server.database import driver

RELATIONS = 1_000_000
WORDS = 150_000
ROUNDS = 2
COMMAND = "make bench-lexicon"
# What the rows of `relations` refer to; the peer has it before its clock starts. A draft, since published ones refuse.
_BEFORE = {
    "words": "words",
    "lexicons": "(SELECT id, name, version, 'draft', settings, created_at FROM lexicons)",
    "relation_sources": "relation_sources",
}


def rows() -> list[Row]:
    """The row `load vs COPY`, in relations a second: reading, checking, words, rows and freezing against rows alone."""
    with tempfile.TemporaryDirectory() as folder, databases() as fresh:
        Path(folder).chmod(0o755)
        source = Path(folder) / "made.tsv"
        count = write_relations(source)
        ours, peer = [], []
        for _ in range(ROUNDS):
            loaded = fresh()
            ours.append(_seconds_of_load(loaded, source))
            peer.append(_seconds_of_copy(loaded, fresh(), Path(folder)))
    return [Row("load vs COPY", count / median(ours), count / median(peer), "relations/s", COMMAND)]


def write_relations(path: Path) -> int:
    """Write a typed list with words drawn as in a thesaurus, a few in very many relations; gives its length."""
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, WORDS + 1) ** 0.7
    ends = draw.choice(WORDS, (2, RELATIONS * 3 // 2), p=share / share.sum())
    ends = np.sort(ends[:, ends[0] != ends[1]], axis=0)
    pairs = np.unique(ends[0].astype(np.int64) * WORDS + ends[1])
    pairs = draw.permutation(pairs)[:RELATIONS]
    with path.open("w", encoding="utf-8") as file:
        for pair in pairs.tolist():
            word, other = divmod(pair, WORDS)
            file.write(f"word{word}\tword{other}\t{'antonym' if pair % 7 == 0 else 'synonym'}\n")
    return len(pairs)


def _seconds_of_load(engine: Engine, source: Path) -> float:
    begin = time.perf_counter()
    load_lexicon(engine, "made", "1", Recipe([parse_source(f"typed:{source}")]))
    return time.perf_counter() - begin


def _seconds_of_copy(loaded: Engine, empty: Engine, folder: Path) -> float:
    """Of COPY alone: its rows are bytes on the disk, and all that they refer to is there."""
    tables = {**_BEFORE, "relations": "relations"}
    files = {table: folder / f"{table}.copy" for table in tables}
    with loaded.connect() as connection, driver(connection) as own, own.cursor() as cursor:
        for table, file in files.items():
            with file.open("wb") as to, cursor.copy(_dump(tables[table])) as copy:
                for data in copy:
                    to.write(data)
    with empty.begin() as connection:
        for table in _BEFORE:
            _copy(connection, table, files[table])
        connection.execute(text("ANALYZE words"))
    begin = time.perf_counter()
    with empty.begin() as connection:
        _copy(connection, "relations", files["relations"])
    return time.perf_counter() - begin


def _dump(rows: str) -> sql.SQL:
    return sql.SQL("COPY " + rows + " TO STDOUT (FORMAT BINARY)")  # type: ignore[arg-type] # ours, from above


def _copy(connection: Connection, table: str, file: Path) -> None:
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table))
    with (
        driver(connection) as own,
        own.cursor() as cursor,
        file.open("rb") as data,
        cursor.copy(statement) as copy,
    ):
        while part := data.read(2**20):
            copy.write(part)
