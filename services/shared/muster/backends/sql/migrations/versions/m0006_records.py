"""Workflows, their runs, schedules, memory: what is no contract."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _workflows() -> None:
    op.create_table(
        "workflows",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("workflow", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "version"),
    )
    op.create_table(
        "workflow_runs",
        sa.Column("id", BIG, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("start_id", sa.Text, nullable=False),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("engine", sa.SmallInteger, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("parent_id", sa.BigInteger, nullable=False),
        sa.Column("parent_step", sa.Text, nullable=False),
        sa.Column("parent_item", sa.Integer, nullable=False),
        sa.Column("parent_revision", sa.Integer, nullable=False),
        sa.Column("forked_from", sa.BigInteger, nullable=False),
        sa.Column("forked_step", sa.Text, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("input", sa.LargeBinary, nullable=False),
    )
    op.create_index(
        "workflow_runs_scope", "workflow_runs", ["tenant", "principal", "start_id"], unique=True
    )
    op.create_table(
        "workflow_heads",
        sa.Column("run_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("is_open", sa.SmallInteger, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("workflow_heads_open", "workflow_heads", ["is_open", "ended_ms"])
    op.create_index("workflow_heads_tenant", "workflow_heads", ["tenant", "run_id"])
    op.create_table(
        "workflow_journal",
        sa.Column("run_id", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "sequence"),
    )


def _others() -> None:
    op.create_table(
        "schedules",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "schedule_ticks",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("tick_ms", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sa.Column("target", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("ticks", sa.Integer, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "tick_ms", "number"),
    )
    op.create_table(
        "memory_blocks",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("through_id", sa.BigInteger, nullable=False),
        sa.Column("floor_id", sa.BigInteger, nullable=False),
        sa.Column("contracts", sa.LargeBinary, nullable=False),
        sa.Column("block", sa.LargeBinary, nullable=False),
        sa.Column("trace", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "conversation", "number"),
    )
    op.create_index("memory_blocks_tenant", "memory_blocks", ["tenant", "through_id"])
    op.create_table(
        "agent_states",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("put_id", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "name"),
    )


def upgrade() -> None:
    """Add empty tables."""
    _workflows()
    _others()


def downgrade() -> None:
    """Would lose what people have recorded."""
    raise RuntimeError("this migration of the ledger cannot be undone")
