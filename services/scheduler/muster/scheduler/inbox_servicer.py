"""InboxService on gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc

from muster.model import limits
from muster.model.errors import FailedPrecondition, NotFound, Unavailable
from muster.model.ledger import StoredQuestion
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.runtime.principal import Principal, current_principal
from muster.scheduler.answers import check_answer, same_value
from muster.scheduler.inbox import Change, InboxWatcher, Key
from muster.scheduler.inbox_messages import (
    frame_of,
    merged_page,
    message_of,
    place_of,
    place_of_text,
    stored_message,
    text_of_place,
)
from muster.scheduler.merging import merged_frames
from muster.scheduler.messages_in import id_of
from muster.scheduler.messages_out import answer_of
from muster.scheduler.routing import Router, relayed
from muster.scheduler.service import Scheduler
from muster.v1 import inbox_service_pb2_grpc
from muster.v1.inbox_service_pb2 import (
    AnswerQuestionRequest,
    AnswerQuestionResponse,
    GetQuestionRequest,
    GetQuestionResponse,
    ListQuestionsRequest,
    ListQuestionsResponse,
    WatchQuestionsRequest,
    WatchQuestionsResponse,
)
from muster.v1.question_pb2 import Answer

_Context = grpc.aio.ServicerContext[Any, Any]
_Frames = AsyncIterator[WatchQuestionsResponse]

FRAMES_MAX = 16  # of several schedulers, that wait for the watcher; then the schedulers wait


class InboxServicer(inbox_service_pb2_grpc.InboxServiceServicer):
    """What people, and programs for them, call."""

    def __init__(self, scheduler: Scheduler, router: Router) -> None:
        self._scheduler = scheduler
        self._router = router

    async def ListQuestions(
        self, request: ListQuestionsRequest, context: _Context
    ) -> ListQuestionsResponse:
        """A page, of this scheduler's or of everybody's."""
        caller = current_principal()
        if request.subject_id:
            peer = self._router.of_contract(request.subject_id, caller, context)
            if peer is not None:
                return await peer.ask(peer.inbox.ListQuestions, request, context)
        ours = self._page(caller.tenant, request)
        if request.subject_id or not self._router.shares(context):
            return ours
        theirs = [
            await peer.ask(peer.inbox.ListQuestions, request, context)
            for peer in self._router.peers(caller)
        ]
        entries, more = merged_page([ours, *theirs], page_size(request.page_size))
        reply = ListQuestionsResponse(entries=entries)
        if more:
            last = text_of_place(place_of(entries[-1]))
            reply.next_page_token = make_page_token(last, *_scope(caller.tenant, request))
        return reply

    def _page(self, tenant: str, request: ListQuestionsRequest) -> ListQuestionsResponse:
        scope = _scope(tenant, request)
        size = page_size(request.page_size)
        place = None
        if request.page_token:
            place = place_of_text(read_page_token(request.page_token, *scope))
        reply = ListQuestionsResponse()
        room = limits.INBOX_PAGE_BYTES_MAX
        subject_id = id_of(request.subject_id)
        for entry in self._scheduler.questions.inbox.after(tenant, place, subject_id):
            message = message_of(entry)
            room -= message.ByteSize()
            if len(reply.entries) == size or (room < 0 and reply.entries):
                last = text_of_place(place_of(reply.entries[-1]))
                reply.next_page_token = make_page_token(last, *scope)
                break
            reply.entries.append(message)
        return reply

    async def GetQuestion(
        self, request: GetQuestionRequest, context: _Context
    ) -> GetQuestionResponse:
        """One question."""
        caller = current_principal()
        peer = self._router.of_contract(request.subject_id, caller, context)
        if peer is not None:
            return await peer.ask(peer.inbox.GetQuestion, request, context)
        stored = await self._stored(caller, request.subject_id, request.question_id)
        contract = None
        if stored.epoch:
            contract = await self._scheduler.stored(stored.subject_id, caller.tenant)
        return GetQuestionResponse(entry=stored_message(stored, contract))

    async def AnswerQuestion(
        self, request: AnswerQuestionRequest, context: _Context
    ) -> AnswerQuestionResponse:
        """Answers; returns when that is durable."""
        caller, scheduler = current_principal(), self._scheduler
        peer = self._router.of_contract(request.subject_id, caller, context)
        if peer is not None:
            return await peer.ask(peer.inbox.AnswerQuestion, request, context)
        if scheduler.committer.failing:
            raise Unavailable(
                "the ledger cannot write at the moment; answer again", reason="LEDGER_UNAVAILABLE"
            )
        entry = scheduler.questions.find(id_of(request.subject_id), request.question_id)
        if entry is None or entry.tenant != caller.tenant:
            return AnswerQuestionResponse(answer=await self._answered(caller, request))
        check_answer(entry.question, request.value)
        now = scheduler.clock()
        given = scheduler.questions.answer(now, entry, request.value, caller.name)
        scheduler.settle()
        await scheduler.committer.barrier()
        return AnswerQuestionResponse(answer=answer_of(given))

    async def _answered(self, caller: Principal, request: AnswerQuestionRequest) -> Answer:
        """The recorded answer, where it is this one. Raises what is to be said otherwise."""
        stored = await self._stored(caller, request.subject_id, request.question_id)
        name = f"question {stored.question_id} of {request.subject_id}"
        if not stored.answer:
            raise FailedPrecondition(
                f"nobody waits for an answer to {name} any more; its time is over, or who asked "
                "has ended",
                reason="QUESTION_CLOSED",
            )
        answer = Answer.FromString(stored.answer)
        if answer.principal == caller.name and same_value(answer.value, request.value):
            return answer
        who = answer.principal or "nobody in time, and so its default was taken"
        raise FailedPrecondition(
            f"{name} was answered by {who}; an answer is given once", reason="ALREADY_ANSWERED"
        )

    async def _stored(self, caller: Principal, subject: str, question_id: str) -> StoredQuestion:
        """A question of the caller's tenant as the ledger has it, with all that is decided now."""
        await self._scheduler.committer.barrier()
        asked = await self._scheduler.ledger.questions([id_of(subject)])
        for stored in reversed(asked):
            if stored.tenant == caller.tenant and question_id in ("", stored.question_id):
                return stored
        what = f"question {question_id}" if question_id else "question"
        raise NotFound(
            f"there is no {what} of {subject}; list those that wait with: muster inbox",
            reason="QUESTION_UNKNOWN",
        )

    def WatchQuestions(self, request: WatchQuestionsRequest, context: _Context) -> _Frames:
        """What waits, then what changes."""
        caller = current_principal()
        if request.subject_id:
            peer = self._router.of_contract(request.subject_id, caller, context)
            if peer is not None:
                return relayed(peer.inbox.WatchQuestions(request, metadata=peer.metadata))
        elif self._router.shares(context):
            return self._watch_all(caller, request)
        return self._watch(caller.tenant, request)

    async def _watch(self, tenant: str, request: WatchQuestionsRequest) -> _Frames:
        inbox, subject_id = self._scheduler.questions.inbox, id_of(request.subject_id)
        watcher = InboxWatcher(tenant, subject_id)
        inbox.watch(watcher)
        try:
            waiting: dict[Key, Change] = {
                each.key: each for each in inbox.after(tenant, None, subject_id)
            }
            for frame in _frames(waiting):
                yield frame
            yield WatchQuestionsResponse(caught_up=True)
            while True:
                for frame in _frames(await watcher.take()):
                    yield frame
        finally:
            inbox.unwatch(watcher)

    async def _watch_all(self, caller: Principal, request: WatchQuestionsRequest) -> _Frames:
        parts = [self._watch(caller.tenant, request)]
        parts += [
            relayed(peer.inbox.WatchQuestions(request, metadata=peer.metadata))
            for peer in self._router.peers(caller)
        ]
        behind = len(parts)
        async with merged_frames(self._router, parts, FRAMES_MAX) as frames:
            while True:
                frame = await frames.get()
                if frame.caught_up:
                    behind -= 1
                    frame.caught_up = not behind
                yield frame


def inbox_service(scheduler: Scheduler, router: Router) -> Callable[[Any], None]:
    """What adds the service to a server."""
    servicer = InboxServicer(scheduler, router)
    return lambda server: inbox_service_pb2_grpc.add_InboxServiceServicer_to_server(
        servicer, server
    )


def _scope(tenant: str, request: ListQuestionsRequest) -> tuple[str, str, str]:
    return "questions", tenant, request.subject_id


def _frames(changes: dict[Key, Change]) -> Iterator[WatchQuestionsResponse]:
    """The changes in frames of a size that fits a message."""
    frame, size = WatchQuestionsResponse(), 0
    for key, change in changes.items():
        one = frame_of({key: change})
        size += one.ByteSize()
        if size > limits.INBOX_PAGE_BYTES_MAX:
            yield frame
            frame, size = WatchQuestionsResponse(), one.ByteSize()
        frame.MergeFrom(one)
    if size:
        yield frame
