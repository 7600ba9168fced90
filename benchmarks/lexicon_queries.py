"""Relations of a word and walks from it, in a lexicon of a million relations, against the times that were asked for.

What is timed is all that the service does for an answer, from the word's text to the answer's JSON: the route's own
function, without HTTP around it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import Row
from database import databases
from pydantic import BaseModel
from sqlalchemy import Connection, Engine, text

from sensedict_server.catalogue import Catalogue
from sensedict_server.routes.relations import path, relations

RELATIONS = 1_000_000
WORDS = 150_000
DRAWN = 1_000  # words, each as likely as it has relations
DEPTH = 3
STEEPNESS = 2.2  # of the draw of words: the word of rank r has about r ** (1 / 2.2 - 1) of the relations of the first
COMMAND = "make bench-lexicon"

# Ends are drawn as in a thesaurus, a few words in thousands of relations; a tenth of the relations are directed.
_LISTED = """
INSERT INTO relations (lexicon_id, word_id, other_id, type, source_id, directed, pos)
SELECT
    :lexicon,
    CASE WHEN directed THEN a ELSE least(a, b) END,
    CASE WHEN directed THEN b ELSE greatest(a, b) END,
    CASE WHEN directed THEN 'hypernym' WHEN kind < 0.2 THEN 'antonym' ELSE 'synonym' END,
    source,
    directed,
    pos
FROM (
    SELECT
        :first + floor(:words * power(random(), :steepness))::bigint AS a,
        :first + floor(:words * power(random(), :steepness))::bigint AS b,
        :source + floor(4 * random())::bigint AS source,
        random() AS kind,
        random() < 0.1 AS directed,
        (ARRAY['noun', 'verb', 'adjective', 'adverb'])[1 + floor(4 * random())::int] AS pos
    FROM generate_series(1, :drawn)
) AS drawn
WHERE a <> b
ON CONFLICT DO NOTHING
"""
# The base of one side stands with the other side of a listed relation.
_DERIVED = """
INSERT INTO relations (lexicon_id, word_id, other_id, type, source_id, rule, parent_id, via_id, pos)
SELECT
    :lexicon,
    least(parent.word_id, base),
    greatest(parent.word_id, base),
    CASE WHEN parent.type = 'synonym' THEN 'antonym' ELSE 'synonym' END,
    parent.source_id,
    drawn.rule,
    parent.id,
    :via,
    parent.pos
FROM (
    SELECT
        :low + floor(:listed * random())::bigint AS parent_id,
        :first + floor(:words * power(random(), :steepness))::bigint AS base,
        (ARRAY['negation:un-', 'negation:dis-', 'negation:-less/-ful'])[1 + floor(3 * random())::int] AS rule
    FROM generate_series(1, :drawn)
) AS drawn
JOIN relations AS parent ON parent.id = drawn.parent_id
WHERE NOT parent.directed AND parent.word_id <> base
ON CONFLICT DO NOTHING
"""
# A third of the relations hang on a sense of the one word, a third of these on one of the other too.
_HUNG = """
SELECT lexicon_id, id, source_id, word_id, pos FROM relations WHERE lexicon_id = :lexicon AND id % 3 = 0
UNION ALL
SELECT lexicon_id, id, source_id, other_id, pos FROM relations WHERE lexicon_id = :lexicon AND id % 9 = 0
"""
_GLOSSES = f"""
INSERT INTO glosses (lexicon_id, source_id, word_id, pos, text)
SELECT DISTINCT lexicon_id, source_id, word_id, pos, pos || repeat(', as long as a definition is in a dictionary', 2)
FROM ({_HUNG}) AS hung
"""
_RELATION_GLOSSES = f"""
INSERT INTO relation_glosses (lexicon_id, relation_id, gloss_id)
SELECT hung.lexicon_id, hung.id, glosses.id
FROM ({_HUNG}) AS hung
JOIN glosses USING (lexicon_id, source_id, word_id, pos)
"""
# Words of one to three tokens; what senses they have is not asked for.
_DICTIONARY = """
INSERT INTO dictionaries (
    name, version, lexicon_id, teacher, teacher_hash, tokenizer_hash, vocabulary_size, dim, state_point, key_policy, k,
    settings, senses, tokens_with_senses, words_with_senses
)
VALUES ('made', '1', :lexicon, 'made', 'made', 'made', 50000, 8, 'final_norm', 'next', 10, '{}', 0, 0, 0)
RETURNING id
"""
_DICTIONARY_WORDS = """
INSERT INTO dictionary_words (dictionary_id, word_id, token_ids, first_sense, sense_count, reason)
SELECT :dictionary, id, array_fill((id % 50000)::int, ARRAY[1 + (id % 3)::int]), 0, 0, 'token without senses' FROM words
"""


def rows() -> list[Row]:
    """The rows of one page and of one walk, as rates of their 99th percentile."""
    with databases() as fresh, tempfile.TemporaryDirectory() as folder:
        engine = fresh()
        make_dictionary(engine, make_lexicon(engine))
        shared = Catalogue(engine, Path(folder))
        named = shared.resolve("made@1")
        with engine.connect() as connection:
            words = draw_words(connection, named.lexicon_id)

        def page(word: str, depth: int = 1) -> BaseModel:
            return relations(named, word, shared, None, depth=depth)

        hop = _timed("one-hop page", [(word,) for word in words], page)
        steps = _timed("depth-3 walk", [(word, DEPTH) for word in words], page)
        _timed("shortest path", list(pairwise(words)), lambda word, other: path(named, word, other, shared))
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
            "SELECT :lexicon, 'source' || n, 'CC-BY-4.0', '1' FROM generate_series(1, 5) n RETURNING id) "
            "SELECT min(id) FROM made",
            lexicon=lexicon,
        )
        values = {"lexicon": lexicon, "first": first, "source": source, "words": WORDS, "steepness": STEEPNESS}
        # a few pairs are drawn twice
        listed = RELATIONS * 9 // 10 + RELATIONS // 1000
        connection.execute(text(_LISTED), {**values, "drawn": listed})
        low = one("SELECT min(id) FROM relations")
        derived = RELATIONS // 10 * 10 // 9  # what is drawn of directed ones derives nothing
        connection.execute(
            text(_DERIVED), {**values, "drawn": derived, "low": low, "listed": listed, "via": source + 4}
        )
        connection.execute(text(_GLOSSES), values)
        connection.execute(text(_RELATION_GLOSSES), values)
        connection.execute(text("UPDATE lexicons SET state = 'published'"))
        connection.execute(text("ANALYZE words, relations, glosses, relation_glosses"))  # as loading does
        degrees = connection.execute(
            text(
                "SELECT count(*) FROM (SELECT word_id AS id FROM relations UNION ALL SELECT other_id FROM relations) e "
                "GROUP BY id ORDER BY count(*) DESC LIMIT 3"
            )
        ).scalars()
        most = ", ".join(f"{degree:,}" for degree in degrees)
        counts = (
            ("relations", "relations"),
            ("derived", "relations WHERE parent_id IS NOT NULL"),
            ("with glosses", "(SELECT DISTINCT relation_id FROM relation_glosses) AS hung"),
        )
        told = ", ".join(f"{one(f'SELECT count(*) FROM {table}'):,} {what}" for what, table in counts)
        print(f"{told}; the first three words have {most}")
    return lexicon


def make_dictionary(engine: Engine, lexicon_id: int) -> None:
    """Write and publish a dictionary of the lexicon's words, without senses."""
    with engine.begin() as connection:
        dictionary = connection.execute(text(_DICTIONARY), {"lexicon": lexicon_id}).scalar_one()
        connection.execute(text(_DICTIONARY_WORDS), {"dictionary": dictionary})
        connection.execute(text("UPDATE dictionaries SET state = 'published', content_hash = '', published_at = now()"))
        connection.execute(text("ANALYZE dictionary_words"))


def draw_words(connection: Connection, lexicon_id: int) -> list[str]:
    """Words drawn by degree: an end of a relation, each end as likely; a tenth with a capital, as a sentence begins."""
    query = text(
        "SELECT word.text, other.text FROM relations "
        "JOIN words AS word ON word.id = word_id JOIN words AS other ON other.id = other_id "
        "WHERE lexicon_id = :lexicon AND relations.id % :part = 0 ORDER BY relations.id LIMIT :count"
    )
    values = {"lexicon": lexicon_id, "part": RELATIONS // DRAWN - 1, "count": DRAWN}
    ends = connection.execute(query, values).all()
    sides = np.random.default_rng(0).integers(2, size=len(ends)).tolist()
    words = [str(end[side]) for end, side in zip(ends, sides, strict=True)]
    return [word.capitalize() if place % 10 == 0 else word for place, word in enumerate(words)]


def _timed(what: str, asked: Sequence[tuple[Any, ...]], ask: Callable[..., BaseModel]) -> float:
    """The 99th percentile, in seconds; the first tenth is asked once before, so that statements are prepared."""
    for item in asked[: len(asked) // 10]:
        ask(*item)
    seconds = []
    for item in asked:
        begin = time.perf_counter()
        ask(*item).model_dump_json()
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
