"""API keys, by their hash, and what the database lets each role do.

Two group roles, beside the analysts' of 0003; the logins that belong to them are the operator's:

    sensedict_reader   reads every table but the keys
    sensedict_service  that, and changes rows; it owns nothing, so it cannot TRUNCATE, DROP, ALTER or switch triggers
                       off, and of the keys it can write nothing but when one was last used
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

READER, SERVICE = "sensedict_reader", "sensedict_service"

# As in 0003: roles belong to the whole server. Who migrates without being a superuser becomes a member, so that a
# service that connects as the same user can step down to the role.
MAKE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        GRANT {role} TO CURRENT_USER;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'the role {role} is not made or not granted, %% may not: docs/security.md has the GRANTs',
            current_user;
END $$
"""
# Default privileges are for the tables of later migrations.
GRANT_READER = """
GRANT USAGE ON SCHEMA public, analytics TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA public, analytics TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO {role};
REVOKE ALL ON api_keys FROM {role}
"""
GRANT_SERVICE = """
GRANT USAGE ON SCHEMA public, analytics TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {role};
REVOKE INSERT, UPDATE, DELETE ON api_keys, alembic_version FROM {role};
GRANT UPDATE (last_used_at) ON api_keys TO {role};
IF current_setting('server_version_num')::int >= 170000 THEN  -- to VACUUM and ANALYZE what it loaded
    EXECUTE 'GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {role}';
    EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT MAINTAIN ON TABLES TO {role}';
END IF
"""
REVOKE = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics REVOKE ALL ON TABLES FROM {role};
REVOKE ALL ON ALL TABLES IN SCHEMA public, analytics FROM {role};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role};
REVOKE USAGE ON SCHEMA public, analytics FROM {role}
"""
WHERE_THERE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        {statements};
    END IF;
END $$
"""
# Without a path of their own, functions find a temporary table before ours: whoever may make one named `dictionaries`,
# with nothing in it, would make the triggers believe that nothing is published.
SEARCH_PATH = """
DO $$
DECLARE
    refusing regprocedure;
BEGIN
    FOR refusing IN SELECT p.oid FROM pg_proc p
                    WHERE p.pronamespace = 'public'::regnamespace AND starts_with(p.proname, 'refuse_') LOOP
        EXECUTE format('ALTER FUNCTION %%s {what}', refusing);
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Make the table of keys and the roles; the triggers' functions look in our schema alone."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="sha256 of the key, which is kept nowhere"),
        sa.Column("prefix", sa.Text, nullable=False, comment="the key's first characters, to know it by"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", sa.DateTime(timezone=True), comment="null: never"),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True), comment="about a minute late"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sa.CheckConstraint("scope IN ('read', 'admin')", name="ck_api_keys_scope"),
        sa.CheckConstraint("octet_length(hash) = 32", name="ck_api_keys_sha256"),
        comment="Who may call the service",
    )
    op.create_index(
        "uq_api_keys_in_force", "api_keys", ["name"], unique=True, postgresql_where=sa.text("revoked_at IS NULL")
    )
    for role, grants in ((READER, GRANT_READER), (SERVICE, GRANT_SERVICE)):
        _run(MAKE_ROLE.format(role=role))
        _run(WHERE_THERE.format(role=role, statements=grants.format(role=role)))
    _run(SEARCH_PATH.format(what="SET search_path = pg_catalog, public, pg_temp"))


def downgrade() -> None:
    """Forget the keys; the roles keep their names and lose what they may do here."""
    _run(SEARCH_PATH.format(what="RESET search_path"))
    for role in (SERVICE, READER):
        _run(WHERE_THERE.format(role=role, statements=REVOKE.format(role=role)))
    op.drop_table("api_keys")


def _run(statements: str) -> None:
    op.get_bind().exec_driver_sql(statements)
