"""Every commit is acknowledged before it is done: it is done when the next one comes."""

from __future__ import annotations

from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.ledger import Batch, CommitResult
from tests.faults.planted import put


def plant() -> None:
    """The ledger is one batch behind."""
    commit = SqliteLedger.commit
    waiting: list[Batch] = []

    async def one_late(self: SqliteLedger, batch: Batch) -> CommitResult:
        waiting.append(batch)
        if len(waiting) == 1:
            return CommitResult(0, (), 0.0)
        return await commit(self, waiting.pop(0))

    put(SqliteLedger, "commit", one_late)
