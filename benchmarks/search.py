"""`python benchmarks/search.py TEACHER`: search over a whole dictionary, by its index and exactly.

Made senses with the spread of real ones: rows of the teacher's input embeddings, a token's senses around its row. For
D = 4,096 they are brought there by a random matrix, with a little noise in all dimensions. Queries are states near a
sense. One process serves and one asks. Peers are exact search of the same service, and the statement that pgvector's
documentation gives, sent by psycopg, with the same index and `hnsw.ef_search`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
from common import Row, alternate, write
from database import databases, made_draft
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from safetensors import safe_open
from serve_processes import service
from sqlalchemy import Engine, insert, text

from sensedict.client import SenseClient
from sensedict_server import search_index
from sensedict_server.build.contents import TokenSenses
from sensedict_server.build.publish import publish
from sensedict_server.database import conninfo
from sensedict_server.queries.dictionaries import Dictionary
from sensedict_server.queries.search import WIDEST_HALFVEC
from sensedict_server.tables import lexicons

COMMAND = "python benchmarks/search.py TEACHER"
SIZES = {576: 100_000, 4_096: 20_000}  # senses by D
OF_A_TOKEN = 10
P = 10
QUERIES, AT_ONCE = 512, 64
ROUNDS = 5
_EMBEDDINGS = "model.embed_tokens.weight"
_PLAIN = """
SELECT sense_id FROM senses WHERE dictionary_id = 1 ORDER BY (vector::halfvec({dim})) <-> %b::halfvec LIMIT {p}
"""
_RANKED = """
SELECT sense_id FROM (
    SELECT sense_id, vector FROM senses WHERE dictionary_id = 1
    ORDER BY (binary_quantize(vector)::bit({dim})) <~> binary_quantize(%b::halfvec)::bit({dim}) LIMIT {count}
) nearest ORDER BY vector <-> %b::halfvec LIMIT {p}
"""
Found = NDArray[np.integer]


def main() -> None:
    """Measure, print the table, write it to `out/search.json`."""
    rows: list[Row] = []
    for dim, senses in SIZES.items():
        with tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder, databases() as fresh:
            vectors = senses_around(Path(sys.argv[1]), dim, senses)
            engine, home = fresh(), Path(folder) / "home"
            with engine.begin() as connection:
                connection.execute(text("SELECT set_config('maintenance_work_mem', '1GB', false)"))
                name = connection.execute(text("SELECT current_database()")).scalar_one()
                connection.execute(text(f"ALTER DATABASE {name} SET maintenance_work_mem = '1GB'"))
            engine.dispose()
            dictionary = publish_senses(engine, home / "files", vectors)
            started = time.monotonic()
            search_index.make(engine, dictionary, lambda progress: None)
            _tell(engine, dictionary, time.monotonic() - started)
            with service(engine, home, Path(folder) / "log") as url:
                rows += _measured(engine, url, dim, _queries(vectors))
    print(f"table: {write('search', rows)}")


def _measured(engine: Engine, url: str, dim: int, queries: NDArray[np.float32]) -> list[Row]:
    with SenseClient(url, "made@1", timeout=300) as client, psycopg.connect(conninfo(engine), autocommit=True) as plain:
        register_vector(plain)
        plain.execute("SELECT set_config('hnsw.ef_search', '200', false)")

        def exact(size: int, count: int) -> Found:
            parts = [client.nearest_senses(queries[at : at + size], P).ids for at in range(0, count, size)]
            return np.concatenate(parts)

        def approximate(size: int, count: int) -> Found:
            steps = range(0, count, size)
            parts = [client.nearest_senses(queries[at : at + size], P, search="approximate").ids for at in steps]
            return np.concatenate(parts)

        def pgvector(count: int) -> Found:
            halves = [HalfVector(query) for query in queries[:count].astype(np.float16)]
            statement = (_PLAIN if dim <= WIDEST_HALFVEC else _RANKED).format(dim=dim, p=P, count=200)
            given = [[half] * statement.count("%b") for half in halves]
            return np.array([sense for half in given for (sense,) in plain.execute(statement, half).fetchall()])

        right = exact(AT_ONCE, QUERIES)
        ours, theirs = _recall(approximate(AT_ONCE, QUERIES), right), _recall(pgvector(QUERIES), right)
        made = [
            Row(f"search-{dim} recall@{P} vs exact", ours, 1.0, "share", COMMAND),
            Row(f"search-{dim} recall@{P} vs pgvector's statement", ours, theirs, "share", COMMAND),
        ]
        kinds: list[tuple[str, Callable[[], object], Callable[[], object], int]] = [
            ("vs exact, one a request", lambda: approximate(1, 8), lambda: exact(1, 8), 8),
            (f"vs exact, {AT_ONCE} a request", lambda: approximate(AT_ONCE, 64), lambda: exact(AT_ONCE, 64), 64),
            ("vs pgvector's statement, one a request", lambda: approximate(1, 64), lambda: pgvector(64), 64),
        ]
        for name, here, there, count in kinds:
            mine, other = alternate(here, there, ROUNDS)
            made.append(Row(f"search-{dim} {name}", count / mine, count / other, "queries/s", COMMAND))
    return made


def _recall(found: Found, right: Found) -> float:
    pairs = zip(found.reshape(-1, P), right.reshape(-1, P), strict=True)
    return float(np.mean([len(set(one) & set(other)) / P for one, other in pairs]))


def _tell(engine: Engine, dictionary: Dictionary, seconds: float) -> None:
    with engine.connect() as connection:
        size = "SELECT pg_relation_size('ix_senses_search_1'), pg_total_relation_size('senses')"
        index, table = connection.execute(text(size)).one()
    print(
        f"D = {dictionary.dim}: {dictionary.senses} senses, index made in {seconds:.0f} s, {index / 2**20:.0f} MiB of "
        f"{table / 2**20:.0f} MiB with the table",
        file=sys.stderr,
    )


def senses_around(teacher: Path, dim: int, count: int) -> NDArray[np.float16]:
    """(count, dim) senses, `OF_A_TOKEN` around each of so many rows of the embeddings."""
    random = np.random.default_rng(0)
    with safe_open(teacher / "model.safetensors", "pt") as weights:
        rows = weights.get_tensor(_EMBEDDINGS)[: 4 * count // OF_A_TOKEN].float().numpy()
    chosen = rows[random.choice(len(rows), count // OF_A_TOKEN, replace=False)]
    around = np.repeat(chosen, OF_A_TOKEN, axis=0)
    around += 0.7 * rows.std() * random.standard_normal(around.shape, np.float32)
    if dim != rows.shape[1]:
        lift = random.standard_normal((rows.shape[1], dim), np.float32) / np.float32(np.sqrt(rows.shape[1]))
        around = around @ lift
        around += 0.2 * around.std() * random.standard_normal(around.shape, np.float32)
    return around.astype(np.float16)


def _queries(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    """States near senses."""
    random = np.random.default_rng(1)
    near = vectors[random.choice(len(vectors), QUERIES)].astype(np.float32)
    near += 0.5 * near.std() * random.standard_normal(near.shape, np.float32)
    return near


def publish_senses(engine: Engine, files: Path, vectors: NDArray[np.float16]) -> Dictionary:
    n = len(vectors)
    with engine.begin() as connection:
        lexicon = connection.execute(
            insert(lexicons).values(name="made", version="1", state="published").returning(lexicons.c.id)
        ).scalar_one()
    tokens = TokenSenses(
        texts=[f" token{token}" for token in range(n // OF_A_TOKEN)],
        occurrences=np.full(n // OF_A_TOKEN, 100),
        offsets=np.arange(0, n + 1, OF_A_TOKEN),
        vectors=vectors,
        counts=100 - np.arange(n) % OF_A_TOKEN,
        inertia=np.ones(n, np.float32),
        contexts=[()] * n,
    )
    return publish(engine, files, made_draft(lexicon, OF_A_TOKEN, tokens))


if __name__ == "__main__":
    main()
