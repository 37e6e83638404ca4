"""A run is acknowledged before it is committed."""

from __future__ import annotations

from muster.scheduler.committer import Committer
from tests.faults.planted import put


def plant() -> None:
    """Lets nobody wait for a commit."""

    async def at_once(_: Committer) -> None:
        return

    put(Committer, "barrier", at_once)
