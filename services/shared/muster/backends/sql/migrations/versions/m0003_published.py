"""How far events have been published on the bus."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an empty table: nothing has been published."""
    op.create_table(
        "published",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Forget it: whoever publishes next begins with the oldest event that is kept."""
    op.drop_table("published")
