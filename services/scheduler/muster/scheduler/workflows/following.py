"""Watches of runs: the journal from the ledger, then live, without a gap between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from muster.runtime.principal import Principal
from muster.scheduler.merging import merged_frames
from muster.scheduler.messages_in import id_of
from muster.scheduler.routing import Context, Router, relayed
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.journal import without_data
from muster.scheduler.workflows.messages import run_of
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.run_watching import RunWatcher
from muster.v1.workflow_run_pb2 import RunEvent
from muster.v1.workflow_service_pb2 import WatchRunsRequest, WatchRunsResponse
from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub

EVENTS_PER_FRAME = 256
FRAMES_WAITING_MAX = 64


async def follow_run(
    scheduler: Scheduler, parts: Parts, tenant: str, request: WatchRunsRequest
) -> AsyncIterator[WatchRunsResponse]:
    """One run, until it has ended."""
    number, after = id_of(request.run_id), request.after_sequence
    watcher = RunWatcher(tenant, number)
    parts.runs.watchers.add(watcher)
    try:
        run = await parts.commands.find(number, tenant)
        was_over = run.machine.is_over
        await scheduler.committer.barrier()
        yield WatchRunsResponse(snapshot=run_of(run, whole=True))
        events: Sequence[RunEvent] = [
            without_data(event) async for event in parts.reading.journal(number, after)
        ]
        while True:
            new = [event for event in events if event.sequence > after]
            for first in range(0, len(new), EVENTS_PER_FRAME):
                yield WatchRunsResponse(events=new[first : first + EVENTS_PER_FRAME])
            if new:
                after = new[-1].sequence
            # What the run is by now does not count: its last entries may still be on their way.
            if new[-1].HasField("ended") if new else was_over:
                ended = await parts.commands.find(number, tenant)
                if ended.machine.is_over:  # and nobody has retried it meanwhile
                    yield WatchRunsResponse(ended=run_of(ended, whole=True))
                    return
            was_over = False
            events = await watcher.take()
    finally:
        parts.runs.watchers.remove(watcher)


async def follow_tenant(
    scheduler: Scheduler, router: Router, parts: Parts, caller: Principal, context: Context
) -> AsyncIterator[WatchRunsResponse]:
    """All runs of a tenant, from now on, with those that other schedulers have."""
    mine = _here(parts, caller.tenant)
    if not router.shares(context):
        async for frame in mine:
            yield frame
        return
    request = WatchRunsRequest()
    others: list[AsyncIterator[Any]] = [
        relayed(WorkflowServiceStub(peer.channel).WatchRuns(request, metadata=peer.metadata))
        for peer in router.peers(caller)
    ]
    async with merged_frames(router, [mine, *others], FRAMES_WAITING_MAX) as frames:
        while True:
            yield await frames.get()


async def _here(parts: Parts, tenant: str) -> AsyncIterator[WatchRunsResponse]:
    watcher = RunWatcher(tenant)
    parts.runs.watchers.add(watcher)
    try:
        yield WatchRunsResponse()  # watching has begun
        while True:
            events = await watcher.take()
            for first in range(0, len(events), EVENTS_PER_FRAME):
                yield WatchRunsResponse(events=events[first : first + EVENTS_PER_FRAME])
    finally:
        parts.runs.watchers.remove(watcher)
