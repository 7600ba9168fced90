"""Composing the senses of words against loading them: storing with binary COPY, and reading back from PostgreSQL.

30,000 words of two or three tokens, k = 10, D = 576: the shape of the demo teacher. Vectors are random, with as much in
common as the demo teacher's hidden states have: a squared distance is about a squared length.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from common import Row
from database import databases
from sqlalchemy import Connection, Engine, insert

from sensedict_server import files
from sensedict_server.build import publish
from sensedict_server.build.contents import Draft, TokenSenses
from sensedict_server.build.copying import copy_rows
from sensedict_server.build.words import compose_listed
from sensedict_server.tables import dictionaries, lexicons, words

WORDS, VOCABULARY, K, D, SEED = 30_000, 20_000, 10, 576, 0
ROUNDS = 3
COMMAND = "make bench-lexicon"


class Drawn:
    """A tokenizer for words that are numbers: word i has the tokens that were drawn for it."""

    unk_token_id = None

    def __init__(self) -> None:
        random = np.random.default_rng(SEED)
        self.tokens = [random.integers(1, VOCABULARY, length).tolist() for length in random.integers(2, 4, WORDS)]

    def __call__(self, text: list[str], /, *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [self._ids(one) for one in text]}

    def _ids(self, text: str) -> list[int]:
        context, _, word = text.partition(" ")
        return [0, *(self.tokens[int(word)] if word else [])] if context == "a" else [0]


def rows() -> list[Row]:
    """The row `composition vs loading`: words a second composed, and loaded by the quicker of the two ways."""
    tokens, tokenizer = _token_senses(), Drawn()
    composing, storing, reading = [], [], []
    with databases() as fresh:
        engine = fresh()
        draft = _draft(tokens, tokenizer)
        _prepare(engine)
        for version in range(1, ROUNDS + 1):  # in turn, so that what else the machine does falls on all three
            composing.append(_rate(lambda: _draft(tokens, tokenizer)))
            once = _load(engine, replace(draft, version=str(version)))
            storing.append(once[0])
            reading.append(once[1])
    ours, stored, read = median(composing), median(storing), median(reading)
    print(f"composing {ours:,.0f}, storing {stored:,.0f}, reading back {read:,.0f} words/s")
    return [Row("composition vs loading", ours, max(stored, read), "words/s", COMMAND)]


def _token_senses() -> TokenSenses:
    """10 senses for each token, in clusters as senses are: the same for all plus the token's plus the sense's own."""
    random = np.random.default_rng(SEED)
    vectors = np.empty((VOCABULARY, K, D), dtype=np.float16)
    for token in range(VOCABULARY):
        vectors[token] = 1 + random.normal(size=D) + random.normal(size=(K, D))
    return TokenSenses(
        texts=[str(token) for token in range(VOCABULARY)],
        occurrences=np.ones(VOCABULARY, dtype=np.int64),
        offsets=np.arange(VOCABULARY + 1, dtype=np.int64) * K,
        vectors=vectors.reshape(-1, D),
        counts=np.ones(VOCABULARY * K, dtype=np.int64),
        inertia=np.zeros(VOCABULARY * K, dtype=np.float32),
        contexts=[[]] * (VOCABULARY * K),
    )


def _draft(tokens: TokenSenses, tokenizer: Drawn) -> Draft:
    """The words alone, composed: senses of tokens are not what is loaded here."""
    listed = [(number + 1, str(number)) for number in range(WORDS)]
    none = TokenSenses([], *(np.zeros(0, dtype=np.int64),) * 2, np.zeros((0, D), np.float16), *(np.zeros(0),) * 2, [])
    return Draft(
        name="benchmark",
        version="1",
        lexicon_id=1,
        teacher="none",
        teacher_hash="",
        tokenizer_hash="",
        state_point="final_norm",
        key_policy="next",
        k=K,
        tokens=replace(none, offsets=np.zeros(1, dtype=np.int64)),
        words=compose_listed(listed, tokenizer, tokens),
    )


def _prepare(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(lexicons).values(id=1, name="benchmark", version="1"))
        copy_rows(connection, words, {"id": "int8", "text": "text"}, ((n + 1, str(n)) for n in range(WORDS)))


def _load(engine: Engine, draft: Draft) -> tuple[float, float]:
    """Words a second stored by the COPY of `publish`, and read back as its file set is written."""
    with engine.begin() as connection:
        content = _content(connection, draft)
    with engine.begin() as connection:
        storing = _rate(lambda: publish._copy_senses(connection, content.dictionary_id, draft))
    with engine.connect() as connection:
        reading = _rate(lambda: files._vectors(connection, content))
    return storing, reading


def _content(connection: Connection, draft: Draft) -> files.Content:
    row = publish._row(draft)
    made = connection.execute(insert(dictionaries).values(row).returning(dictionaries.c.id)).scalar_one()
    return files.Content(made, draft.lexicon_id, row, "benchmark@1", {})


def _rate(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return WORDS / (time.perf_counter() - start)


if __name__ == "__main__":
    for row in rows():
        print(row)
