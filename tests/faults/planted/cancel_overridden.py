"""A report that comes after a cancel that was OK replaces the cancel's outcome."""

from __future__ import annotations

from muster.model.states import ContractState
from tests.faults.planted.overwriting import plant_overwriting


def plant() -> None:
    """The agent wins."""
    plant_overwriting(lambda end: end.state is ContractState.CANCELLED)
