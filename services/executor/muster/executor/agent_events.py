"""Publishes what happens to the agents on this executor's sessions: they come, change and go.

The executor has it first and alone, so nothing is published twice, however many registries and
executors there are. These are hints: what a bus does not take is not kept, and what happened while
nobody subscribed to a bus within the process is not published. Presence itself is the registry's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from muster.backends.bus_base import Bus, Message
from muster.executor.core_book import Book
from muster.executor.core_state import Agent, PresenceOutbox
from muster.executor.publishing import Publishing
from muster.executor.specs import kind_of
from muster.model import limits
from muster.model.errors import ResourceExhausted
from muster.model.subjects import AGENT, agent_subject
from muster.wire.cloud_event import TYPE, cloud_event

ATTACHED, CHANGED, DRAINING, DETACHED, LOST = "attached", "changed", "draining", "detached", "lost"

Key = tuple[str, str, str]  # tenant, agent, session id


@dataclass(slots=True)
class _Known:
    """What has been told of an agent."""

    state: str
    spec: object
    kind: str
    host: str
    count: int = 0


class AgentEvents:
    """Use it while `run` runs."""

    def __init__(
        self,
        book: Book,
        bus: Bus,
        publishing: Publishing,
        executor: str,
        wall_ms: Callable[[], int],
    ) -> None:
        self._book = book
        self._bus = bus
        self._publishing = publishing
        self._executor = executor
        self._wall_ms = wall_ms
        self._outbox = PresenceOutbox()
        self._known: dict[Key, _Known] = {}
        book.presences.append(self._outbox)

    async def run(self) -> None:
        """Publish what has changed, until cancelled."""
        self._book.report_level(self._outbox)
        while True:
            self.tick()
            await asyncio.sleep(limits.PRESENCE_SECONDS)

    def tick(self) -> None:
        """What has happened since the last time, as much as the bus has room for beside what agents
        publish; what happened and was undone meanwhile is not told."""
        changed, gone = self._outbox.changed, self._outbox.gone
        room = max(0, limits.PUBLISHES_WAITING_MAX // 2 - len(self._publishing))
        for agent in list(islice(changed, room)):
            del changed[agent]
            self._change(agent)
        for key in list(islice(gone, room)):
            del gone[key]
            self._end(key, told=True)
        for key in list(islice(gone, max(0, len(gone) - limits.PUBLISHES_WAITING_MAX))):
            del gone[key]  # the bus is away, and they are too many to remember
            self._end(key, told=False)

    def _end(self, key: Key, *, told: bool) -> None:
        known = self._known.pop(key, None)
        if known is not None and told:
            self._tell(key, known, DETACHED)

    def _change(self, agent: Agent) -> None:
        session = agent.session
        key = (session.tenant, agent.name, session.id)
        state = ATTACHED
        if session.broken_at is not None:
            state = LOST
        elif agent.draining:
            state = DRAINING
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known("", agent.spec, kind_of(agent.spec), session.host)
            self._tell(key, known, ATTACHED)
        elif known.spec != agent.spec:
            known.spec, known.kind = agent.spec, kind_of(agent.spec)
            self._tell(key, known, CHANGED)
        if known.state != state:
            if state != ATTACHED or known.state:
                self._tell(key, known, state)
            known.state = state

    def _tell(self, key: Key, known: _Known, what: str) -> None:
        known.count += 1
        if self._bus.unwanted.is_set():
            return
        tenant, name, session_id = key
        number = f"{AGENT}-{session_id}-{name}-{known.count}"
        data = {
            "type": f"AGENT_EVENT_TYPE_{what.upper()}",
            "agent": name,
            "kind": known.kind,
            "host": known.host,
            "sessionId": session_id,
            "executor": self._executor,
        }
        body = cloud_event(
            number,
            f"/tenants/{tenant}",
            f"{TYPE}{AGENT}.{what}",
            self._wall_ms(),
            {field: text for field, text in data.items() if text},
            subject=name,
        )
        with suppress(ResourceExhausted):  # a hint that is lost
            self._publishing.offer(Message(agent_subject(tenant, what, name), number, body))
