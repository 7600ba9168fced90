"""The analysts' views anew, with comments on every column, and the role that can read them and nothing else."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).with_suffix(".sql")
ROLE = "sensedict_analyst"

# Roles belong to the whole server: another database may make the same one at the same time, and a user that migrates
# may be allowed none.
MAKE_ROLE = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
        CREATE ROLE {ROLE} NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'the role {ROLE} is not made, %% may not: docs/analytics.md has the GRANTs', current_user;
END $$
"""
# PUBLIC may make tables in databases that come from PostgreSQL 14 or older.
GRANT = f"""
DO $$
DECLARE
    refusing regprocedure;
BEGIN
    IF has_schema_privilege('public', 'public', 'CREATE') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
    FOR refusing IN SELECT p.oid FROM pg_proc p
                    WHERE p.pronamespace = 'public'::regnamespace AND starts_with(p.proname, 'refuse_') LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %%s FROM PUBLIC', refusing);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
        GRANT USAGE ON SCHEMA analytics TO {ROLE};
        GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO {ROLE};
        ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO {ROLE};
    END IF;
END $$
"""
# Large objects are of the whole database, and by default anybody makes them.
LARGE_OBJECTS = """
DO $$
DECLARE
    making regprocedure;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE NOTICE 'anybody may make large objects, as before: %% may not change that', current_user;
        RETURN;
    END IF;
    FOR making IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
                  AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea') LOOP
        EXECUTE format('{verb} EXECUTE ON FUNCTION %%s {preposition} PUBLIC', making);
    END LOOP;
END $$
"""
# The role stays: other databases of the server may use it, and users have been granted it.
REVOKE = f"""
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
        ALTER DEFAULT PRIVILEGES IN SCHEMA analytics REVOKE SELECT ON TABLES FROM {ROLE};
        REVOKE ALL ON ALL TABLES IN SCHEMA analytics FROM {ROLE};
        REVOKE USAGE ON SCHEMA analytics FROM {ROLE};
    END IF;
END $$
"""


def upgrade() -> None:
    """Make the views anew, an index for conflicts, and the role."""
    for name in reversed(_first_views()):
        op.execute(f"DROP VIEW analytics.{name}")
    op.create_index(
        "ix_relations_conflicts", "relations", ["lexicon_id", "word_id"], postgresql_where=sa.text("conflict")
    )
    refuse = LARGE_OBJECTS.format(verb="REVOKE", preposition="FROM")
    for statements in (VIEWS.read_text("utf-8"), MAKE_ROLE, GRANT, refuse):
        op.get_bind().exec_driver_sql(statements)


def downgrade() -> None:
    """Bring back the views of 0001; the role keeps its name and loses what it may read here."""
    for statements in (REVOKE, LARGE_OBJECTS.format(verb="GRANT", preposition="TO")):
        op.get_bind().exec_driver_sql(statements)
    for name in reversed(re.findall(r"^CREATE VIEW analytics\.(\w+)", VIEWS.read_text("utf-8"), re.MULTILINE)):
        op.execute(f"DROP VIEW analytics.{name}")
    op.drop_index("ix_relations_conflicts", "relations")
    for name, (comment, select) in _first_views().items():
        op.execute(f"CREATE VIEW analytics.{name} AS {select}")
        op.execute(f"COMMENT ON VIEW analytics.{name} IS '{comment}'")


def _first_views() -> dict[str, tuple[str, str]]:
    """Name to comment and SELECT of the views that 0001 makes."""
    environment = op.get_context().environment_context
    assert environment is not None
    views: dict[str, tuple[str, str]] = environment.script.get_revision("0001").module.VIEWS
    return views
