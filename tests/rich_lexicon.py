"""A lexicon with all that a lexicon may hold, over the words of `tiny_dictionary`: the dictionary is `tiny@1` too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Table, insert, update

from sensedict_server.tables import (
    forms,
    glosses,
    judgements,
    lexicons,
    relation_glosses,
    relation_sources,
    relations,
    segmentations,
    words,
)
from tiny_dictionary import WORDS

SOURCES = {
    "thesaurus": ("CC-BY-4.0", "2"),
    "wiktionary": ("CC-BY-SA-4.0", "2025-01"),
    "morphemes": ("CC-BY-NC-4.0", "3"),
    "judgements": ("yours", "1"),
}
OTHER_WORDS = ("colder", "frostify", "sadden", "unhappy")  # of forms, glosses and segmentations alone

PLEASED = [("glad", "pleased with a thing"), ("happy", "full of joy")]
# (word, other, type, source), and what more there is of it; a parent is a place in this list
RELATIONS: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("unkind", "sad", "synonym", "thesaurus", {}),
    ("kind", "sad", "antonym", "thesaurus", {"rule": "negation:un-", "parent": 0, "via": "morphemes"}),
    ("happy", "glad", "synonym", "wiktionary", {"pos": "adjective", "glosses": PLEASED}),
    ("happy", "sad", "antonym", "wiktionary", {"pos": "adjective"}),
    ("ice cream", "cold", "hypernym", "wiktionary", {"pos": "noun", "directed": True}),
    ("cold", "frost", "hypernym", "wiktionary", {"pos": "noun", "directed": True}),
    ("frost", "up", "hypernym", "thesaurus", {"directed": True}),
    ("up", "ice cream", "hypernym", "thesaurus", {"directed": True}),  # round in a circle
    ("cold", "hot", "antonym", "judgements", {}),
    ("hot", "happy", "related", "thesaurus", {}),
    ("New York", "Paris", "synonym", "thesaurus", {}),  # no way leads there from the others
    ("cold", "frost", "synonym", "thesaurus", {}),  # beside the hypernym
    ("frosty", "frost", "related", "thesaurus", {}),
]
# Every word of a dictionary stands in a relation: those that the list leaves out stand beside New York.
ISLAND = [("New York", word, "related", "thesaurus") for word in WORDS]
FORMS = [
    ("colder", "cold", "adjective"),
    ("frosty", "frostify", "adjective"),  # the lemma is in no relation
    ("sad", "glad", "verb"),
]
GLOSSES = [
    ("cold", "noun", "lack of heat", "wiktionary"),
    ("cold", "adjective", "low in temperature", "wiktionary"),
    ("cold", None, "the opposite of hot", "thesaurus"),
]
SEGMENTATIONS = [("unkind", "<un<(kind)")]
REASON = "every child knows it"


def insert_rich_lexicon(engine: Engine) -> tuple[int, dict[str, int], list[int]]:
    """Store and publish it as `rich@1`; gives its id and those of the words of `WORDS` and of the listed relations."""
    with engine.begin() as connection:

        def add(table: Table, **values: Any) -> int:
            statement = insert(table).values(**values)
            if "id" not in table.c:
                connection.execute(statement)
                return 0
            return int(connection.execute(statement.returning(table.c.id)).scalar_one())

        judged = {"word": "cold", "other": "hot", "type": "antonym", "verdict": "add"}
        judgement = add(judgements, lexicon="rich", reason=REASON, author="Ada", **judged)
        settings = {"judgements": [{"id": judgement, **judged}]}
        lexicon = add(lexicons, name="rich", version="1", settings=settings)
        ids = {word: add(words, text=word) for word in (*WORDS, *OTHER_WORDS)}
        sources = {
            name: add(relation_sources, lexicon_id=lexicon, name=name, licence=licence, version=version)
            for name, (licence, version) in SOURCES.items()
        }
        for word, pos, text, source in GLOSSES:
            add(glosses, lexicon_id=lexicon, source_id=sources[source], word_id=ids[word], pos=pos, text=text)
        for form, lemma, pos in FORMS:
            add(
                forms,
                lexicon_id=lexicon,
                source_id=sources["wiktionary"],
                form_id=ids[form],
                lemma_id=ids[lemma],
                pos=pos,
            )
        for word, text in SEGMENTATIONS:
            add(
                segmentations,
                lexicon_id=lexicon,
                source_id=sources["morphemes"],
                word_id=ids[word],
                text=text,
                pos=["adjective"],
            )
        used = {end for word, other, *_ in RELATIONS for end in (word, other)}
        rows: list[int] = []
        for word, other, type_, source, more in [*RELATIONS, *((*row, {}) for row in ISLAND if row[1] not in used)]:
            ends = [ids[word], ids[other]]
            if not more.get("directed"):
                ends.sort()
            rows.append(
                add(
                    relations,
                    lexicon_id=lexicon,
                    word_id=ends[0],
                    other_id=ends[1],
                    type=type_,
                    source_id=sources[source],
                    rule=more.get("rule"),
                    parent_id=rows[more["parent"]] if "parent" in more else None,
                    directed=more.get("directed", False),
                    pos=more.get("pos"),
                    via_id=sources[more["via"]] if "via" in more else None,
                )
            )
            for word, text in more.get("glosses", []):
                of = {"source_id": sources[source], "word_id": ids[word], "pos": more["pos"]}
                gloss = add(glosses, lexicon_id=lexicon, text=text, **of)
                add(relation_glosses, lexicon_id=lexicon, relation_id=rows[-1], gloss_id=gloss)
        connection.execute(update(lexicons).where(lexicons.c.id == lexicon).values(state="published"))
    return lexicon, {word: ids[word] for word in WORDS}, rows
