"""What several schedulers need to share a ledger, and blobs in the database."""

import sqlalchemy as sa
from alembic import op

from muster.backends.sql.migrations.versions.m0001_ledger import only_where

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("received_bytes", sa.BigInteger, nullable=False),
        sa.Column("upload", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sha256"),
    )
    # Unfinished uploads, the oldest of which make room.
    op.create_index(
        "blobs_unfinished",
        "blobs",
        ["tenant", "changed_ms"],
        **only_where("size_bytes IS NULL"),
    )
    op.create_table(
        "blob_chunks",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("chunk", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sha256", "at"),
    )


def upgrade() -> None:
    """Add to the first ledger; what is in it stays as it is."""
    op.create_table(
        "shard_outbox",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("events", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "position"),
    )
    op.add_column("shards", sa.Column("trimmed", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "members",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("incarnation", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    _blobs()
    if op.get_context().dialect.name == "postgresql":
        # Chunks of blobs do not get smaller.
        op.execute("ALTER TABLE blob_chunks ALTER COLUMN chunk SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Would lose blobs and the events that nobody has been told."""
    raise RuntimeError("the second migration of the ledger cannot be undone")
