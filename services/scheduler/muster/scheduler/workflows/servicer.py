"""WorkflowService on gRPC: thin, all decisions are elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster.model.errors import NotFound
from muster.model.ids import format_id, parse_id, shard_of_scope
from muster.model.records import RowQuery
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.runtime.principal import Principal, current_principal
from muster.scheduler.messages_in import id_of
from muster.scheduler.routing import Peer, Router, relayed
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.commands import Commands
from muster.scheduler.workflows.following import follow_run, follow_tenant
from muster.scheduler.workflows.messages import run_of, run_of_row
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.planning import plan_run
from muster.scheduler.workflows.start_calls import StartCalls, row_of
from muster.scheduler.workflows.starting import home_of
from muster.scheduler.workflows.versions import version_of
from muster.v1 import workflow_service_pb2 as pb
from muster.v1 import workflow_service_pb2_grpc
from muster.v1.workflow_run_pb2 import RunSignalled
from muster.wire.times import timestamp_of_ms

_Context = grpc.aio.ServicerContext[Any, Any]


class WorkflowServicer(workflow_service_pb2_grpc.WorkflowServiceServicer):
    """What people and programs call."""

    def __init__(self, scheduler: Scheduler, router: Router, parts: Parts) -> None:
        self._scheduler = scheduler
        self._router = router
        self._parts = parts
        self._start_calls = StartCalls(scheduler, router, parts)

    @property
    def _commands(self) -> Commands:
        return self._parts.commands

    def _stub(self, peer: Peer) -> workflow_service_pb2_grpc.WorkflowServiceStub:
        return workflow_service_pb2_grpc.WorkflowServiceStub(peer.channel)

    def _owner(self, shard: int, caller: Principal, context: _Context) -> Peer | None:
        """Who answers for a shard; None: this scheduler."""
        return self._router.of_shard(shard, caller, context)

    def _owner_of_run(self, run_id: str, caller: Principal, context: _Context) -> Peer | None:
        return self._router.of_contract(run_id, caller, context)

    # --- workflows --------------------------------------------------------------------------------

    async def RegisterWorkflow(
        self, request: pb.RegisterWorkflowRequest, context: _Context
    ) -> pb.RegisterWorkflowResponse:
        """Checks and keeps."""
        caller = current_principal()
        peer = self._owner(home_of(caller.tenant, request.workflow.name), caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).RegisterWorkflow, request, context)
        version, duplicate = await self._parts.starting.register(
            caller.tenant, caller.name, request.workflow, validate_only=request.validate_only
        )
        await self._scheduler.committer.barrier()
        return pb.RegisterWorkflowResponse(version=version.message, duplicate=duplicate)

    async def GetWorkflow(
        self, request: pb.GetWorkflowRequest, context: _Context
    ) -> pb.GetWorkflowResponse:
        """One version."""
        tenant = current_principal().tenant
        version = await self._parts.versions.get(tenant, request.name, request.version)
        return pb.GetWorkflowResponse(version=version.message)

    async def ListWorkflows(
        self, request: pb.ListWorkflowsRequest, context: _Context
    ) -> pb.ListWorkflowsResponse:
        """A page."""
        tenant = current_principal().tenant
        size = page_size(request.page_size)
        after = ""
        if request.page_token:
            after = read_page_token(request.page_token, "workflows", tenant)
        reply = pb.ListWorkflowsResponse()
        query_after: tuple[object, ...] = (after, 2**31 - 1)
        while len(reply.workflows) <= size:
            rows = await self._scheduler.ledger.rows(
                RowQuery(
                    "workflows",
                    {"tenant": tenant},
                    order=("name", "version"),
                    after=query_after,
                    limit=size + 1,
                )
            )
            for row in rows:  # versions rise: the last of a name is its newest
                made = version_of(row).message
                if reply.workflows and reply.workflows[-1].workflow.name == row[1]:
                    reply.workflows[-1].CopyFrom(made)
                elif len(reply.workflows) == size:
                    last = reply.workflows[-1].workflow.name
                    reply.next_page_token = make_page_token(last, "workflows", tenant)
                    return reply
                else:
                    reply.workflows.append(made)
            if len(rows) <= size:
                return reply
            query_after = (rows[-1][1], rows[-1][2])
        return reply

    # --- runs -------------------------------------------------------------------------------------

    async def StartRun(self, request: pb.StartRunRequest, context: _Context) -> pb.StartRunResponse:
        """Starts, or finds."""
        return await self._start_calls.one(request, context)

    async def StartRuns(
        self, request: pb.StartRunsRequest, context: _Context
    ) -> pb.StartRunsResponse:
        """Many at once."""
        return await self._start_calls.many(request, context)

    async def PlanRun(self, request: pb.PlanRunRequest, context: _Context) -> pb.PlanRunResponse:
        """A dry run."""
        tenant = current_principal().tenant
        version = await self._parts.versions.get(tenant, request.workflow, request.version)
        return plan_run(self._scheduler, version, request.input)

    async def GetRun(self, request: pb.GetRunRequest, context: _Context) -> pb.GetRunResponse:
        """One run, whole."""
        caller = current_principal()
        scope = (caller.tenant, caller.name, request.start_id)
        by_id = request.HasField("run_id")
        if by_id:
            peer = self._owner_of_run(request.run_id, caller, context)
        else:
            peer = self._owner(shard_of_scope(*scope), caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).GetRun, request, context)
        number = id_of(request.run_id) if by_id else await self._number_of(scope)
        run = await self._commands.find(number, caller.tenant)
        return pb.GetRunResponse(run=run_of(run, whole=True, outputs=request.outputs))

    async def _number_of(self, scope: tuple[str, str, str]) -> int:
        run = self._parts.runs.by_scope.get(scope)
        row = run.row if run is not None else await self._parts.reading.row_of_scope(scope)
        if row is None:
            raise NotFound(f"there is no run with start_id {scope[2]!r}", reason="RUN_UNKNOWN")
        return row.id

    async def ListRuns(self, request: pb.ListRunsRequest, context: _Context) -> pb.ListRunsResponse:
        """A page, from the ledger, which every scheduler can read all of."""
        tenant = current_principal().tenant
        bare = pb.ListRunsRequest()
        bare.CopyFrom(request)
        bare.ClearField("page_token")
        bare.ClearField("page_size")
        scope = ("runs", tenant, bare.SerializeToString(deterministic=True))
        equal: dict[str, object] = {"tenant": tenant}
        if request.workflow:
            equal["workflow"] = request.workflow
        if request.conversation_id:
            equal["conversation"] = request.conversation_id
        states = [int(state) for state in request.states if state]
        if states:
            equal["state"] = states
        size = page_size(request.page_size)
        after = None
        if request.page_token:
            after = (parse_id(read_page_token(request.page_token, *scope)),)
        await self._scheduler.committer.barrier()
        heads = await self._scheduler.ledger.rows(
            RowQuery(
                "workflow_heads",
                equal,
                order=("run_id",),
                after=after,
                descending=True,
                limit=size + 1,
            )
        )
        rows = await self._parts.reading.rows([head[0] for head in heads[:size]])
        reply = pb.ListRunsResponse()
        for number, _, _, _, _, state, _, sequence, _, ended_ms in heads[:size]:
            if number not in rows:
                continue  # it was forgotten in this very moment
            run = run_of_row(rows[number])
            run.state = state
            run.sequence = sequence
            if ended_ms:
                run.end_time.CopyFrom(timestamp_of_ms(ended_ms))
            reply.runs.append(run)
        if len(heads) > size:
            reply.next_page_token = make_page_token(format_id(heads[size - 1][0]), *scope)
        return reply

    def WatchRuns(
        self, request: pb.WatchRunsRequest, context: _Context
    ) -> AsyncIterator[pb.WatchRunsResponse]:
        """History, then live."""
        caller = current_principal()
        if not request.run_id:
            return follow_tenant(self._scheduler, self._router, self._parts, caller, context)
        peer = self._owner_of_run(request.run_id, caller, context)
        if peer is not None:
            return relayed(self._stub(peer).WatchRuns(request, metadata=peer.metadata))
        return follow_run(self._scheduler, self._parts, caller.tenant, request)

    # --- commands ---------------------------------------------------------------------------------

    async def SignalRun(
        self, request: pb.SignalRunRequest, context: _Context
    ) -> pb.SignalRunResponse:
        """Tells a run something."""
        caller = current_principal()
        peer = self._owner_of_run(request.run_id, caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).SignalRun, request, context)
        signal = RunSignalled(
            name=request.name,
            payload=request.payload,
            principal=caller.name,
            signal_id=request.signal_id,
        )
        number = id_of(request.run_id)
        sequence = await self._commands.signal(number, caller.tenant, signal)
        await self._scheduler.committer.barrier()
        return pb.SignalRunResponse(sequence=sequence)

    async def CancelRun(
        self, request: pb.CancelRunRequest, context: _Context
    ) -> pb.CancelRunResponse:
        """Lets it unwind."""
        caller = current_principal()
        peer = self._owner_of_run(request.run_id, caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).CancelRun, request, context)
        state = await self._commands.cancel(
            id_of(request.run_id), caller.tenant, caller.name, request.reason
        )
        await self._scheduler.committer.barrier()
        return pb.CancelRunResponse(state=int(state))  # type: ignore[arg-type]

    async def PauseRun(self, request: pb.PauseRunRequest, context: _Context) -> pb.PauseRunResponse:
        """Nothing new begins."""
        caller = current_principal()
        peer = self._owner_of_run(request.run_id, caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).PauseRun, request, context)
        await self._commands.pause(id_of(request.run_id), caller.tenant, caller.name)
        await self._scheduler.committer.barrier()
        return pb.PauseRunResponse()

    async def ResumeRun(
        self, request: pb.ResumeRunRequest, context: _Context
    ) -> pb.ResumeRunResponse:
        """It goes on."""
        caller = current_principal()
        peer = self._owner_of_run(request.run_id, caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).ResumeRun, request, context)
        await self._commands.resume(id_of(request.run_id), caller.tenant, caller.name)
        await self._scheduler.committer.barrier()
        return pb.ResumeRunResponse()

    async def RetryRun(self, request: pb.RetryRunRequest, context: _Context) -> pb.RetryRunResponse:
        """Once more."""
        caller = current_principal()
        peer = self._owner_of_run(request.run_id, caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).RetryRun, request, context)
        revision = await self._commands.retry(
            id_of(request.run_id),
            caller.tenant,
            caller.name,
            request.step,
            request.after_revision if request.HasField("after_revision") else None,
        )
        await self._scheduler.committer.barrier()
        return pb.RetryRunResponse(revision=revision)

    async def ForkRun(self, request: pb.ForkRunRequest, context: _Context) -> pb.ForkRunResponse:
        """Another run, from a step on. Its own shard's owner makes it, from the journal."""
        caller = current_principal()
        scope = (caller.tenant, caller.name, request.start_id)
        peer = self._owner(shard_of_scope(*scope), caller, context)
        if peer is not None:
            return await peer.ask(self._stub(peer).ForkRun, request, context)
        found, duplicate = await self._commands.fork(
            id_of(request.run_id),
            (caller.tenant, caller.name),
            request.step,
            request.start_id,
            request.input if request.HasField("input") else None,
            request.engine,
        )
        await self._scheduler.committer.barrier()
        return pb.ForkRunResponse(run_id=format_id(row_of(found).id), duplicate=duplicate)
