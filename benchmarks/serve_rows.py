"""Vectors by way of PostgreSQL's rows: what the service would be without its file sets, for `getSenses` alone.

`POST /psycopg`: the driver's binary rows with pgvector's types; `POST /sqlalchemy`: pgvector through SQLAlchemy rows.
Both ask with one array of ids, and answer as the service does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ARRAY, BigInteger, Column, Connection, Integer, MetaData, Table, any_, bindparam, select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sensedict import arrays, wire
from sensedict_server.database import driver, engine
from sensedict_server.settings import Settings

_engine = engine(Settings.from_environment())
_dim = int(os.environ["SERVE_ROWS_DIM"])
_BINARY = "SELECT sense_id, vector FROM senses WHERE dictionary_id = 1 AND sense_id = ANY(%s::bigint[])"
_senses = Table(
    "senses",
    MetaData(),
    Column("dictionary_id", BigInteger),
    Column("sense_id", BigInteger),
    Column("ordinal", Integer),
    Column("vector", HALFVEC(_dim)),
)
_ROWS = select(_senses.c.sense_id, _senses.c.vector).where(
    _senses.c.dictionary_id == 1, _senses.c.sense_id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
)

Read = Callable[[Connection, list[int]], list[tuple[int, Any]]]


def _psycopg(connection: Connection, ids: list[int]) -> list[tuple[int, Any]]:
    with driver(connection) as own, own.cursor(binary=True) as cursor:
        return [(sense, vector) for sense, vector in cursor.execute(_BINARY, (ids,))]


def _sqlalchemy(connection: Connection, ids: list[int]) -> list[tuple[int, Any]]:
    return [(row.sense_id, row.vector) for row in connection.execute(_ROWS, {"ids": ids})]


def _answer(read: Read, body: bytes) -> bytes:
    """The vectors of the ids in a body, in their order."""
    ids: NDArray[np.uint32] = arrays.decode(body)[0]["ids"]
    with _engine.connect() as connection:
        rows = read(connection, ids.tolist())
    vectors = np.empty((len(ids), _dim), np.float16)
    places = {sense: place for place, sense in enumerate(ids.tolist())}
    for sense, vector in rows:
        vectors[places[sense]] = vector.to_numpy() if hasattr(vector, "to_numpy") else vector
    return arrays.encode({"vectors": vectors})


def _route(path: str, read: Read) -> Route:
    async def endpoint(request: Request) -> Response:
        content = await run_in_threadpool(_answer, read, await request.body())
        return Response(content, media_type=wire.SAFETENSORS)

    return Route(path, endpoint, methods=["POST"])


app = Starlette(routes=[_route("/psycopg", _psycopg), _route("/sqlalchemy", _sqlalchemy)])
