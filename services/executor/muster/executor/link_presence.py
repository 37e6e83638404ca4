"""Reports the agents on this executor's sessions to each registry.

Level first, then changes: what changes several times between two ticks is told once, as it is
then. Nothing ever waits for a registry; when one is away its changes are forgotten, because the
next contact starts from the level.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TypeAlias

import grpc

from muster.executor.core_state import Agent, PresenceOutbox
from muster.executor.link import Contact, Dialler, closing
from muster.executor.specs import fill_spec
from muster.model import limits
from muster.model.errors import MusterError
from muster.runtime.logs import get_logger
from muster.v1 import agent_pb2
from muster.v1.registry_service_pb2 import ReportPresenceRequest, ReportPresenceResponse
from muster.wire.errors import error_of_rpc
from muster.wire.times import timestamp_of_ms

# RegistryService.ReportPresence as an executor calls it.
CallPresence: TypeAlias = Callable[
    [AsyncIterator[ReportPresenceRequest]], AsyncIterator[ReportPresenceResponse]
]

_TICKS_PER_COUNT: Final = round(limits.PRESENCE_COUNTS_SECONDS / limits.PRESENCE_SECONDS)
_AGENT_BYTES: Final = 512  # what stands beside the spec

_log = get_logger("muster.executor")


class Presence:
    """The reports to one registry. `run` it until it is cancelled.

    One that `gives_way` ends when another stream of this executor takes over: the registry is known
    by another target as well.
    """

    def __init__(
        self, name: str, call: CallPresence, dialler: Dialler, *, gives_way: bool = False
    ) -> None:
        self.is_heard = False  # the registry has answered, and the stream stands
        self.name = name
        self._call = call
        self._gives_way = gives_way
        self._book = dialler.core.book
        self._dialler = dialler
        self._outbox = PresenceOutbox()
        self._book.presences.append(self._outbox)

    def close(self) -> None:
        """Nothing is kept for it any more; it must not run."""
        self._book.presences.remove(self._outbox)

    async def run(self) -> None:
        """Reports, and begins again when the stream has ended."""
        while True:
            try:
                await self._report()
            except (MusterError, grpc.RpcError) as error:
                known = error_of_rpc(error) if isinstance(error, grpc.RpcError) else error
                if self._gives_way and known.reason == "SUPERSEDED":
                    return
                _log.info("presence is not reported", registry=self.name, error=known.message)
            except Exception:  # noqa: BLE001 - logged; whatever it was, the next one may work
                _log.exception("reporting presence has failed", registry=self.name)
            await asyncio.sleep(
                random.uniform(limits.RELINK_SECONDS_MIN, limits.RELINK_SECONDS_MAX)
            )

    async def _report(self) -> None:
        contact = Contact()
        try:
            async with closing(self._call(self._frames(contact))) as answers:
                async for _ in answers:
                    self.is_heard = True
        finally:
            self.is_heard = False
            contact.close()
            self._outbox.close()

    async def _frames(self, contact: Contact) -> AsyncIterator[ReportPresenceRequest]:
        outbox = self._outbox
        self._book.report_level(outbox)
        frames = list(presence_frames(outbox, self._dialler.executor)) or [ReportPresenceRequest()]
        frames[0].executor = self._dialler.executor
        frames[0].incarnation = self._dialler.incarnation
        tick = 0
        while not contact.over:
            for frame in frames:
                yield frame
            await asyncio.sleep(limits.PRESENCE_SECONDS)
            tick += 1
            if tick % _TICKS_PER_COUNT == 0:
                self._book.report_counts()
            frames = list(presence_frames(outbox, self._dialler.executor))


def presence_frames(outbox: PresenceOutbox, executor: str) -> Iterator[ReportPresenceRequest]:
    """What has changed, taken out of the outbox, in frames that are not too large."""
    frame, room = ReportPresenceRequest(), limits.LINK_FRAME_BYTES_MAX
    for tenant, name, session_id in outbox.gone:
        frame.gone.add(tenant=tenant, name=name, session_id=session_id)
    for agent in outbox.changed:
        if room <= 0:
            yield frame
            frame, room = ReportPresenceRequest(), limits.LINK_FRAME_BYTES_MAX
        fill_agent(frame.agents.add(), agent, executor)
        room -= agent.size + _AGENT_BYTES
    outbox.gone.clear()
    outbox.changed.clear()
    if frame.agents or frame.gone:
        yield frame


def fill_agent(message: agent_pb2.Agent, agent: Agent, executor: str) -> None:
    """Makes an empty message say how the agent is now."""
    session = agent.session
    state = agent_pb2.AGENT_STATE_READY
    if session.broken_at is not None:
        state = agent_pb2.AGENT_STATE_LOST
    elif agent.draining:
        state = agent_pb2.AGENT_STATE_DRAINING
    fill_spec(message.spec, agent.name, agent.spec)
    message.tenant = session.tenant
    message.state = state
    message.host = session.host
    message.session_id = session.id
    message.executor = executor
    message.active = agent.active
    message.suspended = agent.suspended
    message.create_time.CopyFrom(timestamp_of_ms(agent.opened_ms))
