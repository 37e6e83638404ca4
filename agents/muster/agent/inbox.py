"""What a client can ask about questions to people, and how it answers them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc

from muster.agent.contents import fill
from muster.agent.services import Services
from muster.agent.values import content_of
from muster.model import limits
from muster.v1.inbox_service_pb2 import (
    AnswerQuestionRequest,
    GetQuestionRequest,
    ListQuestionsRequest,
    WatchQuestionsRequest,
)
from muster.wire.errors import answer_of, error_of_rpc

if TYPE_CHECKING:
    from muster.v1.inbox_service_pb2 import InboxEntry, WatchQuestionsResponse
    from muster.v1.question_pb2 import Answer


class Inbox:
    """What waits for a person, in the client's tenant. Errors of the mesh are `MusterError`s."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(
        self, subject_id: str = "", *, most: int | None = None
    ) -> AsyncIterator[InboxEntry]:
        """Questions that wait, oldest first, at most so many; of one contract or run, or of all."""
        size = min(most or limits.PAGE_SIZE_MAX, limits.PAGE_SIZE_MAX)
        request = ListQuestionsRequest(subject_id=subject_id, page_size=size)
        left = most
        while True:
            page = await self._ask(self._services.inbox.ListQuestions, request)
            for entry in page.entries[:left]:
                yield entry
            left = None if left is None else left - len(page.entries)
            if not page.next_page_token or (left is not None and left <= 0):
                return
            request.page_token = page.next_page_token

    async def get(self, subject_id: str, question_id: str = "") -> InboxEntry:
        """A question with its answer, if there is one; the newest of a contract or run, unless it
        is named."""
        request = GetQuestionRequest(subject_id=subject_id, question_id=question_id)
        entry: InboxEntry = (await self._ask(self._services.inbox.GetQuestion, request)).entry
        return entry

    async def answer(self, subject_id: str, question_id: str, value: Any) -> Answer:
        """Answers a question; returns when that is recorded.

        Raises `InvalidArgument` where the answer does not fit, and `FailedPrecondition` where
        somebody else was first (ALREADY_ANSWERED), or nobody waits any more (QUESTION_CLOSED).
        """
        request = AnswerQuestionRequest(subject_id=subject_id, question_id=question_id)
        await fill(request.value, content_of(value), self._services.blobs)
        answer: Answer = (await self._ask(self._services.inbox.AnswerQuestion, request)).answer
        return answer

    async def watch(self, subject_id: str = "") -> AsyncIterator[WatchQuestionsResponse]:
        """What waits, and then what changes, without end. After an `Unavailable`, watch again and
        begin with nothing."""
        request = WatchQuestionsRequest(subject_id=subject_id)
        metadata = self._services.targets.metadata
        call = self._services.inbox.WatchQuestions(request, metadata=metadata)
        try:
            async for frame in call:
                yield frame
        except grpc.RpcError as error:
            raise error_of_rpc(error) from None
        finally:
            call.cancel()

    async def _ask(self, method: Any, request: Any) -> Any:
        return await answer_of(method(request, metadata=self._services.targets.metadata))
