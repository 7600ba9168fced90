"""The life of a version: drafts, publishing, aliases, deprecation, deletion; who asked for it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OWNERS = {"dictionary": "dictionaries", "lexicon": "lexicons"}
LOCK = 0x5E45ED1D  # advisory, with the hash of a dictionary's name: changes of its versions and aliases, one at a time

# A row is locked before its state is looked at: what is being published waits for rows that are being added to it, and
# who adds rows waits for it, and is then refused.
REFUSE_PARTS = """
CREATE OR REPLACE FUNCTION refuse_change_of_published_{owner}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    published text;
BEGIN
    PERFORM FROM {owners} o WHERE o.id IN (SELECT changed.{owner}_id FROM changed) FOR SHARE;
    SELECT o.name || '@' || o.version INTO published FROM {owners} o
    WHERE o.state = 'published' AND o.id IN (SELECT changed.{owner}_id FROM changed) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '{owner} % is published and never changes: publish a new version', published
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
"""
# As 0001 made it, for the way down.
REFUSE_PARTS_BEFORE = REFUSE_PARTS.replace(
    "    PERFORM FROM {owners} o WHERE o.id IN (SELECT changed.{owner}_id FROM changed) FOR SHARE;\n", ""
)
REFUSE_NEW = """
CREATE FUNCTION refuse_new_{owner}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    ref text := NEW.name || '@' || NEW.version;
BEGIN
    IF EXISTS (SELECT FROM tombstones t WHERE (t.kind, t.name, t.version) = ('{owner}', NEW.name, NEW.version)) THEN
        RAISE EXCEPTION '{owner} % was deleted, and a version never comes back: choose another version', ref
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    {more}
    RETURN NEW;
END $$
"""
# The lock on the lexicon: it cannot be deleted while a dictionary over it is being published.
OF_PUBLISHED_LEXICON = """
    PERFORM FROM lexicons l WHERE l.id = NEW.lexicon_id AND l.state = 'published' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'dictionary % names a lexicon that is not published: publish it first', ref
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
"""
REFUSE_STEP = """
CREATE FUNCTION refuse_step_of_{owner}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    ref text := OLD.name || '@' || OLD.version;
    other text;
BEGIN
    IF OLD.state = 'withdrawn' THEN
        RAISE EXCEPTION '{owner} % was deleted and never changes', ref
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF OLD.state = 'published' AND (NEW.state = 'draft' OR to_jsonb(OLD) - '{{{life}}}'::text[]
                                    IS DISTINCT FROM to_jsonb(NEW) - '{{{life}}}'::text[]) THEN
        RAISE EXCEPTION '{owner} % is published and never changes: publish a new version', ref
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF OLD.state = 'published' AND NEW.state = 'withdrawn' AND NOT EXISTS (
        SELECT FROM tombstones t WHERE (t.kind, t.name, t.version) = ('{owner}', OLD.name, OLD.version)
    ) THEN
        RAISE EXCEPTION '{owner} % is published and never changes: a deletion leaves a tombstone', ref
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    {more}
    RETURN NEW;
END $$
"""
OF_DICTIONARY = f"""
    IF NEW.state <> OLD.state THEN
        PERFORM pg_advisory_xact_lock({LOCK}, hashtext(OLD.name));
        SELECT string_agg(a.alias, ', ' ORDER BY a.alias) INTO other FROM aliases a WHERE a.dictionary_id = OLD.id;
        IF other IS NOT NULL THEN
            RAISE EXCEPTION 'dictionary % is aliased as %: move or remove that alias first', ref, other
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
        IF EXISTS (SELECT FROM aliases a WHERE (a.name, a.alias) = (NEW.name, NEW.version)) THEN
            RAISE EXCEPTION '% is an alias already: choose another version, or remove the alias first', ref
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
    END IF;
"""
OF_LEXICON = """
    IF NEW.state = 'withdrawn' THEN
        SELECT string_agg(d.name || '@' || d.version, ', ' ORDER BY d.name, d.version) INTO other
        FROM dictionaries d WHERE d.lexicon_id = OLD.id;
        IF other IS NOT NULL THEN
            RAISE EXCEPTION 'lexicon % is used by %: delete that first', ref, other
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
    END IF;
"""
REFUSE_ALIAS = f"""
CREATE FUNCTION refuse_alias() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    named record;
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK}, hashtext(NEW.name));
    SELECT d.name, d.version, d.state INTO named FROM dictionaries d WHERE d.id = NEW.dictionary_id;
    IF named.name <> NEW.name THEN
        RAISE EXCEPTION '%@% cannot name a version of %', NEW.name, NEW.alias, named.name
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF named.state <> 'published' THEN
        RAISE EXCEPTION '%@% is %: an alias names what is published', named.name, named.version,
            CASE named.state WHEN 'draft' THEN 'a draft' ELSE 'deleted' END
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF EXISTS (SELECT FROM dictionaries d WHERE (d.name, d.version) = (NEW.name, NEW.alias)) OR EXISTS (
        SELECT FROM tombstones t WHERE (t.kind, t.name, t.version) = ('dictionary', NEW.name, NEW.alias)
    ) THEN
        RAISE EXCEPTION '%@% is or was a version: choose another alias', NEW.name, NEW.alias
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$
"""
REFUSE_LOSS_OF_ID_MAP = """
CREATE FUNCTION refuse_loss_of_id_map() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM dictionaries d WHERE d.id IN (OLD.old_id, OLD.new_id) AND d.state = 'withdrawn') THEN
        RAISE EXCEPTION 'an id map is published and never changes'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN OLD;
END $$
"""
REFUSE_RECORD = """
CREATE FUNCTION refuse_change_of_record() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what the table % says happened never changes', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$
"""
# The migrations below 0007 change or drop what is published.
REFUSE_WAY_DOWN = """
DO $$
DECLARE
    held text;
BEGIN
    SELECT ref INTO held FROM (
        SELECT 'dictionary ' || name || '@' || version AS ref FROM dictionaries WHERE state <> 'draft'
        UNION ALL SELECT 'lexicon ' || name || '@' || version FROM lexicons WHERE state <> 'draft'
        UNION ALL SELECT 'the tombstone of ' || kind || ' ' || name || '@' || version FROM tombstones
    ) published LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the schema cannot go below 0007: the database holds %, and what is published never changes; '
            'restore a backup from before, or drop the whole database', held USING ERRCODE = 'restrict_violation';
    END IF;
END $$
"""


def upgrade() -> None:
    """Make the tables of what happened, and let the database say which step of a version's life is allowed."""
    _make_records()
    op.add_column(
        "dictionaries", sa.Column("deprecated_at", sa.DateTime(timezone=True), comment="do not start with it")
    )
    op.add_column(
        "dictionaries", sa.Column("sunset_at", sa.DateTime(timezone=True), comment="may be deleted from then")
    )
    op.create_check_constraint(
        "ck_dictionaries_sunset", "dictionaries", "sunset_at IS NULL OR sunset_at >= deprecated_at"
    )
    op.create_check_constraint(
        "ck_dictionaries_deprecated", "dictionaries", "state <> 'draft' OR deprecated_at IS NULL"
    )
    _set_states("'draft', 'published', 'withdrawn'", "state <> 'published'")
    # Rows of a lexicon are deleted too, and a gloss looks for the relations that it belongs to.
    op.create_index("ix_relation_glosses_gloss_id", "relation_glosses", ["gloss_id"])
    _protect()


def downgrade() -> None:
    """Remove them; refused where anything was published."""
    op.execute(REFUSE_WAY_DOWN)
    for table in ("dictionaries", "lexicons"):
        for trigger in ("refuse_new", "refuse_step", "refuse_delete", "refuse_truncate"):
            op.execute(f"DROP TRIGGER {trigger} ON {table}")
        op.execute(
            f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW "
            "WHEN (OLD.state = 'published') EXECUTE FUNCTION refuse_change_of_published()"
        )
    op.execute("DROP TRIGGER refuse_alias ON aliases")
    for trigger in ("refuse_change", "refuse_loss"):
        op.execute(f"DROP TRIGGER {trigger} ON id_maps")
    op.execute(
        "CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON id_maps "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_id_map()"
    )
    op.drop_index("ix_relation_glosses_gloss_id", "relation_glosses")
    op.drop_column("dictionaries", "sunset_at")
    op.drop_column("dictionaries", "deprecated_at")
    _set_states("'draft', 'published'", "state = 'draft'")
    for table in ("version_uses", "history", "tombstones"):
        op.drop_table(table)
    for owner, owners in OWNERS.items():
        op.execute(REFUSE_PARTS_BEFORE.format(owner=owner, owners=owners))
        op.execute(f"DROP FUNCTION refuse_new_{owner}")
        op.execute(f"DROP FUNCTION refuse_step_of_{owner}")
    for function in ("refuse_alias", "refuse_loss_of_id_map", "refuse_change_of_record"):
        op.execute(f"DROP FUNCTION {function}")


def _make_records() -> None:
    op.create_table(
        "tombstones",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("deleted_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tombstones"),
        sa.UniqueConstraint("kind", "name", "version", name="uq_tombstones_kind_name_version"),
        sa.CheckConstraint("kind IN ('dictionary', 'lexicon')", name="ck_tombstones_kind"),
        comment="What was published and is deleted",
    )
    op.create_table(
        "history",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("actor", sa.Text, nullable=False, comment="name of a key, or user of the command line"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("details", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name="pk_history"),
        sa.CheckConstraint("kind IN ('dictionary', 'lexicon')", name="ck_history_kind"),
        comment="Who did what with a version, when and why",
    )
    op.create_index("ix_history_name_version", "history", ["name", "version"])
    op.create_table(
        "version_uses",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("key_name", sa.Text, nullable=False, comment="empty where no key was needed"),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", "key_name", name="pk_version_uses"),
        comment="Who asked a service for which version of a dictionary, and when last; stays when that is deleted",
    )


def _set_states(states: str, unless_whole: str) -> None:
    """Let versions be in `states`, and dictionaries lack hash and date only as `unless_whole` says."""
    for table in OWNERS.values():
        op.drop_constraint(f"ck_{table}_state", table)
        op.create_check_constraint(f"ck_{table}_state", table, f"state IN ({states})")
    op.drop_constraint("ck_dictionaries_published_whole", "dictionaries")
    op.create_check_constraint(
        "ck_dictionaries_published_whole",
        "dictionaries",
        f"{unless_whole} OR (content_hash IS NOT NULL AND published_at IS NOT NULL)",
    )


def _protect() -> None:
    more = {"dictionary": (OF_PUBLISHED_LEXICON, OF_DICTIONARY), "lexicon": ("", OF_LEXICON)}
    life = {"dictionary": "state,deprecated_at,sunset_at", "lexicon": "state"}
    for owner, owners in OWNERS.items():
        new, step = more[owner]
        op.execute(REFUSE_PARTS.format(owner=owner, owners=owners))
        op.execute(REFUSE_NEW.format(owner=owner, more=new))
        op.execute(REFUSE_STEP.format(owner=owner, life=life[owner], more=step))
        op.execute(f"DROP TRIGGER refuse_change ON {owners}")
        for trigger, event, function in (
            ("refuse_new", "INSERT", f"refuse_new_{owner}()"),
            ("refuse_step", "UPDATE", f"refuse_step_of_{owner}()"),
        ):
            op.execute(f"CREATE TRIGGER {trigger} BEFORE {event} ON {owners} FOR EACH ROW EXECUTE FUNCTION {function}")
        op.execute(
            f"CREATE TRIGGER refuse_delete BEFORE DELETE ON {owners} FOR EACH ROW "
            "WHEN (OLD.state = 'published') EXECUTE FUNCTION refuse_change_of_published()"
        )
        op.execute(
            f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {owners} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate_of_published_{owner}()"
        )
    op.execute(REFUSE_ALIAS)
    op.execute(
        "CREATE TRIGGER refuse_alias BEFORE INSERT OR UPDATE ON aliases FOR EACH ROW EXECUTE FUNCTION refuse_alias()"
    )
    _protect_records()


def _protect_records() -> None:
    op.execute(REFUSE_LOSS_OF_ID_MAP)
    op.execute(REFUSE_RECORD)
    op.execute("DROP TRIGGER refuse_change ON id_maps")
    op.execute(
        "CREATE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON id_maps "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_id_map()"
    )
    op.execute(
        "CREATE TRIGGER refuse_loss BEFORE DELETE ON id_maps FOR EACH ROW EXECUTE FUNCTION refuse_loss_of_id_map()"
    )
    for table in ("tombstones", "history"):
        op.execute(
            f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record()"
        )
    functions = ("new_dictionary", "new_lexicon", "step_of_dictionary", "step_of_lexicon", "alias", "loss_of_id_map")
    for function in (*functions, "change_of_record"):
        op.execute(f"REVOKE EXECUTE ON FUNCTION refuse_{function}() FROM PUBLIC")
