"""Sessions that say of one host that it is there, while another says so too.

A host that was killed, and started again elsewhere, has a new session; its old one goes on until
the executor that had it has noticed. That executor may have stood still meanwhile, and tell of the
old session after the new one. Which of them lives shows soon: the other one ends. Until then its
agents wait; if it does not end, there really are two hosts of that name, and one has to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.model import limits

if TYPE_CHECKING:
    from muster.scheduler.core_sessions import AgentInfo

# A session of a host that is gone has ended by then, whoever has to notice.
PATIENCE_SECONDS = 2 * limits.LEASE_SECONDS

Key = tuple[str, str]  # session and agent


@dataclass(slots=True)
class _Rival:
    info: AgentInfo
    until: float | None = None  # monotonic seconds


class Rivals:
    """Agents of sessions whose host seems to be there with a newer one. They get no work."""

    def __init__(self) -> None:
        self._waiting: dict[Key, _Rival] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, session_id: str, info: AgentInfo) -> None:
        """It waits, as it is now."""
        known = self._waiting.get((session_id, info.name))
        self._waiting[session_id, info.name] = _Rival(info, known.until if known else None)

    def lend(self, session_id: str, name: str, slots: int) -> None:
        """So many slots of it are ours to use."""
        rival = self._waiting.get((session_id, name))
        if rival is not None:
            rival.info = rival.info._replace(window=slots)

    def forget(self, session_id: str, name: str = "") -> None:
        """It is gone, or with an empty name everything of its session."""
        for key in [key for key in self._waiting if key[0] == session_id]:
            if not name or key[1] == name:
                del self._waiting[key]

    def take(self, session_ids: set[str], names: set[str]) -> list[tuple[str, AgentInfo]]:
        """Those of these sessions and names, which wait no longer."""
        keys = [key for key in self._waiting if key[0] in session_ids and key[1] in names]
        return [(key[0], self._waiting.pop(key).info) for key in keys]

    def overdue(self, now: float) -> list[Key]:
        """Those that have waited for too long, and do so no longer. `now` in monotonic seconds."""
        for rival in self._waiting.values():
            if rival.until is None:
                rival.until = now + PATIENCE_SECONDS
        keys = [key for key, rival in self._waiting.items() if (rival.until or now) < now]
        for key in keys:
            del self._waiting[key]
        return keys
