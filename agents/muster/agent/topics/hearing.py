"""Hands events to the handlers of a host's agents, and says what became of them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from muster.agent.capability import Runs
from muster.agent.performing import failed_of
from muster.agent.topics.event import Event, event_of
from muster.agent.topics.event_job import EventJob
from muster.agent.topics.publisher import Publisher
from muster.model import limits
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.subscription_pb2 import SUBSCRIPTION_MODE_COMPETING
from muster.v1.topic_pb2 import EventDelivery, EventGap, PublishResult

if TYPE_CHECKING:
    from muster.agent.agent import Agent
    from muster.agent.topics.handler import Handler
    from muster.agent.work import Work

logger = logging.getLogger("muster.agent")

# Of events that one handler has dealt with, to tell what comes again after a reconnect: what it had
# and the mesh did not know of. At about 100 bytes, 8 MB for 620 agents.
IDS_KEPT = 4 * limits.EVENTS_UNACKED_BROADCAST_DEFAULT


class Topics:
    """What a host's agents hear and say. Its tasks live in the group that its host gives it."""

    def __init__(
        self,
        work: Work,
        agents: Mapping[str, Agent],
        tasks: asyncio.TaskGroup,
        wake: Callable[[], None],
    ) -> None:
        self.publisher = Publisher(work.core, wake)
        self.work = work
        self._wake = wake
        self._agents = agents
        self._tasks = tasks
        self._hearings: dict[tuple[str, str], Hearing] = {}
        # When each was first attached; whole seconds, for then the mesh can read once for many.
        self._begun: dict[tuple[str, str], int] = {}
        self._running: set[asyncio.Task[None]] = set()

    def published(self, result: PublishResult) -> None:
        """The mesh has answered."""
        self.publisher.published(result)

    def new_session(self) -> None:
        """What waits comes again, here or, where others compete for it, there."""
        for hearing in self._hearings.values():
            hearing.forget_waiting()

    def resume(self, spec: AgentSpec) -> None:
        """An agent is about to be attached anew: has it go on where it was."""
        for subscription in spec.event_subscriptions:
            key = (spec.name, subscription.pattern)
            hearing = self._hearings.get(key)
            if subscription.mode == SUBSCRIPTION_MODE_COMPETING:
                continue  # the group has its place on the bus
            if hearing is not None and hearing.reached:
                subscription.from_sequence = hearing.reached + 1
            elif key not in self._begun:
                self._begun[key] = int(time.time())
            elif not subscription.HasField("since"):
                # It has heard nothing since it was there first, and may have missed something.
                subscription.since.seconds = self._begun[key]

    def deliver(self, delivery: EventDelivery) -> None:
        """An event has come, for some of the agents."""
        try:
            cloud_event = json.loads(delivery.event)
            if not isinstance(cloud_event, dict):
                raise TypeError
            event = event_of(
                delivery.subject,
                cloud_event,
                delivery.sequence,
                redelivered=delivery.redelivered,
            )
        except (ValueError, TypeError):
            logger.warning("what is on %s is no CloudEvent", delivery.subject)
            event = Event(delivery.subject.split(".", 2)[-1], delivery.id, "", "", delivery.event)
        for name in delivery.agents:
            agent = self._agents.get(name)
            handler = agent.handlers.get(delivery.pattern) if agent is not None else None
            if handler is None:
                self.acknowledge(name, delivery.pattern, delivery.sequence, failed=True)
                continue
            key = (name, delivery.pattern)
            hearing = self._hearings.get(key)
            if hearing is None:
                hearing = self._hearings[key] = Hearing(self, name, handler)
            hearing.hear(delivery.sequence, delivery.id, event)

    def missed(self, gap: EventGap) -> None:
        """Events are missing."""
        count = gap.events_missing or "some"
        logger.warning("%s events of %s are missing", count, gap.pattern)
        for name in gap.agents:
            hearing = self._hearings.get((name, gap.pattern))
            if hearing is not None:
                hearing.missed += max(1, gap.events_missing)

    def acknowledge(self, agent: str, pattern: str, sequence: int, *, failed: bool) -> None:
        """An agent has dealt with an event."""
        if self.work.core.welcomed:
            self.work.core.outbox.acknowledge(agent, (pattern, sequence, failed))
            self._wake()

    def begin(self, hearing: Hearing) -> None:
        """A handler has something to do."""
        task = self._tasks.create_task(hearing.run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def close(self) -> None:
        """The host ends: what is being handled is told to stop, and comes to somebody again."""
        for task in self._running:
            task.cancel()


class Hearing:
    """One handler of one agent, and the events that wait for it; no more than the window."""

    def __init__(self, topics: Topics, agent: str, handler: Handler) -> None:
        self.handler = handler
        self.reached = 0  # everything up to here is dealt with
        self.missed = 0  # events before the next one
        self._topics = topics
        self._agent = agent
        self._waiting: deque[tuple[int, str, Event]] = deque()
        self._known: set[str] = set()  # ids of those that wait or are being handled
        self._handling: dict[int, None] = {}  # sequences, in order
        self._done: OrderedDict[str, None] = OrderedDict()
        self._running = 0

    def hear(self, sequence: int, number: str, event: Event) -> None:
        """An event has come, maybe again."""
        if number in self._known:
            return  # it is acknowledged when it is handled
        if number in self._done:
            self._reach(sequence)
            self._topics.acknowledge(self._agent, self.handler.pattern, sequence, failed=False)
            return
        if self.missed:
            event, self.missed = replace(event, missed=self.missed), 0
        self._known.add(number)
        self._waiting.append((sequence, number, event))
        if self._running < self.handler.concurrency:
            self._running += 1
            self._topics.begin(self)

    def forget_waiting(self) -> None:
        """What waits comes again."""
        for _, number, _ in self._waiting:
            self._known.discard(number)
        self._waiting.clear()

    async def run(self) -> None:
        """Handles what waits. The body of a task."""
        try:
            while self._waiting:
                sequence, number, event = self._waiting.popleft()
                self._handling[sequence] = None
                try:
                    failed = not await self._handle(event)
                finally:
                    del self._handling[sequence]
                    self._known.discard(number)
                if not failed or not self.handler.competing:
                    self._remember(number)
                self._reach(sequence)
                self._topics.acknowledge(self._agent, self.handler.pattern, sequence, failed=failed)
        finally:
            self._running -= 1

    def _remember(self, number: str) -> None:
        self._done[number] = None
        if len(self._done) > IDS_KEPT + self.handler.concurrency:
            self._done.popitem(last=False)

    def _reach(self, sequence: int) -> None:
        """Everything is dealt with that is before what is being handled or waits."""
        open_ones = (*self._handling, *(each[0] for each in islice(self._waiting, 1)))
        self.reached = min(open_ones) - 1 if open_ones else sequence

    async def _handle(self, event: Event) -> bool:
        """Whether the handler has dealt with it, after some tries."""
        for attempt in range(limits.EVENT_HANDLER_TRIES):
            if attempt:
                await asyncio.sleep(limits.RETRY_INITIAL_SECONDS * 2**attempt)
            try:
                await self._call(event)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                failure: BaseException = error
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the handler's own affair
                failure = error
            else:
                return True
            said = failed_of(failure)
            logger.error("%s could not handle %s: %s", self._agent, event.id, said)
        return False

    async def _call(self, event: Event) -> None:
        handler = self.handler
        if handler.runs is Runs.LOOP and not handler.context_parameter:
            await handler.function(**{handler.event_parameter: event})
            return
        job = EventJob(self._topics, self._agent, handler, event)
        if handler.runs is Runs.LOOP:
            await handler.function(**job.arguments())
        else:
            await self._topics.work.pool_for(handler.runs).run(job, job.content())
