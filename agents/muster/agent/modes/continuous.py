"""The continuous mode: hears events for weeks, and goes on from its state after a crash.

    till = Agent("till")
    running = Continuous(till, {"orders": 0})

    @running.on("orders.>")
    async def count(event: Event, mind: Mind) -> None:
        mind.state["orders"] += 1
        mind.note(f"{event.data['item']} was ordered")

    @till.capability("till.orders")
    async def orders(ctx: Context) -> int:
        return (await running.read(ctx)).state["orders"]

Events wait on the bus for this very agent while it is away, and come at least once. What the
function makes of one is kept by the mesh in one write, together with the event's id, before the
event is acknowledged: so each counts exactly once in the state, whenever the process is killed.
What the function does elsewhere (publishes, submits) may happen twice; it should give it an id that
follows from the event's (`id_for`).

An agent that hears nothing for `idle_seconds` sleeps: what it has in mind is dropped from memory,
and whoever was told with `when_idle` lets go of what else it holds. Nothing is lost, for everything
was kept before. The host goes on listening for it, at the cost of a subscription, and the next
event wakes it. Agents that have heard nothing yet sleep, too.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from muster.agent.context import Context
from muster.agent.modes.mind import Bounds, Entry, Mind, id_for
from muster.agent.modes.patience import patiently
from muster.agent.topics.event import Event
from muster.model import limits
from muster.model.errors import MusterError
from muster.wire.jsontext import json_text, json_value

if TYPE_CHECKING:
    from muster.agent.agent import Agent

__all__ = ["Bounds", "Continuous", "Entry", "Event", "Mind", "id_for"]

logger = logging.getLogger("muster.agent")

STATE_NAME = "mind"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class _Awake:
    """What an agent has in mind while it is awake."""

    mind: Mind
    revision: int


@dataclass(slots=True)
class _Runtime:
    """One agent in this process."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    awake: _Awake | None = None
    timer: asyncio.TimerHandle | None = None
    tries: dict[str, int] = field(default_factory=dict)  # of events that have failed, by id


class Continuous:
    """Makes an agent continuous, and its copies.

    `initial` is the state of one that has had no event yet. Its mind is kept under `name`. The
    bounds say how long the history is and how many events are known when they come again: as many
    as can be under way, and those of `muster events replay`.
    """

    def __init__(
        self,
        agent: Agent,
        initial: Mapping[str, Any] | None = None,
        *,
        idle_seconds: float = limits.IDLE_SECONDS_DEFAULT,
        bounds: Bounds | None = None,
        name: str = STATE_NAME,
    ) -> None:
        if idle_seconds <= 0:
            message = f"an agent cannot be idle for {idle_seconds} seconds"
            raise ValueError(message)
        self.agent = agent
        self.idle_seconds = idle_seconds
        self.name = name
        self.bounds = bounds or Bounds()
        if not 0 <= self.bounds.history <= limits.MIND_HISTORY_MAX:
            message = f"a history has from 0 to {limits.MIND_HISTORY_MAX} entries"
            raise ValueError(message)
        self._initial = json_text(dict(initial or {}))
        self._runtimes: dict[str, _Runtime] = {}
        self._when_idle: list[Callable[[str], None]] = []

    @property
    def awake(self) -> frozenset[str]:
        """The names of the agents in this process that are awake."""
        return frozenset(name for name, each in self._runtimes.items() if each.awake is not None)

    # --- what its author says ---------------------------------------------------------------------

    def on(
        self, topic: str = "", *, subject: str = "", since: float | None = None
    ) -> Callable[[F], F]:
        """Calls the decorated async function with each event and the mind, and with a context if it
        takes three; one at a time. For topic, subject and since see `Agent.on`.

        Where it raises, what it has changed is forgotten and it is called again; after three times
        the event is passed over, which its history and `Mind.failed` say.
        """

        def decorate(function: F) -> F:
            takes = len(inspect.signature(function).parameters)
            if not inspect.iscoroutinefunction(function) or takes not in (2, 3):
                message = (
                    f"{function.__qualname__} must be async, and take an event, a mind and, if it "
                    "wants, a context"
                )
                raise TypeError(message)

            async def handle(event: Event, ctx: Context) -> None:
                more = (ctx,) if takes == 3 else ()
                await self._handle(event, ctx, lambda mind: function(event, mind, *more))

            self.agent.on(topic, subject=subject, since=since, own=True)(handle)
            return function

        return decorate

    def when_idle(self, function: Callable[[str], None]) -> Callable[[str], None]:
        """Calls the decorated function with the agent's name when it goes to sleep. It must not
        wait."""
        self._when_idle.append(function)
        return function

    async def read(self, ctx: Context) -> Mind:
        """What the agent has in mind, as it is kept; for capabilities. Changes go nowhere."""
        return (await self._kept(ctx)).mind

    @asynccontextmanager
    async def update(self, ctx: Context) -> AsyncIterator[Mind]:
        """Gives a capability the mind to change, and keeps it when the block ends well.

        Raises `MusterError` with STATE_CHANGED where another process has written meanwhile.
        """
        runtime = self._runtime(ctx)
        async with runtime.turn:
            kept = await self._kept(ctx)
            yield kept.mind
            revision = await self._keep(ctx, kept.mind, kept.revision)
            if runtime.awake is not None:
                runtime.awake = _Awake(kept.mind, revision)

    # --- events -----------------------------------------------------------------------------------

    def _runtime(self, ctx: Context) -> _Runtime:
        return self._runtimes.setdefault(ctx.facts.agent, _Runtime())

    async def _handle(
        self, event: Event, ctx: Context, function: Callable[[Mind], Awaitable[None]]
    ) -> None:
        runtime = self._runtime(ctx)
        async with runtime.turn:
            self._stay_awake(ctx.facts.agent, runtime)
            while True:
                if runtime.awake is None:
                    runtime.awake = await patiently(partial(self._kept, ctx))
                mind, revision = runtime.awake.mind, runtime.awake.revision
                if mind.knows(event):
                    logger.debug("%s has had %s already", ctx.facts.agent, event.id)
                    return
                changed = await self._apply(event, mind, function, runtime)
                try:
                    keep = partial(self._keep, ctx, changed, revision)
                    runtime.awake = _Awake(changed, await patiently(keep))
                    return
                except MusterError as error:
                    runtime.awake = None
                    if error.reason != "STATE_CHANGED":
                        raise
                    # A write of ours whose answer was lost, a capability's, or another process's.

    async def _apply(
        self,
        event: Event,
        mind: Mind,
        function: Callable[[Mind], Awaitable[None]],
        runtime: _Runtime,
    ) -> Mind:
        """The mind after the event. Raises what the function raises, unless that was often."""
        changed = mind.copy()
        try:
            await function(changed)
            changed.take(event, time.time())
            changed.kept()
        except Exception as error:
            tries = runtime.tries[event.id] = runtime.tries.get(event.id, 0) + 1
            if tries < limits.EVENT_HANDLER_TRIES:
                raise
            logger.exception("%s could not deal with %s", self.agent.name, event.id)
            changed = mind.copy()
            changed.pass_over(event, time.time(), f"{type(error).__name__}: {error}")
        runtime.tries.pop(event.id, None)
        return changed

    async def _kept(self, ctx: Context) -> _Awake:
        kept = await ctx.state.read(self.name)
        if kept is None:
            return _Awake(Mind(json_value(self._initial), self.bounds), 0)
        return _Awake(Mind.of(kept.value, self.bounds), kept.revision)

    async def _keep(self, ctx: Context, mind: Mind, revision: int) -> int:
        return await ctx.state.put(self.name, mind.kept(), expected_revision=revision)

    # --- sleep ------------------------------------------------------------------------------------

    def _stay_awake(self, agent: str, runtime: _Runtime) -> None:
        if runtime.timer is not None:
            runtime.timer.cancel()
        loop = asyncio.get_running_loop()
        runtime.timer = loop.call_later(self.idle_seconds, self._sleep, agent, runtime)

    def _sleep(self, agent: str, runtime: _Runtime) -> None:
        if runtime.turn.locked():  # an event takes that long
            self._stay_awake(agent, runtime)
            return
        runtime.awake = runtime.timer = None
        logger.info("%s has heard nothing for %g s, and sleeps", agent, self.idle_seconds)
        for function in self._when_idle:
            function(agent)
