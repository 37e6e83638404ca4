"""Calls that start runs: one, or many at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import grpc

from muster.failpoints import failpoint
from muster.model.errors import MusterError, Unavailable
from muster.model.ids import format_id, shard_of_scope
from muster.runtime.principal import Principal, current_principal
from muster.runtime.validation import check
from muster.scheduler.routing import Peer, Router
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.run import Run, RunRow
from muster.scheduler.workflows.starting import Asked
from muster.v1 import workflow_service_pb2 as pb
from muster.v1 import workflow_service_pb2_grpc
from muster.wire.errors import status_of
from muster.wire.times import timestamp_of_ms

_Context = grpc.aio.ServicerContext[Any, Any]


class StartCalls:
    """Answers them, each from the scheduler that owns the run's shard."""

    def __init__(self, scheduler: Scheduler, router: Router, parts: Parts) -> None:
        self._scheduler = scheduler
        self._router = router
        self._parts = parts

    async def one(self, request: pb.StartRunRequest, context: _Context) -> pb.StartRunResponse:
        """Raises why the run cannot be started."""
        caller = current_principal()
        peer = self._owner(request, caller, context)
        if peer is not None:
            stub = workflow_service_pb2_grpc.WorkflowServiceStub(peer.channel)
            return await peer.ask(stub.StartRun, request, context)
        with self._parts.starts.starting():
            found, duplicate = await self._start(request, caller)
            await self._scheduler.committer.barrier()
        return _started(row_of(found), duplicate=duplicate)

    async def many(self, request: pb.StartRunsRequest, context: _Context) -> pb.StartRunsResponse:
        """A result for each start, in order; what is wrong with one is nothing to the others."""
        caller = current_principal()
        results: list[pb.StartRunResult] = [pb.StartRunResult() for _ in request.starts]
        mine: list[int] = []
        peers: dict[str, Peer] = {}
        theirs: defaultdict[str, list[int]] = defaultdict(list)
        for number, start in enumerate(request.starts):
            try:
                check(start)
                peer = self._owner(start, caller, context)
            except MusterError as error:
                results[number].error.CopyFrom(status_of(error))
                continue
            if peer is None:
                mine.append(number)
            else:
                peers[peer.name] = peer
                theirs[peer.name].append(number)

        async def ask(peer: Peer, numbers: Sequence[int]) -> None:
            stub = workflow_service_pb2_grpc.WorkflowServiceStub(peer.channel)
            passed = pb.StartRunsRequest(starts=[request.starts[number] for number in numbers])
            try:
                answer: pb.StartRunsResponse = await peer.ask(stub.StartRuns, passed, context)
            except MusterError as error:
                for number in numbers:
                    results[number].error.CopyFrom(status_of(error))
                return
            for number, result in zip(numbers, answer.results, strict=True):
                results[number].CopyFrom(result)

        await asyncio.gather(
            self._start_all([(request.starts[n], results[n]) for n in mine], caller),
            *(ask(peers[name], numbers) for name, numbers in theirs.items()),
        )
        return pb.StartRunsResponse(results=results)

    async def _start_all(
        self, starts: Sequence[tuple[pb.StartRunRequest, pb.StartRunResult]], caller: Principal
    ) -> None:
        """Starts them in one commit, as far as that goes, and fills in their results."""
        if not starts:
            return
        with self._parts.starts.starting():
            made = await asyncio.gather(
                *(self._start(start, caller) for start, _ in starts), return_exceptions=True
            )
            await self._scheduler.committer.barrier()
        for outcome, (_, result) in zip(made, starts, strict=True):
            try:
                if isinstance(outcome, BaseException):
                    raise outcome
                found, duplicate = outcome
                result.started.CopyFrom(_started(row_of(found), duplicate=duplicate))
            except MusterError as error:
                result.error.CopyFrom(status_of(error))

    async def _start(
        self, request: pb.StartRunRequest, caller: Principal
    ) -> tuple[Run | RunRow, bool]:
        asked = Asked(
            caller.tenant,
            caller.name,
            request.start_id,
            request.workflow,
            request.version,
            request.input,
            request.engine,
            request.conversation_id,
        )
        return await self._parts.starting.start(asked)

    def _owner(
        self, request: pb.StartRunRequest, caller: Principal, context: _Context
    ) -> Peer | None:
        shard = shard_of_scope(caller.tenant, caller.name, request.start_id)
        return self._router.of_shard(shard, caller, context)


@failpoint("run_unanswered", Unavailable)
def _started(row: RunRow, *, duplicate: bool) -> pb.StartRunResponse:
    """What whoever started it is told, once it is committed."""
    return pb.StartRunResponse(
        run_id=format_id(row.id),
        duplicate=duplicate,
        version=row.version,
        start_time=timestamp_of_ms(row.started_ms),
    )


def row_of(found: Run | RunRow) -> RunRow:
    """What a run was started with, wherever it was found."""
    return found.row if isinstance(found, Run) else found
