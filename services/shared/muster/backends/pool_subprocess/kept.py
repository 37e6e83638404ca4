"""A process that is kept running: started again when it dies, until it is told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from muster.backends.pool_subprocess.process import Command, Ending, Log, Process
from muster.model import limits

EXIT_MISCONFIGURED = 2


def pause_seconds(quick_deaths: int) -> float:
    """How long to wait before the next start, after so many deaths in a row that came soon.

    The first comes at once: most deaths are accidents, and the work waits.
    """
    if quick_deaths <= 1:
        return limits.RESTART_SECONDS_MIN * quick_deaths
    doubled: float = limits.RESTART_SECONDS_MIN * 2.0 ** min(quick_deaths - 1, 30)
    return min(doubled, limits.RESTART_SECONDS_MAX)


class KeptState(Enum):
    """How a kept process is."""

    RUNNING = "running"
    WAITING = "waiting"  # for its next start
    STOPPING = "stopping"
    STOPPED = "stopped"
    REFUSED = "refused"  # it ended with the code that says "misconfigured"


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of a kept process."""

    name: str
    state: KeptState
    starts: int
    # How often it was started.

    pid: int | None = None
    detail: str = ""
    # How it ended, for people.

    code: int | None = None
    pause_seconds: float = 0.0
    place: str = ""
    # Where it runs, for people, if that is not this machine.


class Running(Protocol):
    """A process, here or elsewhere, from its start to its end."""

    @property
    def begun(self) -> asyncio.Future[Any]:
        """Done when it is there."""

    @property
    def exited(self) -> asyncio.Future[Any]:
        """Done when it has ended, also if it was never there."""

    @property
    def pid(self) -> int | None:
        """Its number, if it is one of this machine."""

    @property
    def place(self) -> str:
        """Where it runs, for people; empty on this machine."""

    def terminate(self) -> None:
        """Asks it to end."""

    def reap(self) -> Ending:
        """Ends what is left of it and of what it has started, and says how it ended."""

    async def gone(self) -> None:
        """Returns when nothing is left of what `reap` has ended."""


# Starts what a command names, with its log. Raises `OSError` where it cannot be started.
Start = Callable[[Command, Log], Running]


class Kept:
    """Keeps one process. Its owner runs `run` in a task, which ends when nothing is left.

    `retry_refused` says whether a process that calls itself misconfigured is started again: what
    it misses may come back. `pause` is `pause_seconds`, or what a test says instead. `start` is
    what starts it, if it is no child of ours.
    """

    def __init__(
        self,
        command: Command,
        tell: Callable[[Change], None],
        *,
        retry_refused: bool = False,
        pause: Callable[[int], float] = pause_seconds,
        start: Start = Process.start,
    ) -> None:
        self.command = command
        self.log = Log(command.log)
        self.last = Change(command.name, KeptState.WAITING, 0)
        self._tell = tell
        self._retry_refused = retry_refused
        self._pause = pause
        self._start = start
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[None] = loop.create_future()
        self._hurry: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._grace_seconds = 0.0

    def request_stop(self, grace_seconds: float) -> None:
        """Asks it to end, and kills it when it has not ended after the grace."""
        if not self._stop.done():
            self._grace_seconds = grace_seconds
            self._stop.set_result(None)

    def hurry(self) -> None:
        """Cuts short the grace of a stop, also of one that is yet to come."""
        if not self._hurry.done():
            self._hurry.set_result(None)

    async def wait(self) -> None:
        """Returns when `run` has ended, and nothing of the process is left."""
        await asyncio.wait([self._ended])

    async def run(self) -> None:
        """Keeps the process running until it is told to stop; cancelled, it kills."""
        try:
            await self._run()
        finally:
            if not self._ended.done():
                self._ended.set_result(None)

    async def _run(self) -> None:
        quick_deaths = 0
        while not self._stop.done():
            began = time.monotonic()
            code: int | None = None
            try:
                ended = await self._run_once()
                code, detail = ended.code, ended.detail
            except OSError as error:
                detail = f"could not be started: {error.strerror}"
            if self._stop.done():
                break
            if code == EXIT_MISCONFIGURED and not self._retry_refused:
                self._say(KeptState.REFUSED, detail=detail, code=code)
                return
            steady = time.monotonic() - began > limits.RESTART_STEADY_SECONDS
            quick_deaths = 0 if steady else quick_deaths + 1
            pause = self._pause(quick_deaths)
            self._say(KeptState.WAITING, detail=detail, code=code, pause_seconds=pause)
            await _first(pause, self._stop)
        self._say(KeptState.STOPPED, code=self.last.code)

    async def _run_once(self) -> Ending:
        process = self._start(self.command, self.log)
        try:
            await _first(None, process.begun, process.exited, self._stop)
            if process.begun.done():
                starts = self.last.starts + 1
                self._say(KeptState.RUNNING, pid=process.pid, place=process.place, starts=starts)
            while not (process.exited.done() or self._stop.done()):
                await _first(limits.PROCESS_LOG_CHECK_SECONDS, process.exited, self._stop)
                self.log.trim()
            if not process.exited.done():
                await self._end(process)
        finally:
            ended = process.reap()
        await process.gone()
        return ended

    async def _end(self, process: Running) -> None:
        self._say(KeptState.STOPPING, pid=process.pid, place=process.place)
        process.terminate()
        if not self._hurry.done():
            await _first(self._grace_seconds, process.exited, self._hurry)
        if not process.exited.done():
            why = "it was not waited for" if self._hurry.done() else "it took too long"
            self._say(
                KeptState.STOPPING,
                pid=process.pid,
                place=process.place,
                detail=f"is killed: {why}",
            )

    def _say(self, state: KeptState, *, starts: int | None = None, **facts: Any) -> None:
        starts = self.last.starts if starts is None else starts
        self.last = Change(self.command.name, state, starts=starts, **facts)
        self._tell(self.last)


async def _first(timeout: float | None, *futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
