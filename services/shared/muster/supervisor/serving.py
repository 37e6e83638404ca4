"""What a mesh keeps running, and how it is: services, and the servers that they stand on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from muster.backends.pool_subprocess.kept import EXIT_MISCONFIGURED, Kept, KeptState
from muster.supervisor.health import Health
from muster.supervisor.plan import Refused, Service, StartError
from muster.supervisor.words import last_words


@dataclass
class ServiceStatus:
    """How a service is, for whoever shows it."""

    service: Service
    kept: Kept
    health: Health = Health.UNREACHABLE
    since: float = field(default_factory=time.monotonic)
    # Of `health`; monotonic seconds.

    @property
    def state(self) -> str:
        """In a word or two."""
        last = self.kept.last
        return self.health.value if last.state is KeptState.RUNNING else last.state.value


@dataclass
class BackendStatus:
    """How a server is, for whoever shows it."""

    name: str
    address: str
    kept: Kept | None = None
    # None where somebody else runs it.

    answers: bool = False
    since: float = field(default_factory=time.monotonic)
    # Of `answers`; monotonic seconds.

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.kept is not None and self.kept.last.state is not KeptState.RUNNING:
            return str(self.kept.last.state.value)
        return str((Health.SERVING if self.answers else Health.UNREACHABLE).value)


def require_alive(kept: Kept, starts_max: int = 1) -> None:
    """Raises `StartError` when a process has ended before it ever served.

    `starts_max` says how often it may try, where what hinders it may be about to go.
    """
    name = kept.command.name
    if kept.last.state is KeptState.RUNNING and kept.last.starts <= starts_max:
        return
    if kept.last.state is KeptState.WAITING and kept.last.starts < starts_max:
        return  # its task has not begun, or it tries again
    words = last_words(kept.log.last_lines())
    if kept.last.code == EXIT_MISCONFIGURED and starts_max == 1:
        raise Refused(words or f"{name} refuses to start")
    message = f"{name} {kept.last.detail or 'has ended'}" + (f": {words}" if words else "")
    raise StartError(f"{message}\nits log: {kept.log.path}")
