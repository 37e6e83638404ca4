"""The end of a contract is counted twice."""

from __future__ import annotations

from muster.model.states import ContractState
from muster.scheduler.housekeeping import EndedCounts
from tests.faults.planted import put


def plant() -> None:
    """Counts once more."""
    add = EndedCounts.add

    def add_twice(self: EndedCounts, shard: int, tenant: str, state: ContractState) -> None:
        add(self, shard, tenant, state)
        add(self, shard, tenant, state)

    put(EndedCounts, "add", add_twice)
