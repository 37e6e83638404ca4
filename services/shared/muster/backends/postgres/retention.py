"""The statements that forget what has been kept long enough.

Ids begin with the time of acceptance, and nothing ends before it was accepted: walking ended
contracts by id, up to the first id of that instant, finds what is old without an index of its own.
"""

from __future__ import annotations

_SHARD = "((r.contract_id >> 15) & 63)::smallint"  # as `muster.model.ids` makes ids

# At most $3 contracts of the shards $4 that ended before $2 (Unix ms); $1 is the first id then.
ENDED = (
    "SELECT r.contract_id, c.tenant, r.state FROM responses r "
    "JOIN contracts c ON c.id = r.contract_id "
    f"WHERE r.contract_id < $1::bigint AND r.ended_ms < $2::bigint AND {_SHARD} = ANY($4::smallint[]) "  # noqa: E501
    "ORDER BY r.contract_id LIMIT $3::bigint"
)

# Everything that is kept of the contracts $1.
DELETES = tuple(
    f"DELETE FROM {table} WHERE {column} = ANY($1::bigint[])"
    for table, column in (
        ("items", "contract_id"),
        ("starts", "contract_id"),
        ("endings", "contract_id"),
        ("answers", "subject_id"),
        ("questions", "subject_id"),
        ("leases", "contract_id"),
        ("responses", "contract_id"),
        ("contracts", "id"),
    )
)

SETTLED = (
    "INSERT INTO settled (shard, before_id, open_ids) "
    "SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) "
    "ON CONFLICT (shard) DO UPDATE SET before_id = excluded.before_id, open_ids = excluded.open_ids"
)

# Of the shards $1, what is both far behind ($2, a position) and old ($3, Unix ms): whoever takes a
# shard over may go on from a position far ahead of its own. What has not been published on the bus
# is kept until it is farther behind ($4).
OUTBOX_TRIM = (
    "WITH gone AS (DELETE FROM shard_outbox o WHERE shard = ANY($1::smallint[]) "
    "AND position <= greatest($4::bigint, least($2::bigint, "
    "(SELECT p.position FROM published p WHERE p.shard = o.shard))) "
    "AND time_ms < $3::bigint RETURNING shard, position), "
    "last AS (SELECT shard, max(position) AS position FROM gone GROUP BY shard) "
    "UPDATE shards s SET trimmed = last.position FROM last "
    "WHERE s.shard = last.shard AND s.trimmed < last.position"
)
OUTBOX_SECONDS_KEPT_MIN = 600.0
