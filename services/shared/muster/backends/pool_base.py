"""What runs hosted agents: processes here, or actors of a cluster elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, Self

from muster.model.fleet import HostJob


class HostState(Enum):
    """How a host of the pool is. Whether the mesh has welcomed it, the mesh knows."""

    RUNNING = "running"  # it was started
    WAITING = "waiting"  # it died, and is started again after a pause
    STOPPING = "stopping"  # it was asked to finish and leave
    STOPPED = "stopped"  # it has ended, and nothing of it is left
    REFUSED = "refused"  # it says that it can never run like this; another start would not help


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host as its pool sees it."""

    name: str
    state: HostState
    place: str
    # Where it runs, for people: "pid 4711".

    starts: int
    # How often it was started; every start after the first replaced a dead one.

    detail: str = ""
    # How it ended last, for people.

    pid: int | None = None
    # Of the process, where it is one of this machine.

    pause_seconds: float = 0.0
    # Until the next start, while it is WAITING.


# Hears of every change of a host, at once and in order. It must not wait or raise.
OnChange = Callable[[HostStatus], None]


class PoolError(Exception):
    """The pool cannot do this; the message says why."""


class Pool(Protocol):
    """Runs hosts. Used inside `async with`: when that is left, every host is stopped.

    A host that ends without being told to is replaced, after a pause that grows while it keeps
    dying, and never before everything of the old one is gone.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def start(self, job: HostJob) -> None:
        """Starts a host, and returns without waiting until it is connected.

        Raises `PoolError` when a host of that name is there already, or none can be started.
        """
        ...

    async def stop(self, name: str, grace_seconds: float) -> None:
        """Lets a host finish what it holds, for at most so long, and ends it.

        When it returns, nothing of the host is left. Stopping a host that has ended, or one that
        the pool has never had, does nothing.
        """
        ...

    def hurry(self) -> None:
        """Cuts every grace short: what does not end at once is killed."""
        ...

    def status(self) -> list[HostStatus]:
        """Every host that was started, in that order."""
        ...

    def last_lines(self, name: str) -> list[str]:
        """What a host has written last, as far as that is known here."""
        ...
