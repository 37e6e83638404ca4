"""Epochs begin again after every start, for their generation stays the same."""

from __future__ import annotations

import muster.scheduler.service as service
from muster.model.ids import EpochMaker
from tests.faults.planted import put


def plant() -> None:
    """Always the first generation."""
    put(service, "EpochMaker", lambda _generation: EpochMaker(1))
