"""An embedded PostgreSQL for one benchmark, with as many migrated databases as it asks for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL

from sensedict_server import embedded, schema
from sensedict_server.build.contents import Draft, TokenSenses, WordSenses
from sensedict_server.database import opened
from sensedict_server.settings import Settings


@contextmanager
def databases() -> Iterator[Callable[[], Engine]]:
    """Gives a function that makes one more empty, migrated database; all of it is gone at the end."""
    home = Path(tempfile.mkdtemp(prefix="sensedict-bench-"))
    home.chmod(0o755)  # as root, the server runs as a system user
    with ExitStack() as stack:
        url = embedded.open_embedded(home / "postgres")
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.callback(embedded.stop, home / "postgres")
        made: list[str] = []

        def fresh() -> Engine:
            made.append(f"bench_{len(made)}")
            _execute(url.set(database="postgres"), f"CREATE DATABASE {made[-1]}")
            engine = stack.enter_context(opened(Settings(home=home, database_url=url.set(database=made[-1]))))
            schema.migrate(engine)
            return engine

        yield fresh


def made_draft(lexicon: int, k: int, tokens: TokenSenses, words: WordSenses | None = None) -> Draft:
    """`made@1` over that lexicon; without `words`, it has the senses of tokens alone."""
    none = WordSenses(np.empty(0, np.int64), [], np.zeros(1, np.int64), tokens.vectors[:0], [])
    return Draft(
        name="made",
        version="1",
        lexicon_id=lexicon,
        teacher="made",
        teacher_hash="a" * 64,
        tokenizer_hash="b" * 64,
        state_point="final_norm",
        key_policy="next",
        k=k,
        tokens=tokens,
        words=words or none,
        settings={"seed": 0},
    )


def _execute(url: URL, statement: str) -> None:
    maker = create_engine(url, isolation_level="AUTOCOMMIT")
    with maker.connect() as connection:
        connection.execute(text(statement))
    maker.dispose()
