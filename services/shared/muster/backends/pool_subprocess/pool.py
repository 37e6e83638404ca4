"""The pool whose hosts are processes of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from muster.backends.pool_base import HostState, HostStatus, OnChange, PoolError
from muster.backends.pool_subprocess.kept import Change, Kept, KeptState, pause_seconds
from muster.backends.pool_subprocess.process import Command, module_words
from muster.model import limits
from muster.model.fleet import HostJob

JOB_VARIABLE = "MUSTER_HOST_JOB"


def nobody(_status: HostStatus) -> None:
    """Hears of a host's change and does nothing."""


class SubprocessPool:
    """Runs each host as `python -m muster.hosting`.

    `environment` is all that hosts get: where the mesh is, and whatever their agents read. Each
    writes to `<logs>/<its name>.log`.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        logs: Path,
        on_change: OnChange = nobody,
        *,
        stop_seconds: float = limits.HOST_STOP_SECONDS,
        module: str = "muster.hosting",
        pause: Callable[[int], float] = pause_seconds,
    ) -> None:
        self._environment = environment
        self._logs = logs
        self._on_change = on_change
        self._stop_seconds = stop_seconds
        self._module = module
        self._pause = pause
        self._kept: dict[str, Kept] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for kept in self._kept.values():
            kept.request_stop(self._stop_seconds)
        # Without the error, so that hosts are not cancelled with the block but finish.
        await self._tasks.__aexit__(None, None, None)

    async def start(self, job: HostJob) -> None:
        """Starts a host; see `Pool`."""
        held = self._kept.get(job.name)
        if held is not None and held.last.state not in (KeptState.STOPPED, KeptState.REFUSED):
            message = f"there is a host {job.name} already"
            raise PoolError(message)
        command = Command(
            name=job.name,
            # The job's name is there only so that people can tell processes apart.
            words=module_words(self._module, job.name),
            environment={**self._environment, JOB_VARIABLE: job.to_json()},
            log=self._logs / f"{job.name}.log",
        )
        kept = self._kept[job.name] = Kept(command, self._changed, pause=self._pause)
        self._tasks.create_task(kept.run(), name=f"host {job.name}")

    async def stop(self, name: str, grace_seconds: float) -> None:
        """Ends a host; see `Pool`."""
        kept = self._kept.get(name)
        if kept is not None:
            kept.request_stop(grace_seconds)
            await kept.wait()

    def hurry(self) -> None:
        """Cuts every grace short: what does not end at once is killed."""
        for kept in self._kept.values():
            kept.hurry()

    def status(self) -> list[HostStatus]:
        """Every host; see `Pool`."""
        return [status_of(kept.last) for kept in self._kept.values()]

    def last_lines(self, name: str) -> list[str]:
        """What a host's newest process has written last."""
        return self._kept[name].log.last_lines()

    def _changed(self, change: Change) -> None:
        self._on_change(status_of(change))


def status_of(change: Change) -> HostStatus:
    """A kept process as the pool tells of it."""
    place = f"pid {change.pid}" if change.pid is not None else ""
    return HostStatus(
        name=change.name,
        state=HostState(change.state.value),
        place=change.place or place,
        starts=change.starts,
        detail=change.detail,
        pid=change.pid,
        pause_seconds=change.pause_seconds,
    )
