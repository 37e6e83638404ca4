"""ConversationService on gRPC: thin, all decisions are elsewhere."""

from __future__ import annotations

from typing import Any

import grpc

from muster.model import limits
from muster.model.errors import NotFound
from muster.runtime.pages import make_page_token, read_page_token
from muster.runtime.principal import current_principal
from muster.scheduler.conversations import blocks
from muster.scheduler.conversations.compressing import Compressing, shard_of_conversation
from muster.scheduler.conversations.finding import search_contracts, search_memory
from muster.scheduler.conversations.overview import (
    conversation_of,
    list_conversations,
    page_size,
)
from muster.scheduler.conversations.tracing import list_trace
from muster.scheduler.routing import Router
from muster.scheduler.service import Scheduler
from muster.v1 import conversation_service_pb2 as pb
from muster.v1.conversation_service_pb2_grpc import (
    ConversationServiceServicer,
    ConversationServiceStub,
)
from muster.wire.times import seconds_of_duration

_Context = grpc.aio.ServicerContext[Any, Any]


class ConversationServicer(ConversationServiceServicer):
    """What clients and agents ask about conversations. All of it is in the ledger, so any scheduler
    can tell; memory is made by the conversation's own."""

    def __init__(self, scheduler: Scheduler, router: Router, compressing: Compressing) -> None:
        self._scheduler = scheduler
        self._router = router
        self._compressing = compressing

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: _Context
    ) -> pb.ListConversationsResponse:
        """A page."""
        tenant = current_principal().tenant
        return await list_conversations(self._scheduler.ledger, tenant, request)

    async def GetConversation(
        self, request: pb.GetConversationRequest, context: _Context
    ) -> pb.GetConversationResponse:
        """One."""
        tenant, ledger = current_principal().tenant, self._scheduler.ledger
        found = await conversation_of(ledger, tenant, request.conversation_id)
        return pb.GetConversationResponse(conversation=found)

    async def SearchContracts(
        self, request: pb.SearchContractsRequest, context: _Context
    ) -> pb.SearchContractsResponse:
        """A page."""
        return await search_contracts(self._scheduler, current_principal().tenant, request)

    async def ListTrace(
        self, request: pb.ListTraceRequest, context: _Context
    ) -> pb.ListTraceResponse:
        """A page."""
        return await list_trace(self._scheduler.ledger, current_principal().tenant, request)

    async def CompressConversation(
        self, request: pb.CompressConversationRequest, context: _Context
    ) -> pb.CompressConversationResponse:
        """Makes memory; returns when that is durable."""
        caller, conversation = current_principal(), request.conversation_id
        if request.summarizer:
            caller.require_submit(request.summarizer)
        shard = shard_of_conversation(caller.tenant, conversation)
        peer = self._router.of_shard(shard, caller, context)
        if peer is not None:
            stub = ConversationServiceStub(peer.channel)
            return await peer.ask(stub.CompressConversation, request, context)
        seconds = limits.MEMORY_SUMMARIZER_SECONDS
        if request.HasField("timeout"):
            seconds = seconds_of_duration(request.timeout)
        return await self._compressing.compress(caller, conversation, request.summarizer, seconds)

    async def ListMemory(
        self, request: pb.ListMemoryRequest, context: _Context
    ) -> pb.ListMemoryResponse:
        """A page."""
        tenant, size = current_principal().tenant, page_size(request.page_size)
        scope = ("memory", tenant, request.conversation_id)
        before = int(read_page_token(request.page_token, *scope) or 0)
        found = await blocks.page_of(
            self._scheduler.ledger, tenant, request.conversation_id, before, size
        )
        reply = pb.ListMemoryResponse(blocks=map(blocks.without_digests, found))
        if len(found) == size and found[-1].number > 1:
            reply.next_page_token = make_page_token(str(found[-1].number), *scope)
        return reply

    async def GetMemory(
        self, request: pb.GetMemoryRequest, context: _Context
    ) -> pb.GetMemoryResponse:
        """One block."""
        tenant, conversation = current_principal().tenant, request.conversation_id
        ledger = self._scheduler.ledger
        block = await blocks.block_of(ledger, tenant, conversation, request.number)
        if block is None:
            which = f"memory block {request.number}" if request.number else "memory"
            raise NotFound(
                f"conversation {conversation!r} has no {which}; what there is: "
                f"muster conversation memory {conversation}",
                reason="MEMORY_UNKNOWN",
            )
        return pb.GetMemoryResponse(block=block)

    async def SearchMemory(
        self, request: pb.SearchMemoryRequest, context: _Context
    ) -> pb.SearchMemoryResponse:
        """A page."""
        tenant = current_principal().tenant
        return await search_memory(self._scheduler.ledger, tenant, request)
