"""The ledger's tables.

Slim on purpose: in the life of a contract that is placed at once there are two rows, the contract
(with its first lease) and the response. Later leases, recorded starts and endings of attempts are
rows of their own, so that nothing is ever updated: the fence compares rows, and lifecycle events
are derived from them (`muster.model.ledger.events_of`).

Times are Unix milliseconds. Ids and epochs are described in `muster.model.ids`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

metadata = MetaData()

# SQLite wants exactly INTEGER for a rowid; 64 bits there, and BIGINT elsewhere.
Id = BigInteger().with_variant(Integer(), "sqlite")

contracts = Table(
    "contracts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("capability", Text, nullable=False),
    Column("conversation", Text, nullable=False),
    Column("parent_id", Id, nullable=False),
    Column("root_id", Id, nullable=False),
    Column("depth", SmallInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("accepted_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    Column("agent_kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    # The idempotency scope. The database, not the code, makes it unique.
    Index("contracts_scope", "tenant", "principal", "request_id", unique=True),
)
# Its three partial indexes (parent, root, conversation) stand in the first migration only: whoever
# says `postgresql_where` imports that dialect, a tenth of a second of each start on SQLite.

leases = Table(
    "leases",
    metadata,
    Column("contract_id", Id, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    Column("agent_kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("leased_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("contract_id", "epoch"),
    sqlite_with_rowid=False,
)

starts = Table(
    "starts",
    metadata,
    Column("contract_id", Id, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("contract_id", "epoch"),
    sqlite_with_rowid=False,
)

endings = Table(
    "endings",
    metadata,
    Column("contract_id", Id, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("failure", LargeBinary, nullable=False),
    PrimaryKeyConstraint("contract_id", "epoch"),
    sqlite_with_rowid=False,
)

responses = Table(
    "responses",
    metadata,
    # The primary key is what refuses a second response.
    Column("contract_id", Id, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("author", SmallInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("response", LargeBinary, nullable=False),
)

# What a person is asked, by an attempt that ended with it or by a workflow run. Those of runs have
# an index of their own, which stands in the migration only, as above.
questions = Table(
    "questions",
    metadata,
    Column("subject_id", Id, nullable=False),
    Column("question_id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # 0: of a run
    Column("asked_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("question", LargeBinary, nullable=False),
    PrimaryKeyConstraint("subject_id", "question_id"),
    sqlite_with_rowid=False,
)

answers = Table(
    "answers",
    metadata,
    # The primary key is what refuses a second answer.
    Column("subject_id", Id, nullable=False),
    Column("question_id", Text, nullable=False),
    Column("closing", SmallInteger, nullable=False),
    Column("answered_ms", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    PrimaryKeyConstraint("subject_id", "question_id"),
    sqlite_with_rowid=False,
)

items = Table(
    "items",
    metadata,
    Column("contract_id", Id, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("idx", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("item", LargeBinary, nullable=False),
    PrimaryKeyConstraint("contract_id", "epoch", "idx"),
    sqlite_with_rowid=False,
)

# Where one process owns every shard: one row per transaction that made events true, with (contract
# id, sequence) pairs, 16 bytes each.
outbox = Table(
    "outbox",
    metadata,
    Column("position", Id, primary_key=True, autoincrement=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("events", LargeBinary, nullable=False),
)

# Where several do: a row per transaction and shard, since positions mean something within a shard
# only. Both are read with `Ledger.history`.
shard_outbox = Table(
    "shard_outbox",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("events", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "position"),
)

catalogue = Table(
    "catalogue",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("capability", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "version"),
    sqlite_with_rowid=False,
)

# Who may write: every transaction of an owner is conditional on its generation.
shards = Table(
    "shards",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    # Positions up to this one are gone from `shard_outbox`.
    Column("trimmed", BigInteger, nullable=False, server_default="0"),
)

# How far each shard's events have been published on the bus; shard 0 stands for all of them where
# one process owns them. No row where there never was a bus.
published = Table(
    "published",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
)

# Every contract of a shard before this id has ended, but for those named, as an owner has noted.
settled = Table(
    "settled",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("before_id", BigInteger, nullable=False),
    Column("open_ids", LargeBinary, nullable=False),  # 64-bit integers
)

# The schedulers that share a ledger. Who has not renewed by `expires_at`, on the database's clock,
# is dead: others may take its shards.
members = Table(
    "members",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("incarnation", BigInteger, nullable=False),  # which of those that had this name
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

# --- what is no contract: `muster.model.records` describes the columns ----------------------------

workflows = Table(
    "workflows",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("principal", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("workflow", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "version"),
)

workflow_runs = Table(
    "workflow_runs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("start_id", Text, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("engine", SmallInteger, nullable=False),
    Column("conversation", Text, nullable=False),
    Column("parent_id", BigInteger, nullable=False),
    Column("parent_step", Text, nullable=False),
    Column("parent_item", Integer, nullable=False),
    Column("parent_revision", Integer, nullable=False),
    Column("forked_from", BigInteger, nullable=False),
    Column("forked_step", Text, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("input", LargeBinary, nullable=False),
    # Starting is idempotent in this.
    Index("workflow_runs_scope", "tenant", "principal", "start_id", unique=True),
)

workflow_heads = Table(
    "workflow_heads",
    metadata,
    Column("run_id", Id, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("conversation", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("is_open", SmallInteger, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Index("workflow_heads_open", "is_open", "ended_ms"),
    Index("workflow_heads_tenant", "tenant", "run_id"),
)

workflow_journal = Table(
    "workflow_journal",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("event", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run_id", "sequence"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("principal", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "name"),
)

schedule_ticks = Table(
    "schedule_ticks",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tick_ms", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),  # more than one where somebody triggers it
    Column("recorded_ms", BigInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("target", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("ticks", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "tick_ms", "number"),
)

memory_blocks = Table(
    "memory_blocks",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("conversation", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("through_id", BigInteger, nullable=False),
    Column("floor_id", BigInteger, nullable=False),
    Column("contracts", LargeBinary, nullable=False),
    Column("block", LargeBinary, nullable=False),
    Column("trace", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "conversation", "number"),
    Index("memory_blocks_tenant", "tenant", "through_id"),
)

agent_states = Table(
    "agent_states",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("principal", Text, nullable=False),
    Column("put_id", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "agent", "name"),
)

# Blobs in the database, whole ones and those that still arrive.
blobs = Table(
    "blobs",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger),  # none until it is whole
    Column("received_bytes", BigInteger, nullable=False),
    Column("upload", BigInteger, nullable=False),  # the newest; an older one writes nothing more
    Column("changed_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "sha256"),
)

blob_chunks = Table(
    "blob_chunks",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # where in the blob it begins
    Column("chunk", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "sha256", "at"),
)
