"""What can be asked about conversations and their memory, by clients and for agents' code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from muster.agent.services import Services
from muster.model import limits
from muster.v1 import conversation_service_pb2 as pb
from muster.v1.contract_pb2 import ContractFilter
from muster.wire.errors import answer_of
from muster.wire.times import duration_of_seconds

if TYPE_CHECKING:
    from muster.agent.options import Metadata
    from muster.v1.conversation_pb2 import Conversation, TraceEntry
    from muster.v1.conversation_service_pb2_grpc import ConversationServiceStub
    from muster.v1.memory_pb2 import MemoryBlock

_SIZE_MAX = limits.CONVERSATION_PAGE_SIZE_MAX


class Conversations:
    """Conversations of the client's tenant. Errors of the mesh are `MusterError`s."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(self, *, most: int | None = None) -> AsyncIterator[Conversation]:
        """Conversations, the one with the newest contract first, at most so many."""
        request = pb.ListConversationsRequest(page_size=min(most or _SIZE_MAX, _SIZE_MAX))
        left = most
        while left is None or left > 0:
            page = await answer_of(self._stub.ListConversations(request, metadata=self._metadata))
            for found in page.conversations[:left]:
                yield found
            left = None if left is None else left - len(page.conversations)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def get(self, conversation_id: str) -> Conversation:
        """One conversation. Raises `NotFound`, with CONVERSATION_UNKNOWN."""
        request = pb.GetConversationRequest(conversation_id=conversation_id)
        answer = await answer_of(self._stub.GetConversation(request, metadata=self._metadata))
        return answer.conversation

    async def search(
        self,
        text: str = "",
        filter: ContractFilter | None = None,
        *,
        agent_kinds: Sequence[str] = (),
        most: int | None = None,
    ) -> AsyncIterator[pb.SearchContractsResponse]:
        """Pages of contracts that fit and in which all of the words occur, newest first, until so
        many are found or all is searched. Each page says what it has looked at."""
        request = pb.SearchContractsRequest(
            filter=filter, agent_kinds=agent_kinds, text=text, page_size=min(most or 100, _SIZE_MAX)
        )
        left = most
        while left is None or left > 0:
            page = await answer_of(self._stub.SearchContracts(request, metadata=self._metadata))
            if left is not None:
                del page.matches[left:]
                left -= len(page.matches)
            yield page
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def trace(self, conversation_id: str) -> AsyncIterator[TraceEntry]:
        """Who did what, from the beginning. Raises `NotFound`, with CONVERSATION_UNKNOWN."""
        request = pb.ListTraceRequest(
            conversation_id=conversation_id, page_size=limits.TRACE_PAGE_SIZE_MAX
        )
        while True:
            page = await answer_of(self._stub.ListTrace(request, metadata=self._metadata))
            for entry in page.entries:
                yield entry
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def compress(
        self, conversation_id: str, *, summarizer: str = "", timeout: float | None = None
    ) -> pb.CompressConversationResponse:
        """Makes memory blocks of what has ended since the last time; returns when they are durable.
        `has_more` asks to be called again. `summarizer` is a capability, for whose text each block
        waits `timeout` seconds."""
        request = pb.CompressConversationRequest(
            conversation_id=conversation_id, summarizer=summarizer
        )
        if timeout is not None:
            request.timeout.CopyFrom(duration_of_seconds(timeout))
        call = self._stub.CompressConversation(request, metadata=self._metadata)
        return await answer_of(call)

    async def memory(
        self, conversation_id: str, *, most: int | None = None
    ) -> AsyncIterator[MemoryBlock]:
        """The conversation's memory blocks without digests, newest first, at most so many."""
        request = pb.ListMemoryRequest(
            conversation_id=conversation_id, page_size=min(most or _SIZE_MAX, _SIZE_MAX)
        )
        left = most
        while left is None or left > 0:
            page = await answer_of(self._stub.ListMemory(request, metadata=self._metadata))
            for block in page.blocks[:left]:
                yield block
            left = None if left is None else left - len(page.blocks)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def block(self, conversation_id: str, number: int = 0) -> MemoryBlock:
        """One memory block, whole; the newest for 0. Raises `NotFound`, with MEMORY_UNKNOWN."""
        request = pb.GetMemoryRequest(conversation_id=conversation_id, number=number)
        return (await answer_of(self._stub.GetMemory(request, metadata=self._metadata))).block

    async def search_memory(
        self, text: str, conversation_id: str = "", *, most: int | None = None
    ) -> AsyncIterator[pb.SearchMemoryResponse]:
        """Pages of memory blocks in which all of the words occur, newest first, of a conversation
        or of all, until so many are found or all is searched."""
        request = pb.SearchMemoryRequest(
            text=text,
            conversation_id=conversation_id,
            page_size=min(most or _SIZE_MAX, _SIZE_MAX),
        )
        left = most
        while left is None or left > 0:
            page = await answer_of(self._stub.SearchMemory(request, metadata=self._metadata))
            if left is not None:
                del page.matches[left:]
                left -= len(page.matches)
            yield page
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    @property
    def _stub(self) -> ConversationServiceStub:
        return self._services.conversations

    @property
    def _metadata(self) -> Metadata:
        return self._services.targets.metadata
