"""Directed relations, parts of speech, glosses, inflected forms, segmentations, and lexicographers' judgements."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OF_LEXICON = ("glosses", "forms", "segmentations", "relation_glosses")
ONCE = ("lexicon_id", "word_id", "other_id", "type", "source_id")


def upgrade() -> None:
    """Widen relations and make the new tables."""
    op.create_table_comment("words", "Every word of any lexicon", existing_comment=None)
    op.add_column(
        "relation_sources",
        sa.Column(
            "counted",
            JSONB,
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="what else the reader counted",
        ),
    )
    _create_tables()
    _widen_relations()
    _create_relation_glosses()
    _protect()


def downgrade() -> None:
    """Remove them; what the older schema cannot tell is lost: directions, parts of speech, glosses, judgements."""
    op.execute("ALTER TABLE relations DISABLE TRIGGER USER")  # published lexicons are narrowed too
    op.drop_table("relation_glosses")
    op.drop_constraint("uq_relations_once", "relations")
    op.drop_constraint("ck_relations_parent_before_child", "relations")
    op.drop_constraint("ck_relations_ends_in_order", "relations")
    op.execute("UPDATE relations SET word_id = other_id, other_id = word_id WHERE word_id > other_id")
    op.execute(
        """
        WITH repeated AS (
            SELECT id, min(id) OVER (
                PARTITION BY lexicon_id, word_id, other_id, type, source_id, rule, parent_id
            ) AS kept FROM relations
        ), moved AS (
            UPDATE relations child SET parent_id = repeated.kept
            FROM repeated WHERE child.parent_id = repeated.id AND repeated.id <> repeated.kept
        )
        DELETE FROM relations USING repeated
        WHERE relations.id = repeated.id AND repeated.id <> repeated.kept
        """
    )
    for column in ("via_id", "pos", "directed"):
        op.drop_column("relations", column)
    op.create_unique_constraint(
        "uq_relations_once", "relations", [*ONCE, "rule", "parent_id"], postgresql_nulls_not_distinct=True
    )
    op.create_check_constraint("ck_relations_ends_in_order", "relations", "word_id < other_id")
    op.create_index("ix_relations_lexicon_id_other_id", "relations", ["lexicon_id", "other_id"])
    op.drop_index("ix_relations_lexicon_id_word_id_id", "relations")
    op.drop_index("ix_relations_lexicon_id_other_id_id", "relations")
    op.execute("ALTER TABLE relations ENABLE TRIGGER USER")
    op.drop_column("relation_sources", "counted")
    for table in ("judgements", "segmentations", "forms", "glosses"):
        op.drop_table(table)


def _create_tables() -> None:
    op.create_table(
        "glosses",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("source_id", sa.BigInteger, nullable=False),
        sa.Column("word_id", sa.BigInteger, nullable=False),
        sa.Column("pos", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_glosses"),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_glosses_lexicon_id"),
        sa.ForeignKeyConstraint(["source_id"], ["relation_sources.id"], name="fk_glosses_source_id"),
        sa.ForeignKeyConstraint(["word_id"], ["words.id"], name="fk_glosses_word_id"),
        comment="What sources say that words mean",
    )
    op.create_index("ix_glosses_lexicon_id_word_id", "glosses", ["lexicon_id", "word_id"])
    op.create_table(
        "forms",
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("form_id", sa.BigInteger, nullable=False),
        sa.Column("lemma_id", sa.BigInteger, nullable=False),
        sa.Column("source_id", sa.BigInteger, nullable=False),
        sa.Column("pos", sa.Text),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_forms_lexicon_id"),
        sa.ForeignKeyConstraint(["form_id"], ["words.id"], name="fk_forms_form_id"),
        sa.ForeignKeyConstraint(["lemma_id"], ["words.id"], name="fk_forms_lemma_id"),
        sa.ForeignKeyConstraint(["source_id"], ["relation_sources.id"], name="fk_forms_source_id"),
        sa.UniqueConstraint(
            "lexicon_id",
            "form_id",
            "lemma_id",
            "source_id",
            "pos",
            name="uq_forms_once",
            postgresql_nulls_not_distinct=True,
        ),
        sa.CheckConstraint("form_id <> lemma_id", name="ck_forms_two_words"),
        comment="Inflected forms of words",
    )
    op.create_index("ix_forms_lexicon_id_lemma_id", "forms", ["lexicon_id", "lemma_id"])
    op.create_table(
        "segmentations",
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("source_id", sa.BigInteger, nullable=False),
        sa.Column("word_id", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("pos", sa.ARRAY(sa.Text), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "word_id", name="pk_segmentations"),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_segmentations_lexicon_id"),
        sa.ForeignKeyConstraint(["source_id"], ["relation_sources.id"], name="fk_segmentations_source_id"),
        sa.ForeignKeyConstraint(["word_id"], ["words.id"], name="fk_segmentations_word_id"),
        comment="How words are built, for deriving relations by negation",
    )
    op.create_table(
        "judgements",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("lexicon", sa.Text, nullable=False, comment="name; versions made later obey"),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("word", sa.Text, nullable=False),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_judgements"),
        sa.CheckConstraint("verdict IN ('add', 'reject')", name="ck_judgements_verdict"),
        comment="What lexicographers add to and reject of a lexicon, whatever its sources say",
    )
    op.create_index(
        "uq_judgements_in_force",
        "judgements",
        ["lexicon", "word", "other", "type"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )


def _create_relation_glosses() -> None:
    op.create_table(
        "relation_glosses",
        sa.Column("lexicon_id", sa.BigInteger, nullable=False),
        sa.Column("relation_id", sa.BigInteger, nullable=False),
        sa.Column("gloss_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("relation_id", "gloss_id", name="pk_relation_glosses"),
        sa.ForeignKeyConstraint(["lexicon_id"], ["lexicons.id"], name="fk_relation_glosses_lexicon_id"),
        sa.ForeignKeyConstraint(["relation_id"], ["relations.id"], name="fk_relation_glosses_relation_id"),
        sa.ForeignKeyConstraint(["gloss_id"], ["glosses.id"], name="fk_relation_glosses_gloss_id"),
        comment="The senses, of either word, that a source lists a relation under",
    )


def _protect() -> None:
    for table in OF_LEXICON:
        refuse = "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_published_lexicon()"
        for event, rows in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            op.execute(
                f"CREATE TRIGGER refuse_{event.lower()}_{rows.lower()} AFTER {event} ON {table} "
                f"REFERENCING {rows} TABLE AS changed {refuse}"
            )
        op.execute(
            f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate_of_published_lexicon()"
        )


def _widen_relations() -> None:
    columns = (
        sa.Column(
            "directed", sa.Boolean, server_default=sa.text("false"), nullable=False, comment="from word to other only"
        ),
        sa.Column("pos", sa.Text, comment="part of speech, where the source has it"),
        sa.Column("via_id", sa.BigInteger, comment="whose segmentations a derived relation leans on"),
    )
    for column in columns:
        op.add_column("relations", column)
    op.create_foreign_key("fk_relations_via_id", "relations", "relation_sources", ["via_id"], ["id"])
    op.drop_constraint("uq_relations_once", "relations")
    op.create_unique_constraint(
        "uq_relations_once",
        "relations",
        [*ONCE, "pos", "rule", "parent_id"],
        postgresql_nulls_not_distinct=True,
    )
    op.drop_constraint("ck_relations_ends_in_order", "relations")
    op.create_check_constraint(
        "ck_relations_ends_in_order", "relations", "word_id < other_id OR (directed AND word_id <> other_id)"
    )
    op.create_check_constraint("ck_relations_parent_before_child", "relations", "parent_id < id")
    op.create_index("ix_relations_lexicon_id_word_id_id", "relations", ["lexicon_id", "word_id", "id"])
    op.create_index("ix_relations_lexicon_id_other_id_id", "relations", ["lexicon_id", "other_id", "id"])
    op.drop_index("ix_relations_lexicon_id_other_id", "relations")
    op.create_table_comment(
        "relations", "Relations, each stored once; symmetric ones with the smaller word id first", existing_comment=None
    )
