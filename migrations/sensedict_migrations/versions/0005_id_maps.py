"""Maps of sense ids from one version of a dictionary to another, which never change either."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

REFUSE = """
CREATE FUNCTION refuse_change_of_id_map() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an id map is published and never changes'
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$
"""


def upgrade() -> None:
    """Make the table, and refuse changes of its rows."""
    op.create_table(
        "id_maps",
        sa.Column("old_id", sa.BigInteger, nullable=False),
        sa.Column("new_id", sa.BigInteger, nullable=False),
        sa.Column("summary", JSONB, nullable=False, comment="how it was made, and senses by state"),
        sa.Column("content", sa.LargeBinary, nullable=False, comment="Parquet: old_id, new_id, distance, state"),
        sa.Column("sha256", sa.Text, nullable=False, comment="of the content"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(["old_id"], ["dictionaries.id"], name="fk_id_maps_old_id_dictionaries"),
        sa.ForeignKeyConstraint(["new_id"], ["dictionaries.id"], name="fk_id_maps_new_id_dictionaries"),
        sa.PrimaryKeyConstraint("old_id", "new_id", name="pk_id_maps"),
        sa.CheckConstraint("old_id <> new_id", name="ck_id_maps_two_dictionaries"),
        comment="Which sense of a dictionary became which of another; published never changes",
    )
    op.execute(REFUSE)
    op.execute("REVOKE EXECUTE ON FUNCTION refuse_change_of_id_map() FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON id_maps "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_id_map()"
    )


def downgrade() -> None:
    """Remove the maps; `sensedict diff` makes them again."""
    op.drop_table("id_maps")
    op.execute("DROP FUNCTION refuse_change_of_id_map")
