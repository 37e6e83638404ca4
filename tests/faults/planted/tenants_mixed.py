"""Every tenant's contracts are placed on the agents of one."""

from __future__ import annotations

from typing import Any

from muster.scheduler.fleet import Fleet
from tests.faults.planted import put


def plant() -> None:
    """Looks for agents in the default tenant, whoever asks."""
    pool = Fleet.pool

    def of_default(self: Fleet, key: tuple[Any, ...]) -> Any:
        return pool(self, ("default", *key[1:]))

    put(Fleet, "pool", of_default)
