"""The first ledger."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from muster.failpoints import failpoint

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def only_where(condition: str) -> dict[str, Any]:
    """What makes an index partial, in this database's word: another's would import its dialect."""
    return {f"{op.get_context().dialect.name}_where": sa.text(condition)}


def _contract_indexes() -> None:
    op.create_index(
        "contracts_scope", "contracts", ["tenant", "principal", "request_id"], unique=True
    )
    for name, columns, condition in (
        ("contracts_parent", ["parent_id"], "parent_id != 0"),
        ("contracts_root", ["root_id"], "depth != 0"),
        ("contracts_conversation", ["tenant", "conversation"], "conversation != ''"),
    ):
        op.create_index(
            name,
            "contracts",
            columns,
            **only_where(condition),
        )


def _contracts() -> None:
    op.create_table(
        "contracts",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("capability", sa.Text, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("parent_id", _ID, nullable=False),
        sa.Column("root_id", _ID, nullable=False),
        sa.Column("depth", sa.SmallInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("accepted_ms", sa.BigInteger, nullable=False),
        sa.Column("deadline_ms", sa.BigInteger, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("agent_kind", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
    )
    _contract_indexes()


def _attempts() -> None:
    op.create_table(
        "leases",
        sa.Column("contract_id", _ID, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("agent_kind", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("leased_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("contract_id", "epoch"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "starts",
        sa.Column("contract_id", _ID, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("contract_id", "epoch"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "endings",
        sa.Column("contract_id", _ID, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("failure", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("contract_id", "epoch"),
        sqlite_with_rowid=False,
    )


@failpoint("ledger_migration")
def _outcomes() -> None:
    op.create_table(
        "responses",
        sa.Column("contract_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("author", sa.SmallInteger, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "items",
        sa.Column("contract_id", _ID, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("idx", sa.Integer, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("item", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("contract_id", "epoch", "idx"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("position", _ID, primary_key=True, autoincrement=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("events", sa.LargeBinary, nullable=False),
    )


def upgrade() -> None:
    """Make every table."""
    _contracts()
    _attempts()
    _outcomes()
    op.create_table(
        "catalogue",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("capability", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shards",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """There is nothing before the first ledger: a downgrade would lose every contract."""
    raise RuntimeError("the first migration of the ledger cannot be undone")
