"""Words by how they begin, whatever the collation; the end of a deleted dictionary's search index."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SERVICE = "sensedict_service"  # of 0006

# `sensedict dictionary index` makes an index of senses for one dictionary, as the owner of the tables. When that is
# deleted the service takes it away, which owns nothing: with the rights of the owner, and of that index alone. Dropping
# one keeps everybody from the table for a moment, so it is tried for a second only; the service tries again.
DROP_SEARCH_INDEX = """
CREATE FUNCTION drop_search_index(gone bigint) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
BEGIN
    IF to_regclass('public.ix_senses_search_' || gone) IS NULL THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM dictionaries d WHERE d.id = gone AND d.state = 'published') THEN
        RAISE EXCEPTION 'dictionary % is published: its index is in use', gone
            USING ERRCODE = 'restrict_violation', TABLE = 'senses';
    END IF;
    EXECUTE format('DROP INDEX public.%I', 'ix_senses_search_' || gone);
    RETURN true;
END $$
"""
GRANT = f"""
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{SERVICE}') THEN
        GRANT EXECUTE ON FUNCTION drop_search_index(bigint) TO {SERVICE};
    END IF;
END $$
"""
DROP_ALL = """
DO $$
DECLARE
    made regclass;
BEGIN
    FOR made IN SELECT indexrelid FROM pg_index JOIN pg_class c ON c.oid = indexrelid
                WHERE indrelid = 'public.senses'::regclass AND relname ~ '^ix_senses_search_[0-9]+$' LOOP
        EXECUTE format('DROP INDEX %s', made);
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Make the indexes of beginnings, which a collation other than C needs, and the function."""
    op.execute("CREATE INDEX ix_words_prefix ON words (lower(text) text_pattern_ops)")
    op.execute("CREATE INDEX ix_tokens_prefix ON tokens (dictionary_id, lower(text) text_pattern_ops)")
    op.execute(DROP_SEARCH_INDEX)
    op.execute("REVOKE EXECUTE ON FUNCTION drop_search_index(bigint) FROM PUBLIC")
    op.execute(GRANT)


def downgrade() -> None:
    """Remove them, and every dictionary's search index."""
    op.get_bind().exec_driver_sql(DROP_ALL)
    op.execute("DROP FUNCTION drop_search_index(bigint)")
    op.execute("DROP INDEX ix_tokens_prefix")
    op.execute("DROP INDEX ix_words_prefix")
