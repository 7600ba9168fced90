"""Relations of a word and walks from it, in a lexicon of a million relations, against the times that were asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common import Row
from database import databases
from sqlalchemy import Connection, Engine, text

from sensedict_server.queries.relations import Filter, page_of_relations, relations_by_id
from sensedict_server.queries.walks import shortest_path, walk

RELATIONS = 1_000_000
WORDS = 150_000
DRAWN = 1_000  # words, each as likely as it has relations
PAGE = 100
DEPTH = 3
MOST = 10_000  # words that a walk reaches
STEEPNESS = 2.2  # of the draw of words: the word of rank r has about r ** (1 / 2.2 - 1) of the relations of the first
COMMAND = "make bench-lexicon"

# Ends are drawn as in a thesaurus, a few words in thousands of relations; a tenth of the relations are directed.
_RELATIONS = """
INSERT INTO relations (lexicon_id, word_id, other_id, type, source_id, directed)
SELECT
    :lexicon,
    CASE WHEN directed THEN a ELSE least(a, b) END,
    CASE WHEN directed THEN b ELSE greatest(a, b) END,
    CASE WHEN directed THEN 'hypernym' WHEN kind < 0.2 THEN 'antonym' ELSE 'synonym' END,
    source,
    directed
FROM (
    SELECT
        :first + floor(:words * power(random(), :steepness))::bigint AS a,
        :first + floor(:words * power(random(), :steepness))::bigint AS b,
        :source + floor(4 * random())::bigint AS source,
        random() AS kind,
        random() < 0.1 AS directed
    FROM generate_series(1, :drawn)
) AS drawn
WHERE a <> b
ON CONFLICT DO NOTHING
"""


def rows() -> list[Row]:
    """The rows of one page and of one walk, as rates of their 99th percentile."""
    with databases() as fresh:
        engine = fresh()
        lexicon_id = make_lexicon(engine)
        with engine.connect() as connection:
            words = draw_words(connection, lexicon_id)
            everything = Filter()
            hop = _timed(
                "one-hop page",
                words,
                lambda word: page_of_relations(connection, lexicon_id, word, everything, after=0, limit=PAGE + 1),
            )
            steps = _timed("depth-3 walk", words, lambda word: _first_page(connection, lexicon_id, word, everything))
            _timed(
                "shortest path",
                list(range(len(words) - 1)),
                lambda i: shortest_path(
                    connection, lexicon_id, words[i], words[i + 1], everything, longest=12, most=MOST
                ),
            )
    return [
        Row("one-hop p99 vs 5 ms", 1 / hop, 1 / 0.005, "1/s", COMMAND),
        Row("depth-3 walk p99 vs 200 ms", 1 / steps, 1 / 0.2, "1/s", COMMAND),
    ]


def make_lexicon(engine: Engine) -> int:
    """Write and publish the lexicon, straight in SQL; gives its id. The same draws every time."""
    with engine.begin() as connection:

        def one(statement: str, **values: object) -> int:
            return int(connection.execute(text(statement), values).scalar_one())

        connection.execute(text("SELECT setseed(0.5)"))
        lexicon = one("INSERT INTO lexicons (name, version) VALUES ('made', '1') RETURNING id")
        first = one(
            "WITH made AS (INSERT INTO words (text) SELECT 'word' || n FROM generate_series(1, :words) n RETURNING id) "
            "SELECT min(id) FROM made",
            words=WORDS,
        )
        source = one(
            "WITH made AS (INSERT INTO relation_sources (lexicon_id, name, licence, version) "
            "SELECT :lexicon, 'source' || n, 'CC-BY-4.0', '1' FROM generate_series(1, 4) n RETURNING id) "
            "SELECT min(id) FROM made",
            lexicon=lexicon,
        )
        values = {"lexicon": lexicon, "first": first, "source": source, "words": WORDS, "steepness": STEEPNESS}
        # a few pairs are drawn twice
        connection.execute(text(_RELATIONS), {**values, "drawn": RELATIONS + RELATIONS // 1000})
        connection.execute(text("UPDATE lexicons SET state = 'published'"))
        connection.execute(text("ANALYZE words, relations"))  # as loading does
        degrees = connection.execute(
            text(
                "SELECT count(*) FROM (SELECT word_id AS id FROM relations UNION ALL SELECT other_id FROM relations) e "
                "GROUP BY id ORDER BY count(*) DESC LIMIT 3"
            )
        ).scalars()
        most = ", ".join(f"{degree:,}" for degree in degrees)
        print(f"{one('SELECT count(*) FROM relations'):,} relations; the first three words have {most}")
    return lexicon


def draw_words(connection: Connection, lexicon_id: int) -> list[int]:
    """Words drawn by degree: an end of a relation, each end as likely."""
    query = text(
        "SELECT word_id, other_id FROM relations WHERE lexicon_id = :lexicon AND id % :part = 0 "
        "ORDER BY id LIMIT :count"
    )
    values = {"lexicon": lexicon_id, "part": RELATIONS // DRAWN - 1, "count": DRAWN}
    ends = np.array([tuple(row) for row in connection.execute(query, values)])
    side = np.random.default_rng(0).integers(2, size=len(ends))
    return [int(word) for word in ends[np.arange(len(ends)), side]]


def _first_page(connection: Connection, lexicon_id: int, word: int, wanted: Filter) -> None:
    """What the service does for a page: the whole walk, then the page's relations."""
    walked = walk(connection, lexicon_id, word, wanted, depth=DEPTH, most=MOST)
    relations_by_id(connection, lexicon_id, [id for _, id in walked.after(0, 0, PAGE + 1)])


def _timed(what: str, asked: list[int], ask: Callable[[int], object]) -> float:
    """The 99th percentile, in seconds; the first tenth is asked once before, so that statements are prepared."""
    for item in asked[: len(asked) // 10]:
        ask(item)
    seconds = []
    for item in asked:
        begin = time.perf_counter()
        ask(item)
        seconds.append(time.perf_counter() - begin)
    middle, slow = np.percentile(seconds, (50, 99))
    told = ", ".join(
        f"{name} {value * 1000:.2f} ms" for name, value in (("p50", middle), ("p99", slow), ("max", max(seconds)))
    )
    print(f"{what} of {len(asked)}: {told}")
    return float(slow)


if __name__ == "__main__":
    from common import write

    write("lexicon_queries", rows())
