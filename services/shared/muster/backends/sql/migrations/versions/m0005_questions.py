"""What a person is asked, and the answers."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add empty tables, and the index by which a new owner finds what runs ask."""
    op.create_table(
        "questions",
        sa.Column("subject_id", _ID, nullable=False),
        sa.Column("question_id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("asked_ms", sa.BigInteger, nullable=False),
        sa.Column("deadline_ms", sa.BigInteger, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("question", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "question_id"),
        sqlite_with_rowid=False,
    )
    of_runs = sa.text("epoch = 0")
    op.create_index(
        "questions_of_runs",
        "questions",
        ["subject_id"],
        sqlite_where=of_runs,
        postgresql_where=of_runs,
    )
    op.create_table(
        "answers",
        sa.Column("subject_id", _ID, nullable=False),
        sa.Column("question_id", sa.Text, nullable=False),
        sa.Column("closing", sa.SmallInteger, nullable=False),
        sa.Column("answered_ms", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "question_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Forget them: a contract that was parked is queued, and asks again."""
    op.drop_table("answers")
    op.drop_table("questions")
