"""The end of a contract is counted twice."""

from __future__ import annotations

from muster.model.ledger import CommitResult
from muster.scheduler.applying import Applying
from muster.scheduler.committer import Pending
from muster.scheduler.effects import End
from muster.scheduler.records import Now
from tests.faults.planted import put


def plant() -> None:
    """Counts once more after each commit."""
    committed = Applying.committed

    def and_count(self: Applying, pending: Pending, result: CommitResult, now: Now) -> None:
        committed(self, pending, result, now)
        for change in pending.changes:
            if isinstance(change, End):
                self.ended[change.contract.tenant, change.state] += 1

    put(Applying, "committed", and_count)
