"""Runs the hosts of a fleet against a mesh that is there, as many as the demand takes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from muster.backends.pool_base import HostState, HostStatus, Pool, PoolError
from muster.model import limits
from muster.model.errors import MusterError
from muster.supervisor.finding import Endpoints, find_metadata, fleet_identity
from muster.supervisor.groups import Demands, Group, PoolPlan, demands_of
from muster.supervisor.plan import Refused
from muster.supervisor.pools import make_pool
from muster.supervisor.presence import Presence, follow_presence
from muster.supervisor.words import last_words
from muster.v1.scheduler_service_pb2 import GetStatisticsResponse

Ask = Callable[[], Awaitable[GetStatisticsResponse]]
_ANSWER_SECONDS = 5.0


class ScaledPool:
    """Runs inside `async with`: the first hosts are started when it is entered; when it is left,
    each has finished what it held, or the time for that is up.

    `ask` asks the scheduler for its statistics; `tell` hears, in sentences for people, what
    happens. Entering raises `Refused` where there is no such pool.
    """

    def __init__(
        self,
        plan: PoolPlan,
        endpoints: Endpoints,
        ask: Ask,
        tell: Callable[[str], None],
        inherited: Mapping[str, str] = os.environ,
    ) -> None:
        self.plan = plan
        self.groups = [Group(plan, kind) for kind in plan.fleet.kinds]
        self.presence = Presence()
        self.answers = True
        # Whether the scheduler answered when it was asked last.

        self._endpoints = endpoints
        self._ask = ask
        self._tell = tell
        self._inherited = dict(inherited)
        self._pool: Pool | None = None
        self._broken: Refused | None = None
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()
        self._draining = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        plan = self.plan
        environment = {
            **self._inherited,
            **fleet_identity(self._inherited),
            **self._endpoints.environment,
        }
        try:
            pool = make_pool(
                plan.pool, environment, plan.logs, self._host_changed, plan.drain_seconds
            )
            self._pool = await self._stack.enter_async_context(pool)
            await self._stack.enter_async_context(self._draining)
            for group in self.groups:
                await self._start(group)
        except PoolError as error:
            await self._stack.aclose()
            raise Refused(str(error)) from None
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        for group in self.groups:
            self._let_go(group, group.stop_all())
        await self._stack.aclose()

    @property
    def statuses(self) -> dict[str, HostStatus]:
        """Every host that was started, by name."""
        return {each.name: each for each in self._pool.status()} if self._pool else {}

    def request_stop(self) -> None:
        """Begins to stop, and returns at once. Asked a second time, it waits for nothing more."""
        if self._stop.is_set() and self._pool is not None:
            self._pool.hurry()
        self._stop.set()

    async def run(self) -> None:
        """Follows the demand until it is asked to stop. Raises `Refused` when the agents of a kind
        cannot run."""
        kinds = [group.kind.name for group in self.groups]
        follow = follow_presence(
            self._endpoints.registry, find_metadata(self._inherited), kinds, self.presence
        )
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow)
            try:
                while not self._stop.is_set():
                    await self._look()
                    await self._pause()
            finally:
                following.cancel()
        if self._broken is not None:
            raise self._broken

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(limits.SCALING_LOOK_SECONDS):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                demands = demands_of(await self._ask())
        except (MusterError, TimeoutError):
            if self.answers:
                self._tell("the scheduler does not answer; the hosts stay as they are")
            self.answers = False
            return
        if not self.answers:
            self._tell("the scheduler answers again")
        self.answers = True
        for group in self.groups:
            await self._scale(group, demands)

    async def _scale(self, group: Group, demands: Demands) -> None:
        before = len(group.staying)
        wanted = group.look(time.monotonic(), demands, self.presence)
        if wanted != before:
            self._tell(_why(group, before, wanted))
        self._let_go(group, group.to_stop(self.presence))
        await self._start(group)

    async def _start(self, group: Group) -> None:
        assert self._pool is not None
        for number in group.to_start():
            await self._pool.start(group.job(number))

    def _let_go(self, group: Group, numbers: list[int]) -> None:
        for number in numbers:
            self._draining.create_task(self._drain(group, number))

    async def _drain(self, group: Group, number: int) -> None:
        assert self._pool is not None
        await self._pool.stop(group.name_of(number), self.plan.drain_seconds)
        group.gone(number)

    # --- what hosts do ----------------------------------------------------------------------------

    def _host_changed(self, change: HostStatus) -> None:
        if change.state is HostState.WAITING:
            pause = f" in {change.pause_seconds:.1f} s" if change.pause_seconds >= 0.05 else ""
            self._tell(f"host {change.name} {change.detail}; starting it again{pause}")
        elif change.state is HostState.STOPPING and change.detail:
            self._tell(f"host {change.name} {change.detail}")
        elif change.state is HostState.REFUSED:
            # Not from within the pool's own call: its log is read then.
            asyncio.get_running_loop().call_soon(partial(self._refused, change.name))

    def _refused(self, name: str) -> None:
        assert self._pool is not None
        words = last_words(self._pool.last_lines(name)) or "it says that it cannot"
        message = f"host {name} cannot run: {words}"
        for group in self.groups:
            group.refused(name)
            if group.is_lost and self._broken is None:
                self._broken = Refused(message)
                self._stop.set()
                return
        self._tell(message)


def _why(group: Group, before: int, wanted: int) -> str:
    demand, name = group.demand, group.kind.name
    change = f"hosts {before} → {wanted}"
    if wanted < before:
        return f"{name}: {change}, for {demand.active:,} at work; what leaves finishes first"
    if not demand.queued:
        return f"{name}: {change}"
    waits = f"{demand.queued:,} waiting, the oldest for {demand.oldest_wait_seconds:.1f} s"
    return f"{name}: {change}, for {waits}, and {demand.active:,} at work"
