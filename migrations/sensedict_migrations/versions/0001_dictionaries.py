"""Lexicons, dictionaries, what keeps published ones as they are, and the analysts' views."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Tables whose rows belong to a version, and the column that names it.
OF_DICTIONARY = ("tokens", "dictionary_words", "senses", "contexts")
OF_LEXICON = ("relation_sources", "relations")

# A refusal looks at all changed rows of a statement at once: a bulk load pays for one look, not one a row.
REFUSE_PARTS = """
CREATE FUNCTION refuse_change_of_published_{owner}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    published text;
BEGIN
    SELECT o.name || '@' || o.version INTO published FROM {owners} o
    WHERE o.state = 'published' AND o.id IN (SELECT changed.{owner}_id FROM changed) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '{owner} % is published and never changes: publish a new version', published
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
"""
REFUSE_TRUNCATE = """
CREATE FUNCTION refuse_truncate_of_published_{owner}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM {owners} WHERE state = 'published') THEN
        RAISE EXCEPTION 'table % holds rows of a published {owner}, which never changes', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$
"""
REFUSE_ROW = """
CREATE FUNCTION refuse_change_of_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is published and never changes: publish a new version', OLD.name || '@' || OLD.version
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$
"""
REFUSE_WORD = """
CREATE FUNCTION refuse_change_of_word() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'word % never changes, published lexicons name it: add another word', OLD.text
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$
"""

VIEWS = {
    "words": (
        "Words of published dictionaries, with their tokens and the number of their senses",
        """
        SELECT d.name AS dictionary, d.version, w.id AS word_id, w.text AS word, w.language, dw.token_ids,
               cardinality(dw.token_ids) AS token_count, dw.first_sense, dw.sense_count,
               cardinality(dw.token_ids) > 1 AND dw.sense_count > 0 AS composed, dw.reason
        FROM dictionary_words dw
        JOIN dictionaries d ON d.id = dw.dictionary_id AND d.state = 'published'
        JOIN words w ON w.id = dw.word_id
        """,
    ),
    "relations": (
        "Relations of published lexicons, each once, with both words, source and licence",
        """
        SELECT l.name AS lexicon, l.version, r.id AS relation_id, r.word_id, a.text AS word, r.other_id,
               b.text AS other, r.type, s.name AS source, s.licence, s.version AS source_version, r.rule, r.parent_id,
               r.conflict
        FROM relations r
        JOIN lexicons l ON l.id = r.lexicon_id AND l.state = 'published'
        JOIN relation_sources s ON s.id = r.source_id
        JOIN words a ON a.id = r.word_id
        JOIN words b ON b.id = r.other_id
        """,
    ),
    "senses": (
        "Senses of published dictionaries with their owner, the token or the composed word",
        """
        SELECT d.name AS dictionary, d.version, s.sense_id, CASE WHEN s.word_id IS NULL THEN 'token' ELSE 'word' END
               AS owner, s.token_id, s.word_id, coalesce(w.text, t.text) AS text, s.ordinal, s.count, s.inertia,
               s.vector
        FROM senses s
        JOIN dictionaries d ON d.id = s.dictionary_id AND d.state = 'published'
        LEFT JOIN tokens t ON t.dictionary_id = s.dictionary_id AND t.token_id = s.token_id
        LEFT JOIN words w ON w.id = s.word_id
        """,
    ),
    "derivations": (
        "Derived relations of published lexicons beside what they come from",
        """
        SELECT r.lexicon, r.version, r.relation_id, r.word, r.other, r.type, r.source, r.rule,
               p.relation_id AS parent_id, p.word AS parent_word, p.other AS parent_other, p.type AS parent_type
        FROM analytics.relations r
        JOIN analytics.relations p ON p.relation_id = r.parent_id
        """,
    ),
    # Two halves, not one join with a table of two rows: a condition on the word reaches the tables.
    "word_relations": (
        "Relations of published lexicons seen from each of their words, so each twice: for counting by word",
        """
        SELECT lexicon || '@' || version AS lexicon, word, other, type, source, licence, rule, conflict
        FROM analytics.relations
        UNION ALL
        SELECT lexicon || '@' || version, other, word, type, source, licence, rule, conflict
        FROM analytics.relations
        """,
    ),
}


def upgrade() -> None:
    """Make the tables, the triggers and the views."""
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    _create_lexicon_tables()
    _create_dictionary_tables()
    _create_sense_tables()
    _create_triggers()
    op.execute("CREATE SCHEMA analytics")
    for name, (comment, select) in VIEWS.items():
        op.execute(f"CREATE VIEW analytics.{name} AS {select}")
        op.execute(f"COMMENT ON VIEW analytics.{name} IS '{comment}'")


def downgrade() -> None:
    """Remove all of it; the extension stays, others may use it."""
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW analytics.{name}")
    op.execute("DROP SCHEMA analytics")
    for table in ("contexts", "senses", "dictionary_words", "tokens", "aliases", "dictionaries"):
        op.drop_table(table)
    for table in ("relations", "relation_sources", "lexicons", "words"):
        op.drop_table(table)
    for owner in ("dictionary", "lexicon"):
        op.execute(f"DROP FUNCTION refuse_change_of_published_{owner}")
        op.execute(f"DROP FUNCTION refuse_truncate_of_published_{owner}")
    op.execute("DROP FUNCTION refuse_change_of_published")
    op.execute("DROP FUNCTION refuse_change_of_word")


def _create_lexicon_tables() -> None:
    op.create_table(
        "words",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("language", sa.Text, server_default="en", nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_words"),
        sa.UniqueConstraint("language", "text", name="uq_words_language_text"),
        comment="Every word that stands in a relation, of any lexicon",
    )
    op.create_index("ix_words_folded", "words", [sa.text("lower(text)")])
    op.create_table(
        "lexicons",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("state", sa.Text, server_default="draft", nullable=False),
        sa.Column("settings", JSONB, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lexicons"),
        sa.UniqueConstraint("name", "version", name="uq_lexicons_name_version"),
        sa.CheckConstraint("state IN ('draft', 'published')", name="ck_lexicons_state"),
        comment="Versions of a set of relations; published never changes",
    )
    op.create_table(
        "relation_sources",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("licence", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("skipped", JSONB, server_default=sa.text("'{}'"), nullable=False, comment="reason to count"),
        sa.PrimaryKeyConstraint("id", name="pk_relation_sources"),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_relation_sources_lexicon_id"),
        sa.UniqueConstraint("lexicon_id", "name", name="uq_relation_sources_lexicon_id_name"),
        comment="Where relations come from, and under which licence",
    )
    op.create_table(
        "relations",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("word_id", sa.BigInteger, nullable=False),
        sa.Column("other_id", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("source_id", sa.BigInteger, nullable=False),
        sa.Column("rule", sa.Text, comment="how a derived relation was derived"),
        sa.Column("parent_id", sa.BigInteger, comment="what a derived relation comes from"),
        sa.Column(
            "conflict",
            sa.Boolean,
            server_default=sa.text("false"),
            nullable=False,
            comment="both synonym and antonym",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_relations"),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_relations_lexicon_id"),
        sa.ForeignKeyConstraint(["word_id"], ["words.id"], name="fk_relations_word_id"),
        sa.ForeignKeyConstraint(["other_id"], ["words.id"], name="fk_relations_other_id"),
        sa.ForeignKeyConstraint(["source_id"], ["relation_sources.id"], name="fk_relations_source_id"),
        sa.ForeignKeyConstraint(["parent_id"], ["relations.id"], name="fk_relations_parent_id"),
        sa.UniqueConstraint(
            "lexicon_id",
            "word_id",
            "other_id",
            "type",
            "source_id",
            "rule",
            "parent_id",
            name="uq_relations_once",
            postgresql_nulls_not_distinct=True,
        ),
        sa.CheckConstraint("word_id < other_id", name="ck_relations_ends_in_order"),
        comment="Symmetric relations, each stored once with the smaller word id first",
    )
    op.create_index("ix_relations_lexicon_id_other_id", "relations", ["lexicon_id", "other_id"])
    op.create_index("ix_relations_parent_id", "relations", ["parent_id"])


def _create_dictionary_tables() -> None:
    op.create_table(
        "dictionaries",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, server_default="draft", nullable=False),
        sa.Column("teacher", sa.Text, nullable=False),
        sa.Column("teacher_hash", sa.Text, nullable=False),
        sa.Column("tokenizer_hash", sa.Text, nullable=False),
        sa.Column("vocabulary_size", sa.Integer, nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("state_point", sa.Text, nullable=False),
        sa.Column("key_policy", sa.Text, nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("settings", JSONB, nullable=False),
        sa.Column("senses", sa.BigInteger, nullable=False),
        sa.Column("tokens_with_senses", sa.Integer, nullable=False),
        sa.Column("words_with_senses", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.Text, comment="sha256 over the published vectors and index"),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_dictionaries"),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_dictionaries_lexicon_id"),
        sa.UniqueConstraint("name", "version", name="uq_dictionaries_name_version"),
        sa.CheckConstraint("state IN ('draft', 'published')", name="ck_dictionaries_state"),
        sa.CheckConstraint("key_policy IN ('next', 'predicted', 'input')", name="ck_dictionaries_key_policy"),
        sa.CheckConstraint(
            "state = 'draft' OR (content_hash IS NOT NULL AND published_at IS NOT NULL)",
            name="ck_dictionaries_published_whole",
        ),
        comment="Versions of a teacher's senses; published never changes",
    )
    op.create_table(
        "aliases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("dictionary_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", "alias", name="pk_aliases"),
        sa.ForeignKeyConstraint(["dictionary_id"], ["dictionaries.id"], name="fk_aliases_dictionary_id"),
        comment="Movable names of versions: name@alias",
    )
    op.create_table(
        "tokens",
        sa.Column("dictionary_id", sa.BigInteger, nullable=False),
        sa.Column("token_id", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("occurrences", sa.BigInteger, nullable=False),
        sa.Column("first_sense", sa.BigInteger, nullable=False),
        sa.Column("sense_count", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("dictionary_id", "token_id", name="pk_tokens"),
        sa.ForeignKeyConstraint(["dictionary_id"], ["dictionaries.id"], name="fk_tokens_dictionary_id"),
        comment="The teacher's vocabulary",
    )
    op.create_index("ix_tokens_dictionary_id_text", "tokens", ["dictionary_id", "text"])
    op.create_index("ix_tokens_folded", "tokens", ["dictionary_id", sa.text("lower(text)")])
    op.create_table(
        "dictionary_words",
        sa.Column("dictionary_id", sa.BigInteger, nullable=False),
        sa.Column("word_id", sa.BigInteger, nullable=False),
        sa.Column("token_ids", sa.ARRAY(sa.Integer), nullable=False),
        sa.Column("first_sense", sa.BigInteger, nullable=False),
        sa.Column("sense_count", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text, comment="why the word has no senses"),
        sa.PrimaryKeyConstraint("dictionary_id", "word_id", name="pk_dictionary_words"),
        sa.ForeignKeyConstraint(["dictionary_id"], ["dictionaries.id"], name="fk_dictionary_words_dictionary_id"),
        sa.ForeignKeyConstraint(["word_id"], ["words.id"], name="fk_dictionary_words_word_id"),
        comment="The lexicon's words under the dictionary's tokenizer; one token: the token's senses, else composed",
    )


def _create_sense_tables() -> None:
    op.create_table(
        "senses",
        sa.Column("dictionary_id", sa.BigInteger, nullable=False),
        sa.Column("sense_id", sa.BigInteger, nullable=False),
        sa.Column("token_id", sa.Integer),
        sa.Column("word_id", sa.BigInteger),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("inertia", sa.REAL, nullable=False),
        sa.Column("vector", HALFVEC, nullable=False),
        sa.PrimaryKeyConstraint("dictionary_id", "sense_id", name="pk_senses"),
        sa.ForeignKeyConstraint(["dictionary_id"], ["dictionaries.id"], name="fk_senses_dictionary_id"),
        sa.ForeignKeyConstraint(["word_id"], ["words.id"], name="fk_senses_word_id"),
        sa.ForeignKeyConstraint(
            ["dictionary_id", "token_id"],
            ["tokens.dictionary_id", "tokens.token_id"],
            name="fk_senses_dictionary_id_token_id",
        ),
        sa.CheckConstraint("(token_id IS NULL) <> (word_id IS NULL)", name="ck_senses_one_owner"),
        comment="Centroids, numbered densely in canonical order inside a dictionary",
    )
    op.create_table(
        "contexts",
        sa.Column("dictionary_id", sa.BigInteger, nullable=False),
        sa.Column("sense_id", sa.BigInteger, nullable=False),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("dictionary_id", "sense_id", "ordinal", name="pk_contexts"),
        sa.ForeignKeyConstraint(
            ["dictionary_id", "sense_id"],
            ["senses.dictionary_id", "senses.sense_id"],
            name="fk_contexts_dictionary_id_sense_id",
        ),
        comment="Passages in which a sense was used",
    )


def _create_triggers() -> None:
    for owner, owners, parts in (("dictionary", "dictionaries", OF_DICTIONARY), ("lexicon", "lexicons", OF_LEXICON)):
        op.execute(REFUSE_PARTS.format(owner=owner, owners=owners))
        op.execute(REFUSE_TRUNCATE.format(owner=owner, owners=owners))
        for table in parts:
            refuse = f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_published_{owner}()"
            for event, rows in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                op.execute(
                    f"CREATE TRIGGER refuse_{event.lower()}_{rows.lower()} AFTER {event} ON {table} "
                    f"REFERENCING {rows} TABLE AS changed {refuse}"
                )
            op.execute(
                f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate_of_published_{owner}()"
            )
    op.execute(REFUSE_ROW)
    for table in ("dictionaries", "lexicons"):
        op.execute(
            f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW "
            "WHEN (OLD.state = 'published') EXECUTE FUNCTION refuse_change_of_published()"
        )
    op.execute(REFUSE_WORD)
    op.execute(
        "CREATE TRIGGER refuse_change BEFORE UPDATE ON words FOR EACH ROW "
        "WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION refuse_change_of_word()"
    )
