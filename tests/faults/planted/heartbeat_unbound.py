"""A heartbeat keeps the leases of every session, not only those of its own."""

from __future__ import annotations

from muster.executor.core_host import HostSide
from muster.executor.core_state import Session
from tests.faults.planted import put


def plant() -> None:
    """Whoever speaks speaks for all."""
    heartbeat = HostSide.heartbeat

    def for_all(self: HostSide, session: Session, now: float) -> None:
        heartbeat(self, session, now)
        for other in self._book.sessions.values():
            other.renewed = other.contact = now

    put(HostSide, "heartbeat", for_all)
