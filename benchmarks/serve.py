"""`make bench-serve`: bulk answers against what uvicorn gives at best, and against PostgreSQL's rows.

One process serves and one asks, on one machine. What is compared is timed in turns. An answer is all of a batch:
candidate sets of its distinct tokens, or the vectors of the senses that a client with an empty cache lacks, in as many
requests as the limits make of them. `bare` is the faster of two applications that send ready bytes of the same sizes
under uvicorn as `pip install uvicorn` has it, with a line of its log for each request, as the service writes one;
`bare silent` writes none, and `bare standard` has the parser and the event loop of `uvicorn[standard]` as well, which
the service has too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import serve_dictionary
import torch
from common import Row, alternate, write
from database import databases
from numpy.typing import NDArray
from serve_asking import Load, post
from serve_dictionary import Batch
from serve_processes import PLAIN, application, environment, processor_seconds, service
from sqlalchemy import Engine

from sensedict import arrays
from sensedict.client import SenseClient
from sensedict.snapshot import Snapshot
from sensedict.wire import JSON, SAFETENSORS, Limits

COMMAND = "make bench-serve"
ROUNDS = 15
SHORT, SHORT_ROUNDS = 20, 75  # answers a turn, and turns: others on the machine disturb few of many short ones
NEAREST = 5
_PATH = "/v1/dictionaries/made@1"
Asking = Callable[[int], object]


def main() -> None:
    """Measure, print the table, write it to `out/serve.json`."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder, databases() as fresh:
        place = Path(folder)
        log = place / "log"
        with (
            application("serve_bare:app", log, how=PLAIN, logs=True) as bare,
            application("serve_bare:app", log, how=PLAIN) as silent,
            application("serve_bare:app", log) as standard,
        ):
            for dim in (576, 4096):
                engine, home = fresh(), place / str(dim)
                file_set = serve_dictionary.make(engine, home / "files", dim)
                batch = serve_dictionary.batch(file_set)
                _tell(dim, batch)
                with service(engine, home, log) as url:
                    for kind in ("candidates", "vectors") if dim == 576 else ("vectors",):
                        rows += _against_bare(kind, dim, batch, url, bare, "bare")
                        rows += _against_bare(kind, dim, batch, url, silent, "bare silent")
                        rows += _against_bare(kind, dim, batch, url, standard, "bare standard")
                    rows += _whole_client(dim, batch, url, silent)
                    if dim == 576:
                        rows += _json(batch, url)
                        rows += _nearest(file_set, url)
                        rows += _against_rows(batch, url, engine, home, log)
    print(f"table: {write('serve', rows)}")


def _tell(dim: int, batch: Batch) -> None:
    print(
        f"D = {dim}: {len(batch.tokens)} distinct tokens, {batch.related:.1%} of the positions with relations, "
        f"{len(batch.ids)} senses lacking, {len(batch.ids) * dim * 2 / 2**20:.1f} MiB of vectors",
        file=sys.stderr,
    )


def _candidates(batch: Batch, media: str = SAFETENSORS) -> list[bytes]:
    body = arrays.encode({"tokens": batch.tokens})
    return [post(f"{_PATH}:candidateSets", body, SAFETENSORS, media)]


def _senses(batch: Batch, path: str = f"{_PATH}:getSenses", media: str = SAFETENSORS) -> list[bytes]:
    limit = Limits().max_items
    parts = [batch.ids[start : start + limit] for start in range(0, len(batch.ids), limit)]
    return [post(path, arrays.encode({"ids": part}), SAFETENSORS, media) for part in parts]


def _against_bare(kind: str, dim: int, batch: Batch, url: str, bare: str, called: str) -> list[Row]:
    if kind == "candidates":
        requests, answers, rounds = _candidates(batch), SHORT, SHORT_ROUNDS
    else:
        requests, answers, rounds = _senses(batch), 4 if dim < 1000 else 1, ROUNDS
    with closing(Load(url, requests)) as ours:
        peers = _bare(bare, requests, ours.sizes())
        found = [_row(f"{kind}-{dim} vs {called}", ours, peer, answers, rounds) for peer in peers]
        rows = [min(found, key=lambda row: row.ratio)]
        if kind == "candidates":
            rows.append(_processor_time(f"{kind}-{dim} processor time vs {called}", ours, bare, requests))
    return rows


def _processor_time(name: str, ours: Load, bare: str, requests: list[bytes]) -> Row:
    """Answers a second of the servers' own processor time: what others do on the machine blurs it less."""
    peer = _bare(bare, requests, ours.sizes())[0]
    here, there = alternate(lambda: ours(SHORT), lambda: peer(SHORT), SHORT_ROUNDS, processor_seconds)
    return Row(name, SHORT / here, SHORT / there, "answers/s", COMMAND)


def _whole_client(dim: int, batch: Batch, url: str, bare: str) -> list[Row]:
    """From arrays to tensors by `SenseClient`, against httpx, its transport, with ready bytes."""
    rows = []
    with SenseClient(url, "made@1") as client, httpx.Client(base_url=bare) as plain:

        def vectors(answers: int) -> None:
            for _ in range(answers):
                torch.from_numpy(client.get_senses(batch.ids))

        def candidates(answers: int) -> None:
            for _ in range(answers):
                torch.from_numpy(client.candidate_sets(batch.tokens).synonyms.first)

        kinds: list[tuple[str, Asking, list[bytes], int]] = [("vectors", vectors, _senses(batch), 1)]
        if dim == 576:
            kinds.insert(0, ("candidates", candidates, _candidates(batch), 50))
        for kind, ask, requests, answers in kinds:
            with closing(Load(url, requests)) as load:
                sent = [
                    (f"/pieces/{size}", _body(request)) for size, request in zip(load.sizes(), requests, strict=True)
                ]

            def peer(answers: int, sent: list[tuple[str, bytes]] = sent) -> None:
                for _ in range(answers):
                    for path, body in sent:
                        plain.post(path, content=body, headers={"accept-encoding": "identity"}).raise_for_status()

            rows.append(_row(f"{kind}-{dim} client vs httpx bare", ask, peer, answers))
    return rows


def _json(batch: Batch, url: str) -> list[Row]:
    kinds = [
        ("candidates", _candidates(batch, JSON), _candidates(batch), 10),
        ("vectors", _senses(batch, media=JSON), _senses(batch), 1),
    ]
    rows = []
    for kind, as_json, as_tensors, answers in kinds:
        with closing(Load(url, as_json)) as ours, closing(Load(url, as_tensors)) as peer:
            rows.append(_row(f"{kind}-576 json vs safetensors", ours, peer, answers, rounds=5))
    return rows


def _nearest(file_set: Path, url: str) -> list[Row]:
    """Positions a second, in this process and through the service, against float32 scores and their p smallest."""
    with Snapshot.open(file_set) as senses:
        owners = serve_dictionary.targets()
        queries = serve_dictionary.states(senses, owners)
        body = arrays.encode({"vectors": queries, "tokens": owners}, {"p": str(NEAREST)})

        def ours(times: int) -> None:
            for _ in range(times):
                senses.nearest_senses(queries, NEAREST, owners)

        def peer(times: int) -> None:
            for _ in range(times):
                _scores(senses, queries, owners)

        here, bound = alternate(lambda: ours(1), lambda: peer(1), ROUNDS)
        with closing(Load(url, [post(f"{_PATH}:nearestSenses", body, SAFETENSORS, SAFETENSORS)])) as load:
            served, bound_then = alternate(lambda: load(1), lambda: peer(1), ROUNDS)
    n = len(owners)
    return [
        Row("nearest-576 vs numpy", n / here, n / bound, "positions/s", COMMAND),
        Row("nearest-576 served vs numpy", n / served, n / bound_then, "positions/s", COMMAND),
    ]


def _scores(senses: Snapshot, queries: NDArray[np.float32], owners: NDArray[np.uint32]) -> None:
    """A float32 matrix product an owner, and a partition of its scores: no exact answer can be quicker."""
    first, count = senses.candidates.owners(owners)
    order = np.argsort(first, kind="stable")
    order = order[count[order] > 0]
    for rows in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
        low = int(first[rows[0]])
        held = senses.vectors[low : low + int(count[rows[0]])].astype(np.float32)
        scores = (held * held).sum(axis=1) - 2 * (queries[rows] @ held.T)
        np.argpartition(scores, min(NEAREST, len(held)) - 1, axis=1)


def _against_rows(batch: Batch, url: str, engine: Engine, home: Path, log: Path) -> list[Row]:
    rows = []
    settings = {**environment(engine, home), "SERVE_ROWS_DIM": "576"}
    with application("serve_rows:app", log, settings) as through_rows, closing(Load(url, _senses(batch))) as ours:
        for peer, name in (("psycopg", "psycopg rows"), ("sqlalchemy", "pgvector-sqlalchemy")):
            with closing(Load(through_rows, _senses(batch, f"/{peer}"))) as load:
                if load.sizes() != ours.sizes():
                    raise RuntimeError(f"{name} answers something else")
                rows.append(_row(f"vectors-576 vs {name}", ours, load, 1, rounds=5))
    return rows


def _bare(url: str, requests: list[bytes], sizes: list[int]) -> list[Load]:
    """Both ways of sending ready bytes, in answer to the same bodies."""
    asked = list(zip(sizes, map(_body, requests), strict=True))
    return [
        Load(url, [post(f"/{how}/{size}", body, SAFETENSORS, SAFETENSORS) for size, body in asked])
        for how in ("whole", "pieces")
    ]


def _body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def _row(name: str, ours: Asking, peer: Asking, answers: int, rounds: int = ROUNDS) -> Row:
    ours(1), peer(1)
    here, there = alternate(lambda: ours(answers), lambda: peer(answers), rounds)
    row = Row(name, answers / here, answers / there, "answers/s", COMMAND)
    print(json.dumps({"row": row.row, "ours": row.ours, "peer": row.peer, "ratio": row.ratio}), file=sys.stderr)
    return row


if __name__ == "__main__":
    main()
