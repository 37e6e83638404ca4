"""The statements that forget contracts whose retention is over.

Ids begin with the time of acceptance, and nothing ends before it was accepted: walking ended
contracts by id, up to the first id of that instant, finds what is old without an index of its own.
"""

from __future__ import annotations

# At most ?3 contracts that ended before ?2 (Unix ms); ?1 is the first id of that instant.
ENDED = (
    "SELECT r.contract_id, c.tenant, r.state FROM responses r "
    "JOIN contracts c ON c.id = r.contract_id "
    "WHERE r.contract_id < ?1 AND r.ended_ms < ?2 ORDER BY r.contract_id LIMIT ?3"
)

# Everything that is kept of contracts; ?1 is their ids as a JSON array.
DELETES = tuple(
    f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?1))"
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
