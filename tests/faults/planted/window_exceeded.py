"""Scheduler and executor both count one slot too many at every agent."""

from __future__ import annotations

from typing import Any

from muster.executor.core_sessions import SessionSide
from muster.scheduler.core_sessions import AgentInfo, Sessions
from tests.faults.planted import put


def plant() -> None:
    """Widens the window where each of them learns it."""
    of_scheduler, of_executor = Sessions.attach, SessionSide.attach

    def attach(self: Sessions, session_id: str, info: AgentInfo) -> None:
        of_scheduler(self, session_id, info._replace(window=info.window + 1))

    def attach_too(self: SessionSide, session: Any, name: str, window: int, *more: Any) -> None:
        of_executor(self, session, name, window + 1, *more)

    put(Sessions, "attach", attach)
    put(SessionSide, "attach", attach_too)
