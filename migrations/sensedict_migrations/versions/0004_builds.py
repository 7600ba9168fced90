"""Builds with the manifest of their shards and their log, and the tables of procrastinate, whose queue runs them."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What procrastinate adds after it belongs to a later migration of ours: 0004 is one queue, whatever is installed.
LAST_OF_QUEUE = "03.04.00_50_post_add_retry_failed_job_procedure.sql"

REMOVE_QUEUE = """
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT relname FROM pg_class
                 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP TABLE %I CASCADE', found.relname);
    END LOOP;
    FOR found IN SELECT oid::regprocedure AS name FROM pg_proc
                 WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'procrastinate\\_%' LOOP
        EXECUTE 'DROP FUNCTION ' || found.name || ' CASCADE';
    END LOOP;
    FOR found IN SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'c')
                 AND typname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP TYPE %I CASCADE', found.typname);
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Make the tables of builds and those of the queue."""
    _make_builds()
    _make_build_shards()
    _make_build_log()
    _make_queue()


def downgrade() -> None:
    """Remove builds and the queue; shards in stores stay."""
    for table in ("build_log", "build_shards", "builds"):
        op.drop_table(table)
    _run(REMOVE_QUEUE)


def _make_builds() -> None:
    op.create_table(
        "builds",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="running"),
        sa.Column("settings", JSONB, nullable=False),
        sa.Column("content", JSONB, comment="what decides the result; known once teacher and text were looked at"),
        sa.Column("store", sa.Text, nullable=False, comment="folder or URL of the shards"),
        sa.Column("plan", sa.Text, comment="the server's plan that it was started from"),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_builds"),
        sa.CheckConstraint("state IN ('running', 'published', 'failed', 'cancelled')", name="ck_builds_state"),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="ck_builds_finished"),
        comment="Builds of dictionaries, running and past",
    )
    op.create_index(
        "uq_builds_running", "builds", ["name", "version"], unique=True, postgresql_where=sa.text("state = 'running'")
    )


def _make_build_shards() -> None:
    op.create_table(
        "build_shards",
        sa.Column("build_id", sa.BigInteger, nullable=False),
        sa.Column("shard", sa.Text, nullable=False),
        sa.Column("file", sa.Text, comment="name in the store, another one for each attempt; null while lost"),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("sha256", sa.Text),
        sa.Column("facts", JSONB, nullable=False, server_default=sa.text("'{}'"), comment="what its readers need"),
        sa.Column("size", sa.BigInteger, nullable=False, comment="tokens or hidden states, for progress"),
        sa.Column("seconds", sa.REAL, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("lost", sa.SmallInteger, nullable=False, server_default="0", comment="times found damaged"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(
            ["build_id"], ["builds.id"], name="fk_build_shards_build_id_builds", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("build_id", "shard", name="pk_build_shards"),
        comment="The manifest: what is made of a build, whoever made it; the first to add a shard wins",
    )


def _make_build_log() -> None:
    op.create_table(
        "build_log",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=True),
        sa.Column("build_id", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_build_log_build_id_builds", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_build_log"),
        comment="What happened to builds",
    )
    op.create_index("ix_build_log_build_id_id", "build_log", ["build_id", "id"])


def _make_queue() -> None:
    """By procrastinate's own migrations: its whole schema, in one file, is that of the version that is installed."""
    paths = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    # Below 17 PostgreSQL lets no transaction use the values that it adds to an enum, as those migrations do.
    if (op.get_bind().dialect.server_version_info or ())[:1] < (17,):
        if paths[-1].name != LAST_OF_QUEUE:
            raise RuntimeError(f"the procrastinate installed is newer than {LAST_OF_QUEUE}: PostgreSQL 17 is needed")
        _run(SchemaManager.get_schema())
        return
    for path in paths:
        if path.name <= LAST_OF_QUEUE:
            _run(path.read_text("utf-8"))


def _run(script: str) -> None:
    """By the driver itself, which sends a text without parameters as it is: percent signs, many statements."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("migrations need a connection: they cannot be printed as SQL")
    driver.execute(script)
