"""A report counts for its contract whatever its epoch and its session."""

from __future__ import annotations

from muster.scheduler.core_attempts import Attempts
from muster.scheduler.records import Contract
from tests.faults.planted import put


def plant() -> None:
    """Any lease will do."""

    def held(self: Attempts, session_id: str, contract_id: int, epoch: int) -> Contract | None:
        contract = self._core.contracts.get(contract_id)
        return contract if contract is not None and contract.lease is not None else None

    put(Attempts, "held", held)
