"""A request_id is forgotten as soon as its contract has ended."""

from __future__ import annotations

import sqlite3

from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.ledger import Batch, CommitResult
from tests.faults.planted import put


def plant() -> None:
    """Frees the scope of every contract that a commit ends."""
    commit = SqliteLedger.commit

    async def and_forget(self: SqliteLedger, batch: Batch) -> CommitResult:
        result = await commit(self, batch)
        ended = [(row[0],) for segment in batch.segments for row in segment.responses]
        if ended:
            with sqlite3.connect(self._path) as db:
                free = "UPDATE contracts SET principal = principal || ' ' || id WHERE id = ?"
                assert db.executemany(free, ended).rowcount == len(ended)
        return result

    put(SqliteLedger, "commit", and_forget)
