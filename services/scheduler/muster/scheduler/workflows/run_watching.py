"""Who follows runs, and is told of their entries after these are committed."""

from __future__ import annotations

import asyncio
from collections import deque

from muster.model import limits
from muster.model.errors import MusterError, ResourceExhausted
from muster.scheduler.workflows.journal import without_data
from muster.scheduler.workflows.run import Run
from muster.v1.workflow_run_pb2 import RunEvent


class RunWatcher:
    """One watch call's backlog."""

    def __init__(self, tenant: str, run_id: int = 0) -> None:
        self.tenant = tenant
        self.run_id = run_id
        self.events: deque[RunEvent] = deque()
        self._error: MusterError | None = None
        self._something = asyncio.Event()

    def put(self, event: RunEvent) -> None:
        """Add an entry; beyond the bound the watcher is cut off."""
        if len(self.events) >= limits.RUN_WATCHER_EVENTS_MAX:
            self.fail(
                ResourceExhausted(
                    "the watcher was too slow; watch again after the last sequence",
                    reason="WATCHER_TOO_SLOW",
                )
            )
            self.events.clear()
        elif self._error is None:
            self.events.append(event)
            self._something.set()

    def fail(self, error: MusterError) -> None:
        """Whoever waits gets this error."""
        self._error = error
        self._something.set()

    async def take(self) -> list[RunEvent]:
        """What has come since the last time, at least one entry."""
        await self._something.wait()
        self._something.clear()
        if self._error is not None:
            raise self._error
        events = list(self.events)
        self.events.clear()
        return events


class RunWatchers:
    """All of them."""

    def __init__(self) -> None:
        self._of_runs: dict[int, list[RunWatcher]] = {}
        self._of_tenants: dict[str, list[RunWatcher]] = {}
        self._count = 0

    def add(self, watcher: RunWatcher) -> None:
        """Feed it from now on. Raises `ResourceExhausted` where there are too many."""
        if self._count >= limits.RUN_WATCHERS_MAX:
            raise ResourceExhausted(
                f"{limits.RUN_WATCHERS_MAX} watches of runs are open; try again later",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )
        self._count += 1
        self._place(watcher).append(watcher)

    def remove(self, watcher: RunWatcher) -> None:
        """Feed it no longer."""
        self._count -= 1
        self._place(watcher).remove(watcher)
        if watcher.run_id and not self._of_runs[watcher.run_id]:
            del self._of_runs[watcher.run_id]
        elif not watcher.run_id and not self._of_tenants[watcher.tenant]:
            del self._of_tenants[watcher.tenant]

    def _place(self, watcher: RunWatcher) -> list[RunWatcher]:
        if watcher.run_id:
            return self._of_runs.setdefault(watcher.run_id, [])
        return self._of_tenants.setdefault(watcher.tenant, [])

    def tell(self, run: Run, event: RunEvent) -> None:
        """A committed entry."""
        of_run = self._of_runs.get(run.id)
        of_tenant = self._of_tenants.get(run.row.tenant)
        if of_run or of_tenant:
            bare = without_data(event)
            for watcher in (*(of_run or ()), *(of_tenant or ())):
                watcher.put(bare)

    def moved(self, run_id: int, error: MusterError) -> None:
        """Another scheduler has the run now."""
        for watcher in self._of_runs.get(run_id, ()):
            watcher.fail(error)
