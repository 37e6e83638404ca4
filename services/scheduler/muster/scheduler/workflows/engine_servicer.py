"""EngineService on gRPC: what the workers of an outside engine call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc

from muster.model import limits
from muster.model.errors import FailedPrecondition, Fenced
from muster.model.ids import format_id, shard_of_id
from muster.runtime.lifetime import background
from muster.runtime.principal import current_principal
from muster.runtime.validation import check
from muster.scheduler.messages_in import id_of
from muster.scheduler.routing import Peer, Router
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.feeding import Follower
from muster.scheduler.workflows.outside import OutsideEngine, bare
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.reading import run_unknown
from muster.scheduler.workflows.run import Run, RunRow
from muster.v1 import engine_service_pb2 as pb
from muster.v1 import engine_service_pb2_grpc
from muster.v1.engine_pb2 import RunEntries
from muster.v1.workflow_run_pb2 import ENGINE_KIND_TEMPORAL
from muster.wire.times import duration_of_seconds
from muster.workflow.exchange import message_of_plan

_Context = grpc.aio.ServicerContext[Any, Any]

CANCELLED_BY = "temporal"  # the principal of runs that were cancelled there


class EngineServicer(engine_service_pb2_grpc.EngineServiceServicer):
    """Tells of runs, and has done what they want."""

    def __init__(self, scheduler: Scheduler, router: Router, parts: Parts) -> None:
        self._scheduler = scheduler
        self._router = router
        self._parts = parts

    @property
    def _engine(self) -> OutsideEngine:
        return self._parts.outside

    # --- the stream -------------------------------------------------------------------------------

    async def Follow(
        self, request_iterator: AsyncIterator[pb.FollowRequest], context: _Context
    ) -> AsyncIterator[pb.FollowResponse]:
        """The level, then every entry."""
        first = await anext(aiter(request_iterator), None)
        if first is None:
            return
        if not first.HasField("hello"):
            raise FailedPrecondition(
                "the first frame must be a hello that names the worker", reason="SESSION_PROTOCOL"
            )
        follower = self._engine.follow(first.hello.worker)
        try:
            async with background(lambda: self._read(follower, request_iterator)):
                yield pb.FollowResponse()
                while feeds := await self._engine.news(follower):
                    yield pb.FollowResponse(feeds=feeds)
        finally:
            self._engine.unfollow(follower)
        raise Fenced("a newer worker of this name follows", reason="SUPERSEDED")

    async def _read(self, follower: Follower, requests: AsyncIterator[pb.FollowRequest]) -> None:
        async for request in requests:
            check(request)
            for each in request.delivered:
                self._engine.feeds.delivered(follower, id_of(each.run_id), each.sequence)

    # --- calls ------------------------------------------------------------------------------------

    def _owner(self, run_id: str, context: _Context) -> Peer | None:
        return self._router.of_contract(run_id, current_principal(), context)

    def _stub(self, peer: Peer) -> engine_service_pb2_grpc.EngineServiceStub:
        return engine_service_pb2_grpc.EngineServiceStub(peer.channel)

    async def LoadRun(self, request: pb.LoadRunRequest, context: _Context) -> pb.LoadRunResponse:
        """The journal, and what it is about."""
        peer = self._owner(request.run_id, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).LoadRun, request, context)
        number = id_of(request.run_id)
        with self._engine.feeds.calling(number):
            row = await self._row(number)
            entries = await self._entries(number, request.after_sequence)
            reply = pb.LoadRunResponse(entries=entries)
            if not request.after_sequence:
                versions = self._parts.versions
                version = await versions.get(row.tenant, row.workflow, row.version)
                reply.flow.CopyFrom(message_of_plan(version.definition.plan))
            self._answered(number, entries)
        return reply

    async def PerformWants(
        self, request: pb.PerformWantsRequest, context: _Context
    ) -> pb.PerformWantsResponse:
        """Has it done."""
        peer = self._owner(request.run_id, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).PerformWants, request, context)
        number = id_of(request.run_id)
        with self._engine.feeds.calling(number):
            row = await self._row(number)
            reply = pb.PerformWantsResponse()
            if request.cancel_reason:
                with suppress(FailedPrecondition):  # it has ended
                    await self._parts.commands.cancel(
                        number, row.tenant, CANCELLED_BY, request.cancel_reason
                    )
            run = self._parts.runs.open.get(number)
            if run is not None:
                await self._perform(run, request, reply)
            reply.entries.CopyFrom(await self._entries(number, request.after_sequence))
            self._answered(number, reply.entries)
        return reply

    async def _perform(
        self, run: Run, request: pb.PerformWantsRequest, reply: pb.PerformWantsResponse
    ) -> None:
        pause = await self._engine.perform(run, request.wants)
        if pause:
            reply.retry_delay.CopyFrom(duration_of_seconds(pause))
        self._parts.restoring.require(run.shard)  # or nothing of it was done
        is_open = self._parts.runs.open.__contains__
        reply.children.extend(self._engine.children(run, request.wants, is_open))

    async def _row(self, number: int) -> RunRow:
        """What a run was started with. Raises `Unavailable` where it is not held yet."""
        self._parts.restoring.require(shard_of_id(number))
        run = self._parts.runs.open.get(number)
        if run is not None:
            row = run.row
        else:
            await self._scheduler.committer.barrier()
            found = (await self._parts.reading.rows([number])).get(number)
            if found is None:
                raise run_unknown(format_id(number))
            row = found
        if row.engine != ENGINE_KIND_TEMPORAL:
            raise FailedPrecondition(
                f"run {format_id(number)} is run by another engine", reason="RUN_STATE"
            )
        return row

    async def _entries(self, number: int, after: int) -> RunEntries:
        """Committed entries after one, as many as fit."""
        await self._scheduler.committer.barrier()
        feed = self._engine.feeds.get(number)
        made = RunEntries(run_id=format_id(number))
        here = feed.after(after) if feed is not None else None
        if feed is not None and here is not None:
            made.sequence = max(after, feed.sequence)
            made.entries.extend(here)
            return made
        size = 0
        async for event in self._parts.reading.journal(number, after):
            made.sequence = event.sequence
            if size < limits.ENGINE_ENTRIES_BYTES_MAX:
                entry = bare(event)
                size += entry.ByteSize()
                made.entries.append(entry)
        return made

    def _answered(self, number: int, entries: RunEntries) -> None:
        reached = entries.entries[-1].sequence if entries.entries else entries.sequence
        self._engine.feeds.answered(number, reached, self._scheduler.clock().mono)
