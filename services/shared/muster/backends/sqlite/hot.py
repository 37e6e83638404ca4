"""The statements of every contract's life, as SQLite likes them best.

Plain text with positional parameters for the driver's `executemany`: SQLAlchemy's own costs a
quarter of the throughput here. Parameters are the columns of `muster.model.ledger`, in order.

The fence stands in the WHERE clauses (`muster.backends.sql.fence`).
"""

from __future__ import annotations

from muster.backends.sql import fence
from muster.model.ledger import (
    ANSWER_COLUMNS,
    CONTRACT_COLUMNS,
    ENDING_COLUMNS,
    ITEM_COLUMNS,
    LEASE_COLUMNS,
    QUESTION_COLUMNS,
    RESPONSE_COLUMNS,
    START_COLUMNS,
)

# Rows of one statement. SQLite gives up the GIL for each statement's work, and to get it back from
# a busy event loop takes longer than the work: row by row, a batch waits for that at every row.
CHUNKS = (64, 32, 16, 8, 4, 2, 1)


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)})"


def _marks(columns: tuple[str, ...]) -> str:
    return ", ".join(f"?{n}" for n in range(1, len(columns) + 1))


def _rows(columns: tuple[str, ...], count: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return ", ".join([row] * count)


# A scope that is taken leaves the row out; the caller compares the number of rows.
CONTRACTS = {
    count: f"{_insert('contracts', CONTRACT_COLUMNS)} VALUES {_rows(CONTRACT_COLUMNS, count)} "
    "ON CONFLICT (tenant, principal, request_id) DO NOTHING"
    for count in CHUNKS
}

LEASES = (
    f"{_insert('leases', LEASE_COLUMNS)} SELECT {_marks(LEASE_COLUMNS)} FROM contracts c "
    f"WHERE c.id = ?1 AND {fence.lease('?1', '?2')}"
)

STARTS = (
    f"{_insert('starts', START_COLUMNS)} VALUES ({_marks(START_COLUMNS)}) "
    "ON CONFLICT (contract_id, epoch) DO NOTHING"
)

ITEMS = (
    f"{_insert('items', ITEM_COLUMNS)} VALUES ({_marks(ITEM_COLUMNS)}) "
    "ON CONFLICT (contract_id, epoch, idx) DO NOTHING"
)

ENDINGS = (
    f"{_insert('endings', ENDING_COLUMNS)} SELECT {_marks(ENDING_COLUMNS)} FROM contracts c "
    f"WHERE c.id = ?1 AND {fence.ending('?1', '?2')}"
)

QUESTIONS = (
    f"{_insert('questions', QUESTION_COLUMNS)} SELECT {_marks(QUESTION_COLUMNS)} "
    f"WHERE {fence.question('?1', '?4')} ON CONFLICT (subject_id, question_id) DO NOTHING"
)

ANSWERS = (
    f"{_insert('answers', ANSWER_COLUMNS)} SELECT {_marks(ANSWER_COLUMNS)} "
    f"WHERE {fence.answer('?1', '?2')} ON CONFLICT (subject_id, question_id) DO NOTHING"
)

_RESPONSE = {name: f"v.column{n}" for n, name in enumerate(RESPONSE_COLUMNS, 1)}
_MAY_RESPOND = fence.response(_RESPONSE["contract_id"], _RESPONSE["epoch"], _RESPONSE["author"])
RESPONSES = {
    count: f"{_insert('responses', RESPONSE_COLUMNS)} SELECT v.* "
    f"FROM (VALUES {_rows(RESPONSE_COLUMNS, count)}) v JOIN contracts c ON c.id = v.column1 "
    f"WHERE {_MAY_RESPOND} ON CONFLICT (contract_id) DO NOTHING"
    for count in CHUNKS
}

CATALOGUE = (
    "INSERT INTO catalogue (tenant, name, version, revision, created_ms, capability) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (tenant, name, version) DO NOTHING"
)

OUTBOX = "INSERT INTO outbox (position, time_ms, events) VALUES (?1, ?2, ?3)"
# Up to ?1, or to what has been published if that is less, but in any case up to ?2.
OUTBOX_TRIM = (
    "DELETE FROM outbox WHERE position <= "
    "max(?2, min(?1, coalesce((SELECT position FROM published WHERE shard = 0), ?1)))"
)
PUBLISHED = (
    "INSERT INTO published (shard, position) VALUES (?1, ?2) "
    "ON CONFLICT (shard) DO UPDATE SET position = max(position, excluded.position)"
)

SETTLED = "INSERT OR REPLACE INTO settled (shard, before_id, open_ids) VALUES (?1, ?2, ?3)"

# Rows only of shards that somebody has taken over since.
FOREIGN_SHARDS = "SELECT count(*) FROM shards WHERE generation != ?1"

SCOPE_OWNER = (
    "SELECT id, body_sha256 FROM contracts WHERE tenant = ?1 AND principal = ?2 AND request_id = ?3"
)
EXISTS = {
    "leases": "SELECT 1 FROM leases WHERE contract_id = ?1 AND epoch = ?2",
    "endings": "SELECT 1 FROM endings WHERE contract_id = ?1 AND epoch = ?2",
    "questions": "SELECT 1 FROM questions "
    "WHERE subject_id = ?1 AND question_id = ?2 AND epoch = ?3",
    "answers": "SELECT 1 FROM answers "
    "WHERE subject_id = ?1 AND question_id = ?2 AND closing = ?3 AND answer = ?4",
    "responses": "SELECT 1 FROM responses WHERE contract_id = ?1 AND epoch = ?2 AND author = ?3",
}
# What of a row says that it is there already, by its places.
KEYS = {
    "leases": (0, 1),
    "endings": (0, 1),
    "questions": (0, 1, QUESTION_COLUMNS.index("epoch")),
    "answers": (0, 1, ANSWER_COLUMNS.index("closing"), ANSWER_COLUMNS.index("answer")),
    "responses": (0, 1, RESPONSE_COLUMNS.index("author")),
}

# Progress supersedes itself; of logs only the newest bytes are kept.
PROGRESS_TRIM = "DELETE FROM items WHERE contract_id = ?1 AND epoch = ?2 AND kind = 1 AND idx < ?3"

# Everything before the line with which, counted from the newest, the bytes ?3 are full.
LOG_TRIM = (
    "DELETE FROM items WHERE contract_id = ?1 AND epoch = ?2 AND kind = 2 AND idx < ("
    "SELECT max(idx) FROM (SELECT idx, sum(length(item)) OVER (ORDER BY idx DESC) AS bytes "
    "FROM items WHERE contract_id = ?1 AND epoch = ?2 AND kind = 2) WHERE bytes >= ?3)"
)
