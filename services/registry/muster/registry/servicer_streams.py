"""The registry's streams, as plain generators: over gRPC and in one process they are the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

from muster.model import limits
from muster.model.errors import FailedPrecondition, ResourceExhausted
from muster.registry.core import Presence
from muster.registry.core_agents import Agent, Filter, Key
from muster.registry.servicer_messages import (
    agent_of_message,
    change_for,
    filter_of_message,
    in_frames,
    put_change,
)
from muster.runtime.validation import check
from muster.v1 import agent_pb2
from muster.v1 import registry_service_pb2 as pb

# So many agents are taken in at once; then whatever else is waiting has its turn.
_AGENTS_AT_ONCE = 256


class Streams:
    """Presence reports in, presence changes out.

    Watchers read the core's changes at their own pace, by revision: none of them has a queue, and
    one that falls too far behind gets the whole level again.
    """

    def __init__(self, presence: Presence, monotonic: Callable[[], float]) -> None:
        self._presence = presence
        self._monotonic = monotonic
        self._changed = asyncio.Event()
        self._woken_at = presence.revision
        self.watchers = 0

    def wake(self) -> None:
        """Wakes the watchers if presence has changed. Call it after whatever may change it."""
        if self._presence.revision != self._woken_at:
            self._woken_at = self._presence.revision
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def report_presence(
        self, frames: AsyncIterator[pb.ReportPresenceRequest]
    ) -> AsyncIterator[pb.ReportPresenceResponse]:
        """RegistryService.ReportPresence. Ends with SUPERSEDED when a newer stream takes over."""
        executor, stream = "", 0
        try:
            async for frame in frames:
                check(frame)
                rest: Sequence[agent_pb2.Agent] = frame.agents
                if not stream:
                    executor = _require_executor(frame)
                    first, rest = rest[:_AGENTS_AT_ONCE], rest[_AGENTS_AT_ONCE:]
                    stream = self._presence.open_stream(
                        executor, frame.incarnation, _records(first), self._monotonic()
                    )
                await self._update(executor, stream, rest, frame)
                yield pb.ReportPresenceResponse(revision=self._presence.revision)
        finally:
            if stream:
                self._presence.close_stream(executor, stream, self._monotonic())

    async def _update(
        self,
        executor: str,
        stream: int,
        agents: Sequence[agent_pb2.Agent],
        frame: pb.ReportPresenceRequest,
    ) -> None:
        for at in range(0, len(agents), _AGENTS_AT_ONCE):
            records = _records(agents[at : at + _AGENTS_AT_ONCE])
            self._presence.update(executor, stream, records, ())
            self.wake()
            await asyncio.sleep(0)
        # Who left and came back within a frame is there.
        there = {(each.tenant, each.spec.name) for each in frame.agents}
        gone = [
            (Key(each.tenant, each.name), each.session_id)
            for each in frame.gone
            if (each.tenant, each.name) not in there
        ]
        self._presence.update(executor, stream, (), gone)
        self.wake()

    async def watch_agents(
        self, request: pb.WatchAgentsRequest, tenant: str
    ) -> AsyncIterator[pb.WatchAgentsResponse]:
        """RegistryService.WatchAgents, without end. Raises `ResourceExhausted`."""
        chosen = filter_of_message(request.filter)
        revision = request.revision
        with self._one_more_watcher():
            while True:
                changed = self._changed
                changes = None
                if revision:
                    changes = self._presence.changes_after(revision, limits.FRAME_ITEMS_MAX)
                if changes is None:
                    revision = self._presence.revision
                    async for level in self._level(tenant, chosen, revision):
                        yield level
                elif not changes:
                    await changed.wait()
                else:
                    revision = changes[-1].revision
                    told = (change_for(each, tenant, chosen) for each in changes)
                    for frame in _frames([each for each in told if each], revision):
                        yield frame
                    # Also where none of them concerned this watcher.
                    await asyncio.sleep(0)

    async def _level(
        self, tenant: str, chosen: Filter, revision: int
    ) -> AsyncIterator[pb.WatchAgentsResponse]:
        """Every agent of the tenant, as of `revision` or later.

        Only the last frame has the revision: who stops before it must begin again.
        """
        keys = self._presence.keys(tenant)
        reset = True
        for at in range(0, len(keys), _AGENTS_AT_ONCE):
            found = map(self._presence.find, keys[at : at + _AGENTS_AT_ONCE])
            puts = [put_change(each) for each in found if each and chosen.accepts(each)]
            for changes in in_frames(puts):
                yield pb.WatchAgentsResponse(reset=reset, changes=changes)
                reset = False
            await asyncio.sleep(0)
        yield pb.WatchAgentsResponse(reset=reset, revision=revision)

    @contextmanager
    def _one_more_watcher(self) -> Iterator[None]:
        if self.watchers >= limits.WATCHERS_MAX:
            raise ResourceExhausted(f"{limits.WATCHERS_MAX} watchers are here already")
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1


def _records(agents: Sequence[agent_pb2.Agent]) -> list[Agent]:
    return [agent_of_message(each) for each in agents]


def _require_executor(frame: pb.ReportPresenceRequest) -> str:
    if not frame.executor:
        raise FailedPrecondition(
            "the first frame of a presence report must name the executor",
            reason="SESSION_PROTOCOL",
        )
    return frame.executor


def _frames(changes: list[pb.AgentChange], revision: int) -> Iterator[pb.WatchAgentsResponse]:
    frames = list(in_frames(changes))
    for number, frame in enumerate(frames, 1):
        # Within a batch there is no revision to go on from but the last.
        last = number == len(frames)
        yield pb.WatchAgentsResponse(changes=frame, revision=revision if last else 0)
