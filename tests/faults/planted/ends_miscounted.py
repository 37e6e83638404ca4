"""The end of a contract is counted twice."""

from __future__ import annotations

from muster.model.ledger import CommitResult
from muster.scheduler.applying import Applying
from muster.scheduler.committer import After
from muster.scheduler.effects import End
from tests.faults.planted import put


def plant() -> None:
    """Counts once more after each commit."""
    committed = Applying.committed

    def and_count(self: Applying, after: list[After], result: CommitResult) -> None:
        committed(self, after, result)
        for effect, _ in after:
            if isinstance(effect, End):
                self.ended[effect.contract.tenant, effect.state] += 1

    put(Applying, "committed", and_count)
