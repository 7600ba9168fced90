"""A lexicon and a dictionary for the analysts' views: the tiny ones, with a row for everything that a view shows.

`english@1` has the relations of `tiny_dictionary` (which stand in `base@1` too) and `EXTRA`; `mine@1` is a dictionary
over it. Beside them stand drafts, which no view shows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from sensedict_server.build.publish import publish
from sensedict_server.queries.dictionaries import Dictionary
from tiny_dictionary import insert_lexicon, make_draft

# (word, other, type, source, rule, parent's ends, directed, pos, gloss)
EXTRA = [
    # opposites has synonyms of hot, and none that thesaurus has
    ("hot", "big", "synonym", "opposites", None, None, False, "adjective", "of high temperature"),
    ("cold", "summer", "season", "thesaurus", None, None, True, "noun", None),
    # derived, and against an antonymy that is listed
    ("up", "down", "synonym", "opposites", "negation:un-+dis-,-less", ("unkind", "glad"), False, None, None),
    # both sources have it
    ("hot", "cold", "antonym", "thesaurus", None, None, False, None, None),
]
GLOSSES = [("hot", "of high temperature"), ("hot", "of much spice"), ("cold", "of low temperature")]


def make(engine: Engine, files_root: Path) -> Dictionary:
    """Store `base@1`, `english@1` and `mine@1`, and drafts of a lexicon and a dictionary."""
    _, ids = insert_lexicon(engine, "base", "1")
    with engine.begin() as connection:
        lexicon = _insert_english(connection)
        _insert_judgements(connection)
    mine = publish(engine, files_root, replace(make_draft(lexicon, ids), name="mine"))
    with engine.begin() as connection:
        _insert_drafts(connection)
    return mine


def _insert_english(connection: Connection) -> int:
    run = connection.execute
    lexicon = run(text("INSERT INTO lexicons (name, version) VALUES ('english', '1') RETURNING id")).scalar_one()
    run(
        text(
            "INSERT INTO relation_sources (lexicon_id, name, licence, version, skipped) "
            "SELECT :lexicon, name, licence, version, '{\"empty word\": 2}'::jsonb FROM relation_sources "
            "UNION ALL SELECT :lexicon, 'morphology', 'CC BY-NC-SA 4.0', '3', '{}'"
        ),
        {"lexicon": lexicon},
    )
    _insert_glosses_and_forms(connection, lexicon)
    run(
        text(
            "INSERT INTO relations (lexicon_id, word_id, other_id, type, source_id) "
            "SELECT :lexicon, r.word_id, r.other_id, r.type, t.id "
            "FROM relations r JOIN relation_sources s ON s.id = r.source_id "
            "JOIN relation_sources t ON t.lexicon_id = :lexicon AND t.name = s.name "
            "WHERE r.parent_id IS NULL ORDER BY r.id"
        ),
        {"lexicon": lexicon},
    )
    derived = [("kind", "glad", "synonym", "opposites", "negation:un-", ("unkind", "glad"), False, None, None)]
    for word, other, type_, source, rule, parent, directed, pos, gloss in derived + EXTRA:
        run(
            text(
                "INSERT INTO relations "
                "(lexicon_id, word_id, other_id, type, source_id, rule, parent_id, directed, pos, via_id) "
                "SELECT :lexicon, CASE WHEN :directed THEN a.id ELSE least(a.id, b.id) END, "
                "CASE WHEN :directed THEN b.id ELSE greatest(a.id, b.id) END, :type, s.id, CAST(:rule AS text), "
                "(SELECT r.id FROM relations r WHERE r.lexicon_id = :lexicon AND r.rule IS NULL "
                "AND (r.word_id, r.other_id) = (least(p.id, q.id), greatest(p.id, q.id))), :directed, :pos, "
                "(SELECT v.id FROM relation_sources v WHERE v.lexicon_id = :lexicon AND v.name = 'morphology' "
                "AND CAST(:rule AS text) IS NOT NULL) "
                "FROM words a JOIN words b ON b.text = :other "
                "JOIN relation_sources s ON s.lexicon_id = :lexicon AND s.name = :source "
                "LEFT JOIN words p ON p.text = :parent LEFT JOIN words q ON q.text = :parent_other "
                "WHERE a.text = :word"
            ),
            {
                "lexicon": lexicon,
                "word": word,
                "other": other,
                "type": type_,
                "source": source,
                "rule": rule,
                "directed": directed,
                "pos": pos,
                "parent": parent and parent[0],
                "parent_other": parent and parent[1],
            },
        )
        if gloss is not None:
            run(
                text(
                    "INSERT INTO relation_glosses (lexicon_id, relation_id, gloss_id) "
                    "SELECT g.lexicon_id, (SELECT max(r.id) FROM relations r), g.id FROM glosses g "
                    "JOIN words w ON w.id = g.word_id "
                    "WHERE g.lexicon_id = :lexicon AND w.text = :word AND g.text = :gloss"
                ),
                {"lexicon": lexicon, "word": word, "gloss": gloss},
            )
    run(
        text(
            "UPDATE relations r SET conflict = true FROM relations q WHERE r.lexicon_id = :lexicon "
            "AND (q.lexicon_id, q.word_id, q.other_id) = (r.lexicon_id, r.word_id, r.other_id) "
            "AND (r.type, q.type) IN (('synonym', 'antonym'), ('antonym', 'synonym'))"
        ),
        {"lexicon": lexicon},
    )
    run(text("UPDATE lexicons SET state = 'published' WHERE id = :lexicon"), {"lexicon": lexicon})
    return int(lexicon)


def _insert_glosses_and_forms(connection: Connection, lexicon: int) -> None:
    of_source = "FROM words w, relation_sources s WHERE s.lexicon_id = :lexicon AND s.name = :source AND w.text = :word"
    for word, gloss in GLOSSES:
        connection.execute(
            text(
                "INSERT INTO glosses (lexicon_id, source_id, word_id, pos, text) "
                f"SELECT :lexicon, s.id, w.id, 'adjective', :gloss {of_source}"
            ),
            {"lexicon": lexicon, "source": "thesaurus", "word": word, "gloss": gloss},
        )
    connection.execute(text("INSERT INTO words (text) VALUES ('colder')"))
    connection.execute(
        text(
            "INSERT INTO forms (lexicon_id, form_id, lemma_id, source_id) SELECT :lexicon, f.id, w.id, s.id "
            f"{of_source.replace('FROM', 'FROM words f,')} AND f.text = 'colder'"
        ),
        {"lexicon": lexicon, "source": "thesaurus", "word": "cold"},
    )
    connection.execute(
        text(
            "INSERT INTO segmentations (lexicon_id, source_id, word_id, text, pos) "
            f"SELECT :lexicon, s.id, w.id, '<un<(kind)', '{{}}' {of_source}"
        ),
        {"lexicon": lexicon, "source": "morphology", "word": "unkind"},
    )


def _insert_judgements(connection: Connection) -> None:
    for lexicon, verdict, withdrawn in (("english", "reject", None), ("draft", "add", None)):
        connection.execute(
            text(
                "INSERT INTO judgements (lexicon, verdict, word, other, type, reason, author, withdrawn_at) "
                "VALUES (:lexicon, :verdict, 'hot', 'spicy', 'synonym', 'of food alone', 'ana', :withdrawn)"
            ),
            {"lexicon": lexicon, "verdict": verdict, "withdrawn": withdrawn},
        )


def _insert_drafts(connection: Connection) -> None:
    """`draft@1`: a lexicon with everything that english@1 has, and a dictionary with a token, a word and a sense."""
    run = connection.execute
    run(text("INSERT INTO lexicons (name, version) VALUES ('draft', '1')"))
    of_draft = "FROM lexicons l WHERE l.name = 'draft'"
    run(text(f"INSERT INTO relation_sources (lexicon_id, name, licence, version) SELECT id, 's', 'l', '1' {of_draft}"))
    of_draft = "FROM lexicons l JOIN relation_sources s ON s.lexicon_id = l.id, words a, words b WHERE l.name = 'draft'"
    ends = f"{of_draft} AND a.text = 'hot' AND b.text = 'cold'"
    for columns in ("'synonym', true", "'antonym', true"):
        run(
            text(
                "INSERT INTO relations (lexicon_id, word_id, other_id, source_id, type, conflict) "
                f"SELECT l.id, least(a.id, b.id), greatest(a.id, b.id), s.id, {columns} {ends}"
            )
        )
    run(
        text(
            "INSERT INTO relations (lexicon_id, word_id, other_id, source_id, type, rule, parent_id) SELECT l.id, "
            f"least(a.id, b.id), greatest(a.id, b.id), s.id, 'synonym', 'r:x', (SELECT max(id) FROM relations) {ends}"
        )
    )
    run(text(f"INSERT INTO glosses (lexicon_id, source_id, word_id, text) SELECT l.id, s.id, a.id, 'draft' {ends}"))
    run(text(f"INSERT INTO forms (lexicon_id, form_id, lemma_id, source_id) SELECT l.id, a.id, b.id, s.id {ends}"))
    columns = (
        "teacher, teacher_hash, tokenizer_hash, vocabulary_size, dim, state_point, key_policy, k, settings, senses, "
    )
    columns += "tokens_with_senses, words_with_senses"
    run(
        text(
            f"INSERT INTO dictionaries (name, version, lexicon_id, {columns}) "
            f"SELECT 'draft', '1', lexicon_id, {columns} FROM dictionaries WHERE name = 'mine'"
        )
    )
    draft = "(SELECT id FROM dictionaries WHERE name = 'draft')"
    run(text(f"INSERT INTO tokens SELECT {draft}, 1, ' hot', 5, 0, 1 FROM lexicons LIMIT 1"))
    run(text(f"INSERT INTO dictionary_words SELECT {draft}, id, '{{1}}', 0, 1 FROM words WHERE text = 'hot'"))
    run(text(f"INSERT INTO senses SELECT {draft}, 0, 1, NULL, 0, 5, 1, vector FROM senses LIMIT 1"))
