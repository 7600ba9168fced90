"""The order in which an imported dictionary numbers its words, where this database has given them other ids."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; dictionaries that are there number their words in the order of their ids."""
    op.add_column(
        "dictionary_words",
        sa.Column(
            "place", sa.BigInteger, comment="in the dictionary's order, where that is not the order of the words' ids"
        ),
    )


def downgrade() -> None:
    """Remove it; the file set of a dictionary that needs it cannot be written anew then."""
    op.drop_column("dictionary_words", "place")
