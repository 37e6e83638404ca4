"""One submit stream: requests in, responses out as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from muster.model import limits
from muster.model.errors import MusterError, NotFound, ResourceExhausted
from muster.model.ids import format_id
from muster.runtime.lifetime import background
from muster.runtime.principal import Principal
from muster.scheduler.messages_in import child_request_id
from muster.scheduler.records import Now
from muster.scheduler.service import Scheduler
from muster.scheduler.watching import ended_response
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response
from muster.v1.scheduler_service_pb2 import Refused, SubmitStreamRequest, SubmitStreamResponse
from muster.wire.errors import status_of

_ACCEPTED_BYTES = 64  # of an acceptance in a frame, or nearly so
_FETCHED_AT_ONCE = 16  # responses, of at most 64 KiB or so each


class _Backlog:
    """Frames that are to be written; the last one is being filled."""

    __slots__ = ("_filled", "_frames", "bytes", "items")

    def __init__(self) -> None:
        self._frames = deque([SubmitStreamResponse()])
        self._filled = deque([0])  # bytes in each
        self.bytes = 0
        self.items = 0

    def room(self, size: int) -> SubmitStreamResponse:
        """The frame that an item of so many bytes goes into."""
        if self._filled[-1] and self._filled[-1] + size > limits.LINK_FRAME_BYTES_MAX:
            self._frames.append(SubmitStreamResponse())
            self._filled.append(0)
        self._filled[-1] += size
        self.bytes += size
        self.items += 1
        return self._frames[-1]

    def take(self) -> SubmitStreamResponse:
        """The oldest frame."""
        frame = self._frames.popleft()
        self.bytes -= self._filled.popleft()
        self.items -= len(frame.accepted) + len(frame.refused) + len(frame.responses)
        if not self._frames:
            self._frames.append(SubmitStreamResponse())
            self._filled.append(0)
        return frame


class SubmitStream:
    """A `Listener` that collects what is about to be written; frames batch by themselves.

    When the client reads slowly, responses wait in the ledger and only their ids here.
    """

    def __init__(self, scheduler: Scheduler, principal: Principal) -> None:
        self._scheduler = scheduler
        self._principal = principal
        self._backlog = _Backlog()
        self._later: deque[int] = deque()  # ended contracts whose response is to be fetched
        self._open: dict[int, int] = {}  # contract -> how often it was submitted here
        self._asked = 0  # submits without an answer
        self._half_closed = False
        self._moved: MusterError | None = None
        self._unknown: list[Request] = []
        self._may_learn = scheduler.shared
        self._wake = asyncio.Event()

    async def run(
        self, frames: AsyncIterator[SubmitStreamRequest]
    ) -> AsyncIterator[SubmitStreamResponse]:
        """Serve the stream until the client has closed its side and has every response."""
        try:
            async with background(lambda: self._read(frames)):
                while not self._finished():
                    await self._wake.wait()
                    self._wake.clear()
                    if self._moved is not None:
                        raise self._moved
                    while self._backlog.items or self._later:
                        if self._backlog.items:
                            yield self._backlog.take()
                        if self._later:
                            await self._fetch()
        finally:
            for contract_id in self._open:
                self._scheduler.hub.unlisten(contract_id, self)

    def _finished(self) -> bool:
        waits = self._backlog.items or self._later or self._open or self._asked
        return self._half_closed and not waits

    async def _fetch(self) -> None:
        """Some of the responses that there was no room for when they came."""
        if self._backlog.bytes > limits.STREAM_BACKLOG_BYTES_MAX // 2:
            return
        ids = [self._later.popleft() for _ in range(min(len(self._later), _FETCHED_AT_ONCE))]
        stored = {each.id: each for each in await self._scheduler.ledger.load(sorted({*ids}))}
        for response in (ended_response(stored[number]) for number in ids if number in stored):
            assert response is not None
            self._backlog.room(response.ByteSize()).responses.append(response)

    async def _read(self, frames: AsyncIterator[SubmitStreamRequest]) -> None:
        async for frame in frames:
            now = self._scheduler.clock()
            for request in frame.requests:
                self._submit(now, request)
            if self._unknown:
                await self._submit_unknown()
            self._scheduler.settle()
            if (
                self._backlog.items + len(self._later) > limits.STREAM_BACKLOG_MAX
                or self._backlog.bytes > 2 * limits.STREAM_BACKLOG_BYTES_MAX
            ):
                raise ResourceExhausted(
                    "the stream's responses are not being read; resubmit what is unanswered on a "
                    "new stream",
                    reason="WATCHER_TOO_SLOW",
                )
        self._half_closed = True
        self._wake.set()

    def _submit(self, now: Now, request: Request) -> None:
        try:
            if len(self._open) + self._asked >= limits.SUBMIT_STREAM_OPEN_MAX:
                raise ResourceExhausted(
                    f"{limits.SUBMIT_STREAM_OPEN_MAX} contracts of this stream are open; "
                    "submit more when some have ended"
                )
            principal = self._principal
            principal.require_submit(request.capability.name)
            self._scheduler.submit(now, principal.tenant, principal.name, request, self)
        except MusterError as error:
            if self._may_learn and isinstance(error, NotFound):
                self._unknown.append(request)
                return
            is_child = request.HasField("parent")
            self._refuse(child_request_id(request) if is_child else request.request_id, error)
        else:
            self._asked += 1

    async def _submit_unknown(self) -> None:
        """Once more what asks for a capability of which only another scheduler may know yet."""
        unknown, self._unknown = self._unknown, []
        for name in {request.capability.name for request in unknown}:
            await self._scheduler.learn(self._principal.tenant, name)
        self._may_learn = False
        for request in unknown:
            self._submit(self._scheduler.clock(), request)
        self._may_learn = True

    def _refuse(self, request_id: str, error: MusterError) -> None:
        refused = Refused(request_id=request_id, error=status_of(error))
        self._backlog.room(refused.ByteSize()).refused.append(refused)
        self._wake.set()

    # --- Listener ---------------------------------------------------------------------------------

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """See `Listener`."""
        self._asked -= 1
        self._open[contract_id] = self._open.get(contract_id, 0) + 1
        accepted = self._backlog.room(_ACCEPTED_BYTES + len(request_id)).accepted.add()
        accepted.request_id = request_id
        accepted.contract_id = format_id(contract_id)
        if duplicate:
            accepted.duplicate = True
        self._wake.set()

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """See `Listener`."""
        self._asked -= 1
        self._refuse(request_id, error)

    def on_ended(self, contract_id: int, response: Response) -> None:
        """See `Listener`."""
        left = self._open.get(contract_id, 0) - 1
        if left < 0:
            return
        if left:
            self._open[contract_id] = left
        else:
            del self._open[contract_id]
        if self._backlog.bytes < limits.STREAM_BACKLOG_BYTES_MAX:
            self._backlog.room(response.ByteSize()).responses.append(response)
        else:
            self._later.append(contract_id)
        self._wake.set()

    def on_moved(self, error: MusterError) -> None:
        """See `Listener`. The client resubmits what is unanswered, and is led to the owner."""
        self._moved = error
        self._wake.set()


class OneAnswer:
    """A `Listener` for one caller that waits."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[tuple[int, bool]] = loop.create_future()
        self.ended: asyncio.Future[Response] = loop.create_future()

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """See `Listener`."""
        if not self.accepted.done():
            self.accepted.set_result((contract_id, duplicate))

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """See `Listener`."""
        if not self.accepted.done():
            self.accepted.set_exception(error)

    def on_ended(self, contract_id: int, response: Response) -> None:
        """See `Listener`."""
        if not self.ended.done():
            self.ended.set_result(response)

    def on_moved(self, error: MusterError) -> None:
        """See `Listener`."""
        for answer in (self.accepted, self.ended):
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # seldom are both awaited
