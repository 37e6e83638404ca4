"""How far back whoever claims a shard has to look for open contracts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an empty table: the next owner looks at everything once more."""
    op.create_table(
        "settled",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("before_id", sa.BigInteger, nullable=False),
        sa.Column("open_ids", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Forget it: owners look at everything."""
    op.drop_table("settled")
