"""SchedulerService, LinkService and CatalogueService on gRPC: thin, all decisions are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster.model import limits
from muster.model.errors import ContractUnknown, FailedPrecondition, NotFound, Unavailable
from muster.model.ids import format_id
from muster.model.states import ContractState
from muster.runtime.principal import current_principal
from muster.scheduler.core_explain import explain
from muster.scheduler.links import Links
from muster.scheduler.listing import list_contracts
from muster.scheduler.messages_in import id_of
from muster.scheduler.messages_out import contract_of, set_ms
from muster.scheduler.routing import Router, relayed
from muster.scheduler.service import Scheduler
from muster.scheduler.statistics import add_statistics, count_states
from muster.scheduler.streams import OneAnswer, SubmitStream
from muster.scheduler.streams_divided import divided
from muster.scheduler.watching import ended_response, watch
from muster.scheduler.watching_all import watch_all
from muster.v1 import catalogue_service_pb2_grpc, link_service_pb2_grpc, scheduler_service_pb2_grpc
from muster.v1.catalogue_service_pb2 import WatchCatalogueRequest, WatchCatalogueResponse
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.v1.response_pb2 import Response
from muster.v1.scheduler_service_pb2 import (
    CancelContractRequest,
    CancelContractResponse,
    ExplainPlacementRequest,
    ExplainPlacementResponse,
    GetContractRequest,
    GetContractResponse,
    GetStatisticsRequest,
    GetStatisticsResponse,
    ListContractsRequest,
    ListContractsResponse,
    SubmitRequest,
    SubmitResponse,
    SubmitStreamRequest,
    SubmitStreamResponse,
    WaitContractRequest,
    WaitContractResponse,
    WatchContractsRequest,
    WatchContractsResponse,
)
from muster.wire.times import duration_of_seconds, seconds_of_duration

_Context = grpc.aio.ServicerContext[Any, Any]
CATALOGUE_FRAME_ENTRIES = 64


class SchedulerServicer(scheduler_service_pb2_grpc.SchedulerServiceServicer):
    """What clients call."""

    def __init__(self, scheduler: Scheduler, router: Router) -> None:
        self._scheduler = scheduler
        self._router = router
        self._waiting: set[OneAnswer] = set()
        self._draining = False

    async def drain(self) -> None:
        """Sends away who waits for the end of a contract: that may not come while we stop."""
        self._draining = True
        for answer in self._waiting:
            if not answer.ended.done():
                answer.ended.set_exception(_going_away())

    async def Submit(self, request: SubmitRequest, context: _Context) -> SubmitResponse:
        """Accepts one request."""
        caller, scheduler = current_principal(), self._scheduler
        caller.require_submit(request.request.capability.name)
        peer = self._router.of_request(request.request, caller, context)
        if peer is not None:
            return await peer.ask(peer.stub.Submit, request, context)
        answer = OneAnswer()

        def submit() -> str:
            return scheduler.submit(
                scheduler.clock(), caller.tenant, caller.name, request.request, answer
            )

        try:
            request_id = submit()
        except NotFound:
            if not await scheduler.learn(caller.tenant, request.request.capability.name):
                raise
            request_id = submit()
        scheduler.settle()
        number, duplicate = await answer.accepted
        reply = SubmitResponse()
        reply.accepted.request_id = request_id
        reply.accepted.contract_id = format_id(number)
        reply.accepted.duplicate = duplicate
        live = scheduler.core.contracts.get(number)
        if live is not None:
            scheduler.hub.unlisten(number, answer)
            set_ms(reply.accepted.accept_time, live.accepted_ms)
            return reply
        stored = await scheduler.stored(number, caller.tenant)
        set_ms(reply.accepted.accept_time, stored.accepted_ms)
        response = ended_response(stored)
        if response is not None:
            reply.response.CopyFrom(response)
        return reply

    def SubmitStream(
        self, request_iterator: AsyncIterator[SubmitStreamRequest], context: _Context
    ) -> AsyncIterator[SubmitStreamResponse]:
        """Accepts many, and answers as they end."""
        stream = SubmitStream(self._scheduler, current_principal())
        if not self._router.shares(context):
            return stream.run(request_iterator)
        return divided(self._router, current_principal(), stream, request_iterator)

    async def GetContract(
        self, request: GetContractRequest, context: _Context
    ) -> GetContractResponse:
        """One contract, whole."""
        caller, scheduler = current_principal(), self._scheduler
        if request.HasField("contract_id"):
            peer = self._router.of_contract(request.contract_id, caller, context)
            if peer is not None:
                return await peer.ask(peer.stub.GetContract, request, context)
            stored = await scheduler.stored(id_of(request.contract_id), caller.tenant)
        else:
            scope = (caller.tenant, caller.name, request.request_id)
            found = await scheduler.ledger.find(scope)
            if found is None:
                raise NotFound(f"there is no contract with request_id {request.request_id!r}")
            stored = found
        live = scheduler.core.contracts.get(stored.id)
        return GetContractResponse(contract=contract_of(stored, live, whole=True))

    async def ListContracts(
        self, request: ListContractsRequest, context: _Context
    ) -> ListContractsResponse:
        """A page."""
        return await list_contracts(self._scheduler, current_principal().tenant, request)

    def WatchContracts(
        self, request: WatchContractsRequest, context: _Context
    ) -> AsyncIterator[WatchContractsResponse]:
        """History, then live."""
        caller = current_principal()
        if not request.HasField("contract_id"):
            if self._router.shares(context):
                return watch_all(self._router, self._scheduler, caller, request)
        else:
            peer = self._router.of_contract(request.contract_id, caller, context)
            if peer is not None:
                return relayed(peer.stub.WatchContracts(request, metadata=peer.metadata))
        return watch(self._scheduler, caller.tenant, request)

    async def WaitContract(
        self, request: WaitContractRequest, context: _Context
    ) -> WaitContractResponse:
        """Waits for the end, at most as long as asked."""
        caller = current_principal()
        peer = self._router.of_contract(request.contract_id, caller, context)
        if peer is not None:
            return await peer.ask(peer.stub.WaitContract, request, context)
        tenant = caller.tenant
        timeout = limits.WAIT_DEFAULT_SECONDS
        if request.HasField("timeout"):
            timeout = seconds_of_duration(request.timeout)
        number = id_of(request.contract_id)
        response = await self._end_of(number, tenant, timeout)
        if response is not None:
            return WaitContractResponse(state=response.state, response=response)
        live = self._scheduler.core.contracts.get(number)
        if live is None:  # it ended in this very moment
            stored = await self._scheduler.stored(number, tenant)
            return WaitContractResponse(
                state=int(stored.state),  # type: ignore[arg-type]
                response=ended_response(stored),
            )
        return WaitContractResponse(state=int(live.state))  # type: ignore[arg-type]

    async def _end_of(self, number: int, tenant: str, timeout: float) -> Response | None:
        """The response of a contract; None when the time is up before."""
        scheduler = self._scheduler
        live = scheduler.core.contracts.get(number)
        owner = live.tenant if live is not None else scheduler.applying.ending.get(number)
        if owner is None:
            return ended_response(await scheduler.stored(number, tenant))
        if owner != tenant:
            raise ContractUnknown(format_id(number))
        if self._draining:
            raise _going_away()
        answer = OneAnswer()
        scheduler.hub.listen(number, answer)
        self._waiting.add(answer)
        try:
            async with asyncio.timeout(timeout):
                return await answer.ended
        except TimeoutError:
            return None
        finally:
            self._waiting.discard(answer)
            scheduler.hub.unlisten(number, answer)

    async def CancelContract(
        self, request: CancelContractRequest, context: _Context
    ) -> CancelContractResponse:
        """Cancels a tree; returns when that is durable."""
        caller, scheduler = current_principal(), self._scheduler
        peer = self._router.of_contract(request.contract_id, caller, context)
        if peer is not None:
            return await peer.ask(peer.stub.CancelContract, request, context)
        tenant = caller.tenant
        number = id_of(request.contract_id)
        if number not in scheduler.core.contracts:
            return await self._cancel_ended(number, tenant)
        scheduler.core.cancel(scheduler.clock(), number, tenant, request.reason)
        answer = OneAnswer()
        scheduler.hub.listen(number, answer)
        scheduler.settle()
        return CancelContractResponse(response=await answer.ended)

    async def _cancel_ended(self, number: int, tenant: str) -> CancelContractResponse:
        """A cancel that comes again, after its answer was lost, is as good as the first."""
        response = await self._end_of(number, tenant, limits.WAIT_DEFAULT_SECONDS)
        if response is not None and ContractState(response.state) is ContractState.CANCELLED:
            return CancelContractResponse(response=response)
        state = ContractState(response.state).name if response is not None else "about to end"
        raise FailedPrecondition(
            f"contract {format_id(number)} has ended ({state}); there is nothing to cancel"
        )

    async def ExplainPlacement(
        self, request: ExplainPlacementRequest, context: _Context
    ) -> ExplainPlacementResponse:
        """Why a contract is where it is."""
        caller, scheduler = current_principal(), self._scheduler
        peer = self._router.of_contract(request.contract_id, caller, context)
        if peer is not None:
            return await peer.ask(peer.stub.ExplainPlacement, request, context)
        tenant = caller.tenant
        number = id_of(request.contract_id)
        live = scheduler.core.contracts.get(number)
        if live is None or live.tenant != tenant:
            stored = await scheduler.stored(number, tenant)
            return ExplainPlacementResponse(summary=f"it has ended: {stored.state.name}")
        summary, ahead, reasons = explain(scheduler.core, scheduler.clock(), live)
        reply = ExplainPlacementResponse(summary=summary, ahead=ahead)
        for reason in reasons:
            reply.agents.add(
                agent=reason.agent,
                host=reason.host,
                feasible=not reason.text,
                reason=reason.text,
            )
        return reply

    async def GetStatistics(
        self, request: GetStatisticsRequest, context: _Context
    ) -> GetStatisticsResponse:
        """Counts."""
        tenant, scheduler = current_principal().tenant, self._scheduler
        core, committer = scheduler.core, scheduler.committer
        reply = GetStatisticsResponse(
            accepted=core.counts["accepted"],
            ended=core.counts["ended"],
            fenced=core.counts["fenced"],
            commits=committer.commits,
            commit_p50=duration_of_seconds(committer.percentile_seconds(0.5)),
            commit_p99=duration_of_seconds(committer.percentile_seconds(0.99)),
            agents=sum(1 for owner, _ in core.fleet.by_name if owner == tenant),
            retries=core.counts["retries"],
            losses=core.counts["losses"],
        )
        await scheduler.ended.complete(limits.COUNT_WAIT_SECONDS)
        count_states(scheduler, tenant, reply)
        if self._router.shares(context):
            for peer in self._router.peers(current_principal()):
                add_statistics(reply, await peer.ask(peer.stub.GetStatistics, request, context))
        return reply


def _going_away() -> Unavailable:
    return Unavailable("the scheduler is going away; wait again")


class LinkServicer(link_service_pb2_grpc.LinkServiceServicer):
    """What executors call."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def Link(
        self, request_iterator: AsyncIterator[LinkRequest], context: _Context
    ) -> AsyncIterator[LinkResponse]:
        """One link."""
        return self._links.link(request_iterator)


class CatalogueServicer(catalogue_service_pb2_grpc.CatalogueServiceServicer):
    """What registries call."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def WatchCatalogue(
        self, request: WatchCatalogueRequest, context: _Context
    ) -> AsyncIterator[WatchCatalogueResponse]:
        """The catalogue after a revision, then as it grows."""
        return self.watch(request)

    async def watch(self, request: WatchCatalogueRequest) -> AsyncIterator[WatchCatalogueResponse]:
        """The same without gRPC."""
        revisions = dict(request.revisions)
        caught_up = False
        while True:
            changed = self._scheduler.catalogue_changed
            frame = WatchCatalogueResponse()
            for entry in self._scheduler.catalogue.after(revisions):
                revisions[entry.tenant] = entry.revision
                added = frame.entries.add(tenant=entry.tenant)
                added.entry.revision = entry.revision
                added.entry.capability.CopyFrom(entry.capability)
                set_ms(added.entry.create_time, entry.created_ms)
                if len(frame.entries) >= CATALOGUE_FRAME_ENTRIES:
                    yield frame
                    frame = WatchCatalogueResponse()
            if frame.entries or not caught_up:
                frame.caught_up = not caught_up
                caught_up = True
                yield frame
            await changed.wait()
